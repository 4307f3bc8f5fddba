"""Waiting downloads whose sources are known but failed: tried again, ever more rarely."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..item import Item

#: The first wait, doubled up to the last, ± a quarter.
FIRST_RETRY_S = 4.0
LAST_RETRY_S = 120.0


class Retries:
    """:param due: called when it is time to look at this download again."""

    def __init__(self, clock: IReactorTime, rng: Random, due: Callable[[Item], None]) -> None:
        self._clock = clock
        self._rng = rng
        self._due = due
        self._counts: dict[int, int] = {}
        self._timers: dict[int, IDelayedCall] = {}

    def later(self, item: Item) -> None:
        self.cancel(item)
        count = self._counts.get(item.id, 0)
        self._counts[item.id] = count + 1
        delay = min(LAST_RETRY_S, FIRST_RETRY_S * 2 ** min(count, 10)) * self._rng.uniform(0.75, 1.25)
        self._timers[item.id] = self._clock.callLater(delay, self._now, item)

    def left_s(self, item: Item) -> float | None:
        """Seconds until it is looked at again."""
        timer = self._timers.get(item.id)
        return None if timer is None else max(0.0, timer.getTime() - self._clock.seconds())

    def forget(self, item: Item) -> None:
        """The next wait is a first one again."""
        self._counts.pop(item.id, None)

    def cancel(self, item: Item) -> None:
        timer = self._timers.pop(item.id, None)
        if timer is not None:
            timer.cancel()

    def stop(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _now(self, item: Item) -> None:
        del self._timers[item.id]
        self._due(item)
