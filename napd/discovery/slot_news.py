"""Whether this peer has a free upload slot, as the index is told: when it changes, and lasts, and not too often."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Seconds that a change has to last before it is told: slots are handed on all the time.
LASTS_S = 5.0
#: Seconds between two messages.
SPACING_S = 30.0


class SlotNews:
    """:param tell: called with how many slots are free; whether any is differs from what was told before."""

    def __init__(self, clock: IReactorTime, tell: Callable[[int], None]) -> None:
        self._clock = clock
        self._tell = tell
        self._free = 1
        self._told = 1
        self._told_at = float("-inf")
        self._timer: IDelayedCall | None = None

    def changed(self, free: int) -> None:
        self._free = free
        is_news = (free > 0) != (self._told > 0)
        if not is_news:
            self.stop()
        elif self._timer is None:
            wait_s = max(LASTS_S, self._told_at + SPACING_S - self._clock.seconds())
            self._timer = self._clock.callLater(wait_s, self._say)

    def begin(self) -> None:
        """A session begins: its index takes it that there is a free slot."""
        self._told, self._told_at = 1, float("-inf")
        self.changed(self._free)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _say(self) -> None:
        self._timer = None
        self._told = self._free
        self._told_at = self._clock.seconds()
        self._tell(self._free)
