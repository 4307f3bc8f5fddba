"""Threads that work off the reactor: `Worker` is one, in order (a database); `Pool` is several (hashing, reading).

Every thread is a daemon thread: one that hangs in a dead disk does not keep the process from ending.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from ..errors import NapError

#: Pieces of work that may wait for one set of threads.
MAX_WAITING = 10_000

P = ParamSpec("P")
R = TypeVar("R")
_Work = Callable[[], None]


class Overloaded(NapError):
    """More work waits than the threads may hold: ask again later."""

    code = "busy"


class Pool:
    """Threads that take work in the order it was given.

    :param reactor: results come through its `callFromThread`, so Deferreds fire on its thread.
    :param name: of the threads, as tracebacks and debuggers show it.
    """

    def __init__(self, reactor: Any, name: str, threads: int, max_waiting: int = MAX_WAITING) -> None:
        self._reactor = reactor
        self._name = name
        self._max_waiting = max_waiting
        self._waiting: deque[_Work] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._running = threads
        self._ended: Deferred[None] = Deferred()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{n}" if threads > 1 else name, daemon=True)
            for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Deferred[R]:
        """Call `work` in a thread; its result or exception comes as the Deferred's.

        Cancelling the Deferred gives up the result; work that has been taken on is done nevertheless.
        Fails with `Overloaded` when `max_waiting` pieces wait; after `stop` it comes cancelled, as the caller soon is.
        """
        result: Deferred[R] = Deferred()

        def piece() -> None:
            try:
                outcome: R | Failure = work(*args, **kwargs)
            except BaseException:
                outcome = Failure()
                outcome.cleanFailure()
            self._reactor.callFromThread(result.callback, outcome)

        with self._changed:
            refusal = self._refusal()
            if refusal is None:
                self._waiting.append(piece)
                self._changed.notify()
        if refusal is not None:
            result.errback(Failure(refusal))
        return result

    def stop(self) -> Deferred[None]:
        """Take on nothing more; fires when all that was taken on is done and the threads have ended."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        done: Deferred[None] = Deferred()
        self._ended.addCallback(lambda _: done.callback(None))
        return done

    @property
    def waiting(self) -> int:
        """Pieces of work that no thread has begun."""
        return len(self._waiting)

    def _refusal(self) -> Exception | None:
        if self._stopping:
            return CancelledError(f"{self._name} has stopped")
        if len(self._waiting) >= self._max_waiting:
            return Overloaded(f"{self._name} has {len(self._waiting)} pieces of work waiting")
        return None

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._stopping:
                    self._changed.wait()
                if not self._waiting:
                    break
                piece = self._waiting.popleft()
            piece()
            # Keep nothing of it alive (a chunk's bytes, say) while waiting for the next.
            del piece
        with self._changed:
            self._running -= 1
            last = self._running == 0
        if last:
            self._reactor.callFromThread(self._ended.callback, None)


class Worker(Pool):
    """One thread: work is done strictly in the order it was given. Each database has one."""

    def __init__(self, reactor: Any, name: str, max_waiting: int = MAX_WAITING) -> None:
        super().__init__(reactor, name, 1, max_waiting)
