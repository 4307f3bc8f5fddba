"""The shared store: writes, reads and the lease have a connection and a thread each, and do not wait for each other."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from ....model import PeerId
from ....ops.threads import Worker
from ...cluster.interface import Arrival, Happening, NodeState, Present, Renewal, Standing
from ...items import Item
from ..commits import GroupCommit
from ..interface import Account, Applied, Change, Counts, Lapsed, Opened, Position, Step, StoreFailed, Swept
from .connection import TROUBLES, Connection, Transactions, named, one_line, prepare
from .log import CHANNEL, Log
from .nodes import Lease, Whereabouts
from .tables import Tables, Unnumbered

#: Seconds that a statement of the lease may take: a renewal that comes later is worth nothing.
LEASE_STATEMENT_S = 4.0
#: Seconds that a read may take: what happens at other nodes is behind it.
READ_STATEMENT_S = 20.0

T = TypeVar("T")


class PostgresStore:
    """Made on the reactor's thread; everything after that happens on its own.

    :param new_account_id: makes the immutable id of a new account; called on the writing thread.
    :param monotonic: seconds that no change of the clock moves; called on any thread.
    :param random: jitter.
    """

    def __init__(
        self,
        reactor: Any,
        url: str,
        new_account_id: Callable[[], str],
        monotonic: Callable[[], float],
        random: Random,
    ) -> None:
        self.name = named(url)
        self._holds: Callable[[], bool] = lambda: True
        writing = Connection(url, "writes")
        self._writing = writing
        self._log = Log(writing)
        self._transactions = Transactions(writing, monotonic, random, lambda: self._holds())
        self._tables = Tables(writing, self._log, new_account_id, lambda: self._transactions.repeated)
        self._writer = Worker(reactor, "index-store")
        self._commits = GroupCommit(self._writer, self._transaction, TROUBLES)
        self._reading = Connection(url, "reads", READ_STATEMENT_S)
        self._read_log = Log(self._reading)
        self._read_tables = Tables(self._reading, self._read_log, new_account_id, lambda: False)
        self._reader = Worker(reactor, "index-store-reads")
        self._whereabouts = Whereabouts(writing, self._log)
        self._read_whereabouts = Whereabouts(self._reading, self._read_log)
        self._leasing = Connection(url, "lease", LEASE_STATEMENT_S, CHANNEL)
        self._lease = Lease(self._leasing)
        self._lessee = Worker(reactor, "index-store-lease")
        self._seconds = LoopingCall(self._a_second_passed)
        self._seconds.clock = reactor
        self._seconds.start(1.0, now=False)

    @classmethod
    def open(
        cls,
        reactor: Any,
        url: str,
        new_account_id: Callable[[], str],
        monotonic: Callable[[], float],
        random: Random,
        identity: PeerId | None = None,
    ) -> PostgresStore:
        """
        :param identity: of the index; all its nodes have the same.
        :raises CannotStart: PostgreSQL is away.
        :raises ConfigurationError: it will not have us, its schema is newer, or it is another index's.
        """
        named(url)
        look = Connection(url, "schema")
        try:
            prepare(look, identity)
        finally:
            look.close()
        return cls(reactor, url, new_account_id, monotonic, random)

    def account_for(self, user: str, key: PeerId, at: float) -> Deferred[Account]:
        return self._commits.write(lambda: self._tables.account_for(user, key, at))

    def open_session(self, account: int, held: Position, at: float) -> Deferred[Opened]:
        return self._commits.write(lambda: self._tables.open_session(account, held, at, self._log.node))

    def apply(self, step: Step, most: int) -> Deferred[Applied]:
        return self._commits.write(lambda: self._tables.apply(step, most)).addCallback(_numbered)

    def forget(self, account: int, session: int) -> Deferred[Applied]:
        return self._commits.write(lambda: self._tables.forget(account, session)).addCallback(_numbered)

    def saw(self, accounts: Sequence[int], at: float) -> Deferred[None]:
        return self._commits.write(lambda: self._tables.saw(accounts, at))

    def sweep(self, after: int) -> Deferred[Swept]:
        return self._commits.write(lambda: self._tables.sweep(after))

    def holdings(self, account: int) -> Deferred[array[int]]:
        return self._read(lambda: self._read_tables.holdings(account))

    def items(self, ids: Sequence[int]) -> Deferred[Sequence[Item]]:
        return self._read(lambda: self._read_tables.items(ids))

    def items_after(self, after: int, limit: int) -> Deferred[Sequence[Item]]:
        return self._read(lambda: self._read_tables.items_after(after, limit))

    def changes_since(self, number: int, limit: int) -> Deferred[Sequence[Change]]:
        return self._read(lambda: self._read_tables.changes_since(number, limit))

    def unseen(self, since: float, limit: int) -> Deferred[Sequence[Lapsed]]:
        return self._read(lambda: self._read_tables.unseen(since, limit))

    def counts(self) -> Deferred[Counts]:
        return self._read(self._read_tables.counts)

    # --- Shared with other processes -------------------------------------------------------------

    def write_while(self, holds: Callable[[], bool]) -> None:
        self._holds = holds

    def enter(self, name: str) -> Deferred[int]:
        return self._leased(lambda: self._enter(name))

    def renew(self) -> Deferred[Renewal]:
        return self._leased(lambda: self._lease.renew(self._log.node))

    def judge(self) -> Deferred[Sequence[int]]:
        return self._leased(lambda: self._lease.judge(self._log.node))

    def wait(self, seconds: float) -> Deferred[None]:
        return self._leased(lambda: self._lease.wait(seconds))

    def leave(self) -> Deferred[None]:
        return self._commits.when_idle().addCallback(lambda _: self._leased(lambda: self._lease.leave(self._log.node)))

    def nodes(self) -> Deferred[Sequence[NodeState]]:
        return self._read(self._read_whereabouts.nodes)

    def stand(self, present: Sequence[Present]) -> Deferred[None]:
        return self._commits.write(lambda: self._whereabouts.stand(present))

    def left(self, account: int, session: int) -> Deferred[None]:
        return self._commits.write(lambda: self._whereabouts.left(account, session))

    def reached(self, account: int, session: int, addresses: Sequence[str]) -> Deferred[None]:
        return self._commits.write(lambda: self._whereabouts.reached(account, session, addresses))

    def describe(self, present: Sequence[Present]) -> Deferred[None]:
        return self._commits.write(lambda: self._whereabouts.describe(present))

    def conditions(self, accounts: Sequence[int]) -> Deferred[Sequence[Present]]:
        return self._read(lambda: self._read_whereabouts.conditions(accounts))

    def standing(self) -> Deferred[Standing]:
        return self._read(self._read_whereabouts.standing)

    def arrivals(self, accounts: Sequence[int], change: int) -> Deferred[Sequence[Arrival]]:
        return self._read(lambda: self._read_whereabouts.arrivals(accounts, change))

    def log_since(self, number: int, limit: int) -> Deferred[Sequence[Happening]]:
        return self._read(lambda: self._read_log.since(number, limit))

    def remembers(self, known: Happening) -> Deferred[bool]:
        return self._read(lambda: self._read_log.remembers(known))

    def stop(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        # What PostgreSQL does not take now is not taken; what it takes is finished.
        self._transactions.stop()
        await self._commits.when_idle()
        for worker, connection in (
            (self._writer, self._writing),
            (self._reader, self._reading),
            (self._lessee, self._leasing),
        ):
            await worker.run(connection.close)
            await worker.stop()
        self._seconds.stop()

    def _a_second_passed(self) -> None:
        others = (self._writing, self._reading)
        if self._leasing.a_second_passed():
            # What has become of it is likely to have become of them.
            for connection in others:
                connection.wait_no_more()
        for connection in others:
            connection.a_second_passed()

    def _transaction(self, work: Callable[[], list[Any]]) -> list[Any]:
        return self._transactions.run(work, self._tables.before_commit, self._tables.undone)

    def _enter(self, name: str) -> int:
        self._log.node = self._lease.enter(name)
        return self._log.node

    def _leased(self, work: Callable[[], T]) -> Deferred[T]:
        return self._lessee.run(work).addErrback(_as_store_failure)

    def _read(self, work: Callable[[], T]) -> Deferred[T]:
        return self._reader.run(self._look, work).addErrback(_as_store_failure)

    def _look(self, work: Callable[[], T]) -> T:
        """A connection shows that it was lost when it is used: another one is tried, once."""
        try:
            return work()
        except TROUBLES:
            if not self._reading.is_lost():
                raise
        return work()


def _numbered(made: Unnumbered | Applied) -> Applied:
    return made.numbered() if isinstance(made, Unnumbered) else made


def _as_store_failure(failure: Failure) -> Failure:
    if failure.check(*TROUBLES):
        return Failure(StoreFailed(f"PostgreSQL cannot be read: {one_line(failure.getErrorMessage())}"))
    return failure
