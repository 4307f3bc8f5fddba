"""The embedded store: one SQLite file, a process that writes it, a thread that reads."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import msgspec
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ....model import PeerId
from ....ops.database import open_database
from ....ops.events import Events
from ....ops.threads import Worker
from ...items import Item
from ..interface import (
    SWEEP_STRIDE,
    Account,
    Applied,
    Change,
    Counts,
    Lapsed,
    Opened,
    Position,
    Step,
    StoreFailed,
    Swept,
)
from .committing import TROUBLES
from .process import WriterProcess
from .reading import Reading
from .requests import AccountFor, Apply, Done, Forget, Gone, OpenedSession, OpenSession, Saw, Sweep, ids_of
from .rows import row_of
from .schema import FUNCTIONS, scripts
from .tables import Log

FILE_NAME = "index.db"
#: New items are all over the tree of digests, and a commit writes each page that it touches whole.
PAGE_BYTES = 2048

T = TypeVar("T")
_decode_account = msgspec.msgpack.Decoder(Account).decode
_decode_opened = msgspec.msgpack.Decoder(OpenedSession).decode
_decode_done = msgspec.msgpack.Decoder(Done).decode
_decode_gone = msgspec.msgpack.Decoder(Gone).decode


class SqliteStore:
    """The store in a file. What is written goes through a process of its own (`writer`), so that it takes nothing from
    whoever searches; what is read waits for what was to be written before.

    :param connection: to the database, of the newest schema, for reading; closed by `stop`.
    :param new_account_id: makes the immutable id of a new account.
    """

    def __init__(
        self,
        reactor: Any,
        connection: sqlite3.Connection,
        path: Path,
        new_account_id: Callable[[], str],
        random: Random,
        events: Events | None,
        log: Log,
    ) -> None:
        self.name = f"sqlite:{path}"
        self._connection = connection
        self._new_account_id = new_account_id
        self._events = events
        self._reading = Reading(connection)
        self._worker = Worker(reactor, "index-store")
        arguments = [str(path.absolute()), str(log.kept), str(log.cut_every)]
        self.writer = WriterProcess(reactor, arguments, random, self._lost)

    @classmethod
    def open(
        cls,
        reactor: Any,
        path: Path,
        new_account_id: Callable[[], str],
        random: Random,
        events: Events | None = None,
        log: Log | None = None,
    ) -> SqliteStore:
        """:raises ConfigurationError: the file cannot be used (see `open_database`)."""
        connection = open_database(path, scripts(), events=events, functions=FUNCTIONS, page_bytes=PAGE_BYTES)
        connection.execute("PRAGMA query_only=ON")
        return cls(reactor, connection, path, new_account_id, random, events, log or Log())

    # --- Writing ---------------------------------------------------------------------------------

    def account_for(self, user: str, key: PeerId, at: float) -> Deferred[Account]:
        request = AccountFor(self._new_account_id(), user, key, at)
        return self.writer.ask(lambda: request).addCallback(_decode_account)

    def open_session(self, account: int, held: Position, at: float) -> Deferred[Opened]:
        return self.writer.ask(lambda: OpenSession(account, held, at)).addCallback(_opened)

    def apply(self, step: Step, most: int) -> Deferred[Applied]:
        return self.writer.ask(lambda: _request(step, most)).addCallback(_applied, step)

    def forget(self, account: int, session: int) -> Deferred[Applied]:
        return self.writer.ask(lambda: Forget(account, session)).addCallback(_applied, None)

    def saw(self, accounts: Sequence[int], at: float) -> Deferred[None]:
        return self.writer.ask(lambda: Saw(accounts, at)).addCallback(lambda _: None)

    def sweep(self, after: int) -> Deferred[Swept]:
        return self.writer.ask(lambda: Sweep(after, SWEEP_STRIDE)).addCallback(_swept)

    # --- Reading ---------------------------------------------------------------------------------

    def holdings(self, account: int) -> Deferred[array[int]]:
        return self._read(lambda: self._reading.holdings(account))

    def items(self, ids: Sequence[int]) -> Deferred[Sequence[Item]]:
        return self._read(lambda: self._reading.items(ids))

    def items_after(self, after: int, limit: int) -> Deferred[Sequence[Item]]:
        return self._read(lambda: self._reading.items_after(after, limit))

    def changes_since(self, number: int, limit: int) -> Deferred[Sequence[Change]]:
        return self._read(lambda: self._reading.changes_since(number, limit))

    def unseen(self, since: float, limit: int) -> Deferred[Sequence[Lapsed]]:
        return self._read(lambda: self._reading.unseen(since, limit))

    def counts(self) -> Deferred[Counts]:
        return self._read(self._reading.counts)

    def _read(self, work: Callable[[], T]) -> Deferred[T]:
        """As of now: what was asked to be written before is written by then."""
        return (
            self.writer.settled().addCallback(lambda _: self._worker.run(work)).addErrback(_as_store_failure)
        )  # fmt: skip

    # --- The end ---------------------------------------------------------------------------------

    def stop(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self.writer.stop()
        await self._worker.run(self._connection.close)
        await self._worker.stop()

    def _lost(self, why: str, failed: int, wait_s: float) -> None:
        if self._events is not None:
            self._events.emit("index.writer_lost", error=why, writes=failed, wait_s=round(wait_s, 1))


def _request(step: Step, most: int) -> Apply:
    return Apply(
        account=step.account,
        session=step.session,
        epoch=step.epoch,
        base=step.base,
        revision=step.revision,
        reset=step.reset,
        most=most,
        add=[row_of(entry) for entry in step.add],
        withdraw=[row_of(entry) for entry in step.withdraw],
    )


def _opened(answer: msgspec.Raw) -> Opened:
    opened = _decode_opened(answer)
    return Opened(opened.session, opened.position, ids_of(opened.share), ids_of(opened.dropped))


def _applied(answer: msgspec.Raw, step: Step | None) -> Applied:
    done = _decode_done(answer)
    added: list[Item] = []
    if step is not None:
        numbers = zip(ids_of(done.places), ids_of(done.items), ids_of(done.contents), strict=True)
        added = [Item(item, content, step.add[place]) for place, item, content in numbers]
    return Applied(done.change, done.position, added, ids_of(done.withdrawn))


def _swept(answer: msgspec.Raw) -> Swept:
    gone = _decode_gone(answer)
    return Swept(ids_of(gone.removed), ids_of(gone.left), gone.next)


def _as_store_failure(failure: Failure) -> Failure:
    if failure.check(*TROUBLES):
        return Failure(StoreFailed(f"the database cannot be read: {failure.getErrorMessage()}"))
    return failure
