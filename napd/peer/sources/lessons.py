"""How what was learnt about peers stands in the journal's database: one row a peer, at most `MAX_PEERS`."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from ...model import PeerId
from .experience import MAX_PEERS, Lesson

TABLE = """
    CREATE TABLE lesson (             -- what past transfers taught about a peer; it ages
        peer TEXT PRIMARY KEY,
        bytes_per_s REAL,
        rtt_s REAL,
        good REAL NOT NULL,
        bad REAL NOT NULL,
        as_of REAL NOT NULL
    ) WITHOUT ROWID;
"""

_SAVE = "INSERT OR REPLACE INTO lesson (peer, bytes_per_s, rtt_s, good, bad, as_of) VALUES (?,?,?,?,?,?)"
_BOUND = "DELETE FROM lesson WHERE peer IN (SELECT peer FROM lesson ORDER BY as_of DESC LIMIT -1 OFFSET ?)"


def load_lessons(connection: sqlite3.Connection) -> list[Lesson]:
    """Blocks."""
    rows = connection.execute("SELECT peer, bytes_per_s, rtt_s, good, bad, as_of FROM lesson")
    return [Lesson(PeerId(peer), *rest) for peer, *rest in rows]


def saving(lessons: Sequence[Lesson]) -> list[tuple[str, tuple[Any, ...]]]:
    """Statements that keep these, and no more than are allowed."""
    if not lessons:
        return []
    rows: list[tuple[str, tuple[Any, ...]]] = [
        (_SAVE, (one.peer, one.bytes_per_s, one.rtt_s, one.good, one.bad, one.as_of)) for one in lessons
    ]
    return [*rows, (_BOUND, (MAX_PEERS,))]
