"""Group commit: writes that wait together are committed together, in the order they were asked for."""

from __future__ import annotations

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
#: Writes that may wait: a database that is away for a while is waited for, but not by everybody.
MAX_WAITING = 20_000

T = TypeVar("T")
#: `work` may be called again, after everything that it did was undone.
Transaction = Callable[[Callable[[], list[Any]]], list[Any]]


@frozen
class _Write:
    work: Callable[[], Any]
    done: Deferred[Any]


class GroupCommit:
    """Runs writes on the database's thread, as many as wait in one transaction.

    A write that raises `NapError` must have changed nothing; the others of its group go on. Any other error undoes the
    whole group, and each of its writes is tried again on its own, so that one that fails does not fail the others.

    :param transaction: does what it is given in one transaction, on the thread: committed when it returns, undone when
        it raises.
    :param troubles: what it raises when the database itself cannot work: `StoreFailed` for whoever waits.
    """

    def __init__(self, worker: Worker, transaction: Transaction, troubles: tuple[type[Exception], ...]) -> None:
        self._worker = worker
        self._transaction = transaction
        self._troubles = troubles
        self._waiting: deque[_Write] = deque()
        self._committing = False
        self._idle: list[Deferred[None]] = []

    def write(self, work: Callable[[], T]) -> Deferred[T]:
        """Fires after the commit, with what `work` returned. Fails with its `NapError`, or `StoreFailed`."""
        # Without a canceller: who gives up on a write gets no outcome, and the write is made all the same.
        done: Deferred[T] = Deferred()
        if len(self._waiting) >= MAX_WAITING:
            done.errback(StoreFailed(f"{MAX_WAITING} writes wait for the database"))
            return done
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
            lambda failure: self._tell(group, [self._failed(failure.value)] * len(group)),
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
            return self._transaction(lambda: _outcomes(works))
        except Exception as error:
            if len(works) == 1:
                return [self._failed(error)]
        return [self._commit([work])[0] for work in works]

    def _failed(self, error: BaseException) -> Failure:
        if isinstance(error, self._troubles):
            return Failure(StoreFailed(f"the database cannot be written: {error}"))
        if isinstance(error, NapError):
            return Failure(StoreFailed(error.message))
        return Failure(error)


def _outcomes(works: Sequence[Callable[[], Any]]) -> list[Any]:
    outcomes: list[Any] = []
    for work in works:
        try:
            outcomes.append(work())
        except NapError as error:
            outcomes.append(Failure(error))
    return outcomes
