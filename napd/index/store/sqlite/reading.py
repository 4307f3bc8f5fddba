"""What is only read: on a connection of its own, beside whoever writes."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Sequence

from ...items import Item
from ..interface import Change, Counts, Lapsed
from ..packing import deserialized, item_of, position_of
from .clock import Clock
from .items import found
from .rows import SELECT_ITEMS


class Reading:
    """Everything as of the newest commit. :raises sqlite3.Error: it cannot be read."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._sql = connection

    def holdings(self, account: int) -> array[int]:
        row = self._sql.execute("SELECT share FROM catalogue WHERE account = ?", (account,)).fetchone()
        return deserialized(row[0] if row else b"").to_array()

    def items(self, ids: Sequence[int]) -> Sequence[Item]:
        return [item_of(row) for row in sorted(found(self._sql, f"{SELECT_ITEMS} WHERE id", ids))]

    def items_after(self, after: int, limit: int) -> Sequence[Item]:
        rows = self._sql.execute(f"{SELECT_ITEMS} WHERE id > ? ORDER BY id LIMIT ?", (after, limit))
        return [item_of(row) for row in rows]

    def changes_since(self, number: int, limit: int) -> Sequence[Change]:
        before_oldest, newest = self._sql.execute(
            "SELECT coalesce((SELECT min(number) - 1 FROM change), change), change FROM clock"
        ).fetchone()
        if number < before_oldest:
            raise LookupError(f"the change log no longer reaches back to {number}")
        if number >= newest:
            return []
        rows = self._sql.execute(
            "SELECT number, account, epoch, revision, digest, added, withdrawn FROM change WHERE number > ? "
            "ORDER BY number LIMIT ?",
            (number, limit),
        )
        return [
            Change(
                change,
                account,
                position_of(epoch, revision, digest),
                deserialized(added).to_array(),
                deserialized(withdrawn).to_array(),
            )
            for change, account, epoch, revision, digest, added, withdrawn in rows
        ]

    def unseen(self, since: float, limit: int) -> Sequence[Lapsed]:
        rows = self._sql.execute(
            "SELECT number, session FROM account JOIN catalogue ON account = number "
            "WHERE seen < ? AND listings > 0 LIMIT ?",
            (since, limit),
        )
        return [Lapsed(account, session) for account, session in rows]

    def counts(self) -> Counts:
        clock = Clock.read(self._sql)
        ((pages,),) = self._sql.execute("PRAGMA page_count")
        ((page_bytes,),) = self._sql.execute("PRAGMA page_size")
        return Counts(clock.accounts, clock.items, clock.contents, clock.listings, pages * page_bytes)
