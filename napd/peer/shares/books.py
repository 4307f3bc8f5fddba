"""The way from the reactor to the ledger: its database's thread, and one kind of error."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from ...errors import DiskFailed, NoSpace
from ...ops.threads import Worker
from .ledger import Ledger

P = ParamSpec("P")
R = TypeVar("R")


class Books:
    """:param changed: called on the reactor's thread after each piece of work: the snapshot may be a new one."""

    def __init__(self, worker: Worker, ledger: Ledger, changed: Callable[[], None]) -> None:
        self.ledger = ledger
        self._worker = worker
        self._changed = changed

    async def run(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run one of the ledger's methods. In the order in which it was called.

        :raises NoSpace: :raises DiskFailed: the transaction was taken back, nothing has changed.
        """
        try:
            result = await self._worker.run(work, *args, **kwargs)
        except sqlite3.Error as error:
            said = f"the shares' database cannot be used: {error}"
            full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
            raise (NoSpace if full else DiskFailed)(said) from error
        self._changed()
        return result

    async def close(self) -> None:
        await self._worker.run(self.ledger.close)
        await self._worker.stop()
