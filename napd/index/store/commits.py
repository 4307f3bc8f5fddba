"""Group commit: writes that wait together are committed together, in the order they were asked for."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ...errors import NapError
from ...ops.threads import Worker
from .interface import StoreFailed

#: Writes in one transaction: enough that the commit's cost is shared, few enough that the first need not wait long.
MAX_GROUP = 64

T = TypeVar("T")


@frozen
class _Write:
    work: Callable[[], Any]
    done: Deferred[Any]


class GroupCommit:
    """Runs writes on the database's thread, as many as wait in one transaction.

    A write that raises `NapError` must have changed nothing; the others of its group go on. Any other error undoes the
    whole group, and each of its writes is tried again on its own, so that one that fails does not fail the others.

    :param undone: called on the thread after a transaction was rolled back (to drop what was cached).
    :param before_commit: called on the thread before each commit (to write what was cached).
    """

    def __init__(
        self,
        worker: Worker,
        connection: sqlite3.Connection,
        before_commit: Callable[[], None],
        undone: Callable[[], None],
    ) -> None:
        self._worker = worker
        self._connection = connection
        self._before_commit = before_commit
        self._undone = undone
        self._waiting: deque[_Write] = deque()
        self._committing = False
        self._idle: list[Deferred[None]] = []

    def write(self, work: Callable[[], T]) -> Deferred[T]:
        """Fires after the commit, with what `work` returned. Fails with its `NapError`, or `StoreFailed`."""
        # Without a canceller: who gives up on a write gets no outcome, and the write is made all the same.
        done: Deferred[T] = Deferred()
        self._waiting.append(_Write(work, done))
        self._commit_next()
        return done

    def when_idle(self) -> Deferred[None]:
        idle: Deferred[None] = Deferred()
        if self._committing:
            self._idle.append(idle)
        else:
            idle.callback(None)
        return idle

    def _commit_next(self) -> None:
        if self._committing or not self._waiting:
            return
        group = [self._waiting.popleft() for _ in range(min(MAX_GROUP, len(self._waiting)))]
        self._committing = True
        running = self._worker.run(self._commit, [write.work for write in group])
        running.addCallbacks(
            lambda outcomes: self._tell(group, outcomes),
            lambda failure: self._tell(group, [_store_failure(failure.value)] * len(group)),
        )

    def _tell(self, group: Sequence[_Write], outcomes: Sequence[Any]) -> None:
        # The next group is handed over first: the thread works on it while this one's results are dealt with.
        self._committing = False
        self._commit_next()
        for write, outcome in zip(group, outcomes, strict=True):
            write.done.callback(outcome)
        if not self._committing:
            idle, self._idle = self._idle, []
            for waiter in idle:
                waiter.callback(None)

    # --- On the thread ---------------------------------------------------------------------------

    def _commit(self, works: Sequence[Callable[[], Any]]) -> list[Any]:
        try:
            return self._transaction(works)
        except Exception as error:
            if len(works) == 1:
                return [_store_failure(error)]
        return [self._commit([work])[0] for work in works]

    def _transaction(self, works: Sequence[Callable[[], Any]]) -> list[Any]:
        outcomes: list[Any] = []
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for work in works:
                try:
                    outcomes.append(work())
                except NapError as error:
                    outcomes.append(Failure(error))
            self._before_commit()
            self._connection.execute("COMMIT")
        except BaseException:
            self._undone()
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return outcomes


def _store_failure(error: BaseException) -> Failure:
    if isinstance(error, (sqlite3.Error, OSError)):
        return Failure(StoreFailed(f"the database cannot be written: {error}"))
    if isinstance(error, NapError):
        return Failure(StoreFailed(error.message))
    return Failure(error)
