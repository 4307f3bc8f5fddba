"""Whose request is served next: sessions take turns, one request each, and the reactor gets its turn in between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

Work = Callable[[], None]


class Turns:
    """Requests that cost something, by who made them."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        #: Who has requests waiting, in the order of their next turns.
        self._waiting: dict[Hashable, deque[Work]] = {}
        self._next: IDelayedCall | None = None

    def waiting(self, owner: Hashable) -> int:
        return len(self._waiting.get(owner, ()))

    def add(self, owner: Hashable, work: Work) -> None:
        self._waiting.setdefault(owner, deque()).append(work)
        self._schedule()

    def drop(self, owner: Hashable) -> None:
        """What this one still waits for need not be done."""
        self._waiting.pop(owner, None)

    def stop(self) -> None:
        self._waiting.clear()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _schedule(self) -> None:
        if self._next is None and self._waiting:
            self._next = self._clock.callLater(0, self._serve)

    def _serve(self) -> None:
        self._next = None
        if not self._waiting:
            return
        owner = next(iter(self._waiting))
        queue = self._waiting.pop(owner)
        work = queue.popleft()
        if queue:
            # Behind all the others.
            self._waiting[owner] = queue
        self._schedule()
        work()
