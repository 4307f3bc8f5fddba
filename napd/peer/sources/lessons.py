"""How what was learnt about peers is kept in the journal's database: one row a peer, at most `MAX_PEERS`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ...errors import NapError
from ...model import PeerId
from ...ops.events import Events
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


def keeping(
    remember: Callable[[Sequence[Lesson]], Deferred[None]], events: Events
) -> Callable[[Sequence[Lesson], Callable[[], None]], object]:
    """What saves lessons for an `Experience`: that it cannot is said, and nothing waits for it."""

    def failed(failure: Failure, refused: Callable[[], None]) -> None:
        error = failure.getErrorMessage()
        if failure.check(NapError) is None:
            events.fault("keeping what was learnt about peers", failure)
        else:
            events.emit("queue.unsaved", "What was learnt about peers cannot be written down yet.", error=error)
        refused()

    return lambda learnt, refused: remember(learnt).addErrback(failed, refused)
