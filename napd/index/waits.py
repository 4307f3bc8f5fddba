"""Waits of one length, of very many sessions: one timer of the reactor for all of them.

Who begins first is due first, so nothing has to be sorted; and those that are due within a moment of each other are
seen to in the same turn of the reactor.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Seconds that a wait may end too early, together with an earlier one: ten thousand heartbeats in five seconds then
#: take a hundred turns of the reactor and not ten thousand.
EARLY_S = 0.05
#: So many that are due at once are seen to before the reactor gets its turn.
MOST_AT_ONCE = 200


class Wait:
    """One of `Waits`. :ivar at: when it is due, by the clock."""

    __slots__ = ("_others", "at", "due")

    def __init__(self, others: Waits, at: float, due: Callable[[], object]) -> None:
        self._others = others
        self.at = at
        self.due = due

    def stop(self) -> None:
        """Nothing, if it is over."""
        self._others.leave(self)


class Waits:
    """:param seconds: that each takes."""

    def __init__(self, clock: IReactorTime, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._waiting: OrderedDict[Wait, None] = OrderedDict()
        self._timer: IDelayedCall | None = None

    def begin(self, due: Callable[[], object]) -> Wait:
        """Call `due` when the time is up, unless the wait is stopped before."""
        wait = Wait(self, self._clock.seconds() + self._seconds, due)
        self._waiting[wait] = None
        self._set_timer()
        return wait

    def leave(self, wait: Wait) -> None:
        self._waiting.pop(wait, None)
        if not self._waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        if self._timer is None and self._waiting:
            first = next(iter(self._waiting))
            self._timer = self._clock.callLater(max(0.0, first.at - self._clock.seconds()), self._ring)

    def _ring(self) -> None:
        self._timer = None
        until = self._clock.seconds() + EARLY_S
        try:
            for _ in range(min(MOST_AT_ONCE, len(self._waiting))):
                wait = next(iter(self._waiting), None)
                if wait is None or wait.at > until:
                    break
                del self._waiting[wait]
                wait.due()
        finally:
            self._set_timer()
