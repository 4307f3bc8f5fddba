"""The one row of the database that numbers everything, and counts it."""

from __future__ import annotations

import sqlite3

from attrs import astuple, define, fields


@define
class Clock:
    """What was given last of each number; and how many accounts, items, contents, listings there are.

    In memory for the length of a transaction, and for as long as nobody else writes.
    """

    change: int
    session: int
    item: int
    content: int
    folder: int
    accounts: int
    items: int
    contents: int
    listings: int

    @classmethod
    def read(cls, connection: sqlite3.Connection) -> Clock:
        return cls(*connection.execute(_SELECT).fetchone())

    def write(self, connection: sqlite3.Connection) -> None:
        connection.execute(_UPDATE, astuple(self))


_NAMES = [field.name for field in fields(Clock)]
_SELECT = f"SELECT {', '.join(_NAMES)} FROM clock"  # noqa: S608
_UPDATE = f"UPDATE clock SET {', '.join(f'{name} = ?' for name in _NAMES)}"  # noqa: S608
