"""Wishes on the disk, and what each was told: a SQLite database of their own, one thread that uses it.

Apart from the queue's journal, whose commits downloads wait for. With synchronous=FULL: a wish that was acknowledged is
there after a power cut, and what was told is remembered before it is told, so nothing is told twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
from twisted.internet.defer import Deferred

from ...errors import DiskFailed, NapError, NoSpace
from ...model import ContentId
from .wish import Find, Query, Wish

DATABASE_NAME = "wishes.sqlite"
#: One script per schema version.
SCHEMA = (
    """
    CREATE TABLE wish (
        id INTEGER PRIMARY KEY AUTOINCREMENT,   -- never used again
        query TEXT NOT NULL UNIQUE,             -- words and filters, as JSON
        get INTEGER NOT NULL,
        added REAL NOT NULL,
        found INTEGER NOT NULL DEFAULT 0,       -- those that are remembered no more among them
        last REAL
    );
    CREATE TABLE find (
        wish INTEGER NOT NULL REFERENCES wish (id) ON DELETE CASCADE,
        content TEXT NOT NULL,
        name TEXT NOT NULL,
        size INTEGER NOT NULL,
        at REAL NOT NULL,
        download INTEGER,                       -- NULL: not queued
        PRIMARY KEY (wish, content)
    ) WITHOUT ROWID;
    CREATE INDEX find_at ON find (wish, at);
    """,
)
#: Contents remembered of each wish; beyond that the oldest are forgotten, and would be told again.
MAX_FINDS = 10_000

T = TypeVar("T")

_FORGET_OLDEST = """DELETE FROM find WHERE wish=?1 AND content IN
    (SELECT content FROM find WHERE wish=?1 ORDER BY at DESC, content LIMIT -1 OFFSET ?2)"""


class StoreThread(Protocol):
    """What the store needs of `ops.threads.Worker`."""

    def run(self, work: Any, /, *args: Any) -> Deferred[Any]: ...


class WishStore:
    """:param connection: opened with `SCHEMA`; used by `worker`'s thread alone once the daemon runs.

    Each method's Deferred fires after the commit, or fails with `DiskFailed` or `NoSpace`, and nothing is changed.
    """

    def __init__(self, connection: sqlite3.Connection, worker: StoreThread, max_finds: int = MAX_FINDS) -> None:
        self._connection = connection
        self._worker = worker
        self._max_finds = max_finds

    def load(self) -> list[Wish]:
        """All wishes, oldest first. At the start, before anything runs; blocks."""
        return [_wish(row) for row in self._connection.execute(f"{_SELECT} ORDER BY id")]

    def add(self, query: Query, get: bool, now: float) -> Deferred[Wish]:
        """A new wish, or the one that asks for the same; `get` is never taken back."""
        return self._run(self._add, query, get, now)

    def remove(self, wishes: Sequence[int]) -> Deferred[None]:
        """Forget these and all that was found for them."""
        return self._run(self._remove, wishes)

    def unknown(self, wish: int, contents: Sequence[ContentId]) -> Deferred[set[ContentId]]:
        """Those of the contents that this wish was not told yet."""
        return self._run(self._unknown, wish, contents)

    def queued_since(self, wish: int, since: float) -> Deferred[int]:
        """How many of its finds were queued since then (seconds since 1970)."""
        return self._run(self._queued_since, wish, since)

    def keep(self, finds: Sequence[Find]) -> Deferred[list[Find]]:
        """Remember these, of one wish; fires with those that are new, none if the wish is gone."""
        return self._run(self._keep, finds)

    def finds(self, wishes: Sequence[int], limit: int) -> Deferred[list[Find]]:
        """What was found for these, at most so many, the latest last."""
        return self._run(self._finds, wishes, limit)

    def close(self) -> Deferred[None]:
        """After everything that was asked before."""
        return self._worker.run(self._connection.close)

    # --- On the thread ---------------------------------------------------------------------------

    def _run(self, work: Callable[..., T], *args: Any) -> Deferred[T]:
        return self._worker.run(self._committed, work, *args)

    def _committed(self, work: Callable[..., T], *args: Any) -> T:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(*args)
                self._connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
        except sqlite3.Error as error:
            raise _failure(error) from error
        return result

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            # Broken so that the next transaction will say it again.
            return

    def _add(self, query: Query, get: bool, now: float) -> Wish:
        text = msgspec.json.encode(query).decode()
        execute = self._connection.execute
        # Not an upsert, which takes a number also where it adds nothing.
        if not execute("UPDATE wish SET get = get OR ? WHERE query=?", (get, text)).rowcount:
            execute("INSERT INTO wish (query, get, added) VALUES (?,?,?)", (text, get, now))
        return _wish(execute(f"{_SELECT} WHERE query=?", (text,)).fetchone())

    def _remove(self, wishes: Iterable[int]) -> None:
        self._connection.executemany("DELETE FROM wish WHERE id=?", [(wish,) for wish in wishes])

    def _unknown(self, wish: int, contents: Sequence[ContentId]) -> set[ContentId]:
        sql = "SELECT 1 FROM find WHERE wish=? AND content=?"
        return {one for one in contents if self._connection.execute(sql, (wish, one)).fetchone() is None}

    def _queued_since(self, wish: int, since: float) -> int:
        sql = "SELECT count(*) FROM find WHERE wish=? AND at>? AND download IS NOT NULL"
        return int(self._connection.execute(sql, (wish, since)).fetchone()[0])

    def _keep(self, finds: Sequence[Find]) -> list[Find]:
        execute = self._connection.execute
        sql = (
            "INSERT OR IGNORE INTO find (wish, content, name, size, at, download)"
            " SELECT ?1,?2,?3,?4,?5,?6 WHERE EXISTS (SELECT 1 FROM wish WHERE id=?1)"
        )
        new = []
        for find in finds:
            row = (find.wish, find.content, find.name, find.size, find.at, find.download)
            if execute(sql, row).rowcount:
                new.append(find)
        if new:
            wish, at = new[0].wish, max(find.at for find in new)
            execute("UPDATE wish SET found=found+?, last=? WHERE id=?", (len(new), at, wish))
            execute(_FORGET_OLDEST, (wish, self._max_finds))
        return new

    def _finds(self, wishes: Sequence[int], limit: int) -> list[Find]:
        sql = "SELECT wish, content, name, size, at, download FROM find WHERE wish=? ORDER BY at DESC, content LIMIT ?"
        found = [Find(*row) for wish in wishes for row in self._connection.execute(sql, (wish, limit))]
        return sorted(found, key=lambda find: find.at)[-limit:]


_SELECT = "SELECT id, query, get, added, found, last FROM wish"


def _wish(row: Sequence[Any]) -> Wish:
    number, query, get, added, found, last = row
    return Wish(number, msgspec.json.decode(query, type=Query), bool(get), added, found, last)


def _failure(error: sqlite3.Error) -> NapError:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return NoSpace("no space left for the wishes", "Free some on the disk of the state directory, then try again")
    return DiskFailed(f"the wishes cannot be read or written: {error}")
