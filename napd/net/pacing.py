"""Rate limits: a token bucket that several transfers draw from in turn."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Seconds of the rate that may be spent at once after a quiet time.
BURST_S = 0.25


class Pacer:
    """Lets at most `rate` bytes per second through, on average; None is no limit.

    Debt is allowed: a spender may take more than is there, and the next ones wait for it to be paid off. So a block of
    any size passes at any rate.
    """

    def __init__(self, clock: IReactorTime, rate: float | None = None) -> None:
        self._clock = clock
        self._rate = rate
        self._level = 0.0
        self._as_of = clock.seconds()
        self._waiting: deque[tuple[int, Deferred[None]]] = deque()
        self._wake: IDelayedCall | None = None

    @property
    def rate(self) -> float | None:
        return self._rate

    def set_rate(self, rate: float | None) -> None:
        """Takes effect at once, for those who wait already too."""
        self._refill()
        self._rate = rate
        self._level = min(self._level, 0.0) if rate is None else max(self._level, -rate)
        self._serve()

    def spend(self, size: int) -> Deferred[None]:
        """Fires when so many bytes may be moved, in the order of asking."""
        if self._rate is None and not self._waiting:
            return succeed(None)
        turn: Deferred[None] = Deferred(self._leave)
        self._waiting.append((size, turn))
        self._serve()
        return turn

    def delay_after(self, size: int) -> float:
        """Account for bytes that have come already; seconds to read nothing more for."""
        if self._rate is None:
            return 0.0
        self._refill()
        self._level -= size
        return max(0.0, -self._level / self._rate)

    def stop(self) -> None:
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None

    def _leave(self, turn: Deferred[None]) -> None:
        self._waiting = deque(entry for entry in self._waiting if entry[1] is not turn)

    def _refill(self) -> None:
        now = self._clock.seconds()
        if self._rate is not None:
            self._level = min(self._level + (now - self._as_of) * self._rate, self._rate * BURST_S)
        self._as_of = now

    def _serve(self) -> None:
        self.stop()
        self._refill()
        while self._waiting and (self._rate is None or self._level >= 0):
            size, turn = self._waiting.popleft()
            if self._rate is not None:
                self._level -= size
            turn.callback(None)
        if self._waiting and self._rate is not None:
            # Whoever had its turn may have asked again from within it, and set a timer already.
            self.stop()
            self._wake = self._clock.callLater(max(0.001, -self._level / self._rate), self._woken)

    def _woken(self) -> None:
        self._wake = None
        self._serve()
