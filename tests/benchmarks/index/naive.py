"""The naive way, so that the table shows why: one FTS5 row for each peer and file, in a table that peers leave."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
from attrs import frozen

from ..progress import Progress
from .corpus import Corpus

#: The classes that it can be asked; it has no filters.
CLASSES = ("rare word", "mid word", "common word", "ten commonest words", "two common words")
#: Searches of a class: some take seconds.
EACH = 20


@frozen
class Naive:
    """:ivar took_ms: by class. :ivar left_ms: until the regular peer's rows are gone."""

    holdings: int
    per_s: float
    bytes_per_holding: float
    took_ms: dict[str, list[float]]
    left_ms: float


def naive(corpus: Corpus, folder: Path, most: int) -> Naive:
    path = folder / "naive.db"
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE VIRTUAL TABLE file USING fts5(name, folder, user UNINDEXED, content UNINDEXED)")
    database.execute("CREATE TABLE peer (user TEXT PRIMARY KEY, first INT, last INT)")
    began = perf_counter()
    holdings = 0
    progress = Progress("rows of the naive way", most)
    for user, rows in _peers(corpus, most):
        database.execute("BEGIN")
        database.executemany("INSERT INTO file (name, folder, user, content) VALUES (?, ?, ?, ?)", rows)
        database.execute("INSERT INTO peer VALUES (?, ?, ?)", (user, holdings + 1, holdings + len(rows)))
        database.execute("COMMIT")
        holdings += len(rows)
        progress.at(holdings)
    per_s = holdings / (perf_counter() - began)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = path.stat().st_size
    took = {name: [_search(database, text) for text, _ in corpus.queries[name][:EACH]] for name in CLASSES}
    began = perf_counter()
    first, last = database.execute("SELECT first, last FROM peer WHERE user = ?", (corpus.regular.user,)).fetchone()
    database.execute("DELETE FROM file WHERE rowid BETWEEN ? AND ?", (first, last))
    left_ms = (perf_counter() - began) * 1000
    database.close()
    return Naive(holdings, per_s, size / holdings, took, left_ms)


def _peers(corpus: Corpus, most: int) -> Iterator[tuple[str, list[Any]]]:
    """The regular one first, then others until there are so many rows."""
    decode = msgspec.json.Decoder().decode
    rows = 0
    for share in (corpus.regular, *corpus.members):
        if rows and rows + share.listings > most:
            continue
        rows += share.listings
        yield (
            share.user,
            [
                (entry["name"], entry["folder"], share.user, entry["content"])
                for line in corpus.announces(share)
                for entry in decode(line)["add"]
            ],
        )


def _search(database: sqlite3.Connection, text: str) -> float:
    """Milliseconds for the hundred contents with most sources."""
    quoted = " ".join(f'"{word}"' for word in text.split())
    began = perf_counter()
    database.execute(
        "SELECT content, count(*), min(name) FROM file WHERE file MATCH ? GROUP BY content ORDER BY 2 DESC LIMIT 100",
        (quoted,),
    ).fetchall()
    return (perf_counter() - began) * 1000
