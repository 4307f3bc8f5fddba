"""Something to wait for on the reactor's thread."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Bell:
    """Wakes the one who waits; a ring while nobody does is remembered, once."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._rung = False
        self._waiting: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None

    def ring(self) -> None:
        self._rung = True
        self._wake()

    def wait(self, timeout_s: float) -> Deferred[None]:
        """Fires at the next ring, or when the time is over. At once if it has rung since the last wait."""
        waiting: Deferred[None] = Deferred(lambda _: self._forget())
        self._waiting = waiting
        if self._rung:
            self._wake()
        else:
            self._timer = self._clock.callLater(timeout_s, self._wake)
        return waiting

    def _wake(self) -> None:
        waiting = self._waiting
        if waiting is not None:
            self._rung = False
            self._forget()
            waiting.callback(None)

    def _forget(self) -> None:
        self._waiting = None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
