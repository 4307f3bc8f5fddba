"""The embedded store: one SQLite file, one thread, group commit."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ...model import PeerId
from ...ops.database import open_database
from ...ops.events import Events
from ...ops.threads import Worker
from ..items import Item
from . import schema
from .commits import GroupCommit
from .interface import Account, Applied, Change, Counts, Lapsed, Opened, Position, Step, StoreFailed, Swept
from .tables import Tables

FILE_NAME = "index.db"
#: What a broken or full disk raises.
TROUBLES = (sqlite3.Error, OSError)

T = TypeVar("T")


def schema_scripts() -> list[str]:
    """The scripts of all versions, the first one first."""
    folder = resources.files(schema)
    numbers = sorted(int(file.name.removesuffix(".sql")) for file in folder.iterdir() if file.name.endswith(".sql"))
    return [folder.joinpath(f"{number}.sql").read_text("utf-8") for number in numbers]


class SqliteStore:
    """The store in a file. Made on the reactor's thread; everything after that happens on its own.

    :param connection: to the database, of the newest schema; closed by `stop`.
    :param new_account_id: makes the immutable id of a new account; called on the store's thread.
    """

    def __init__(
        self, reactor: Any, connection: sqlite3.Connection, name: str, new_account_id: Callable[[], str]
    ) -> None:
        self.name = name
        self._connection = connection
        self._tables = Tables(connection, new_account_id)
        self._worker = Worker(reactor, "index-store")
        self._commits = GroupCommit(self._worker, self._transaction, TROUBLES)

    @classmethod
    def open(
        cls, reactor: Any, path: Path, new_account_id: Callable[[], str], events: Events | None = None
    ) -> SqliteStore:
        """:raises ConfigurationError: the file cannot be used (see `open_database`)."""
        connection = open_database(path, schema_scripts(), events=events)
        return cls(reactor, connection, f"sqlite:{path}", new_account_id)

    def account_for(self, user: str, key: PeerId, at: float) -> Deferred[Account]:
        return self._commits.write(lambda: self._tables.account_for(user, key, at))

    def open_session(self, account: int, held: Position, at: float) -> Deferred[Opened]:
        return self._commits.write(lambda: self._tables.open_session(account, held, at))

    def apply(self, step: Step, most: int) -> Deferred[Applied]:
        return self._commits.write(lambda: self._tables.apply(step, most))

    def forget(self, account: int, session: int) -> Deferred[Applied]:
        return self._commits.write(lambda: self._tables.forget(account, session))

    def saw(self, accounts: Sequence[int], at: float) -> Deferred[None]:
        return self._commits.write(lambda: self._tables.saw(accounts, at))

    def sweep(self, after: int) -> Deferred[Swept]:
        return self._commits.write(lambda: self._tables.sweep(after))

    def holdings(self, account: int) -> Deferred[array[int]]:
        return self._read(lambda: self._tables.holdings(account))

    def items(self, ids: Sequence[int]) -> Deferred[Sequence[Item]]:
        return self._read(lambda: self._tables.items(ids))

    def items_after(self, after: int, limit: int) -> Deferred[Sequence[Item]]:
        return self._read(lambda: self._tables.items_after(after, limit))

    def changes_since(self, number: int, limit: int) -> Deferred[Sequence[Change]]:
        return self._read(lambda: self._tables.changes_since(number, limit))

    def unseen(self, since: float, limit: int) -> Deferred[Sequence[Lapsed]]:
        return self._read(lambda: self._tables.unseen(since, limit))

    def counts(self) -> Deferred[Counts]:
        return self._read(self._tables.counts)

    def stop(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._commits.when_idle()
        await self._worker.run(self._connection.close)
        await self._worker.stop()

    def _transaction(self, work: Callable[[], list[Any]]) -> list[Any]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            outcomes = work()
            self._tables.write_back()
            self._connection.execute("COMMIT")
        except BaseException:
            self._tables.drop_cache()
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return outcomes

    def _read(self, work: Callable[[], T]) -> Deferred[T]:
        return self._worker.run(work).addErrback(_as_store_failure)


def _as_store_failure(failure: Failure) -> Failure:
    if failure.check(*TROUBLES):
        return Failure(StoreFailed(f"the database cannot be read: {failure.getErrorMessage()}"))
    return failure
