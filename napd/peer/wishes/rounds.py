"""When wishes are searched for: one at a time, with pauses, all of them after a login and then ever again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from random import Random

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ...background import Background

#: Seconds between two searches, ± half: peers that all come back at once must not all search at once.
PAUSE_S = 10.0
#: At most this share of the searches that the index allows; the others are for people.
SHARE = 0.1


class Rounds:
    """:param search: searches for this wish; expects its failures itself."""

    def __init__(
        self, clock: IReactorTime, rng: Random, background: Background, search: Callable[[int], Awaitable[None]]
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._background = background
        self._search = search
        self._due: dict[int, float] = {}
        self._pause_s = PAUSE_S
        self._not_before = 0.0
        self._open = False
        self._searching = False
        self._timer: IDelayedCall | None = None

    def open(self, wishes: Iterable[int], searches_per_s: float) -> None:
        """The index can be asked: each of these is, in no particular order.

        :param searches_per_s: what the index allows; 0 for nothing.
        """
        self._open = searches_per_s > 0
        if self._open:
            self._pause_s = max(PAUSE_S, 1 / (SHARE * searches_per_s))
        now = self._clock.seconds()
        shuffled = list(wishes)
        self._rng.shuffle(shuffled)
        self._due = dict.fromkeys(shuffled, now)
        self._not_before = now + self._rng.uniform(0, self._pause_s)
        self._arm()

    def close(self) -> None:
        """The index cannot be asked."""
        self._open = False
        self._due.clear()
        self._arm()

    def ask(self, wish: int, after_s: float = 0.0) -> None:
        """Search for it after so many seconds, ± half, or when its turn comes; sooner if that was said before."""
        due = self._clock.seconds() + after_s * self._rng.uniform(0.5, 1.5)
        self._due[wish] = min(due, self._due.get(wish, due))
        self._arm()

    def forget(self, wish: int) -> None:
        self._due.pop(wish, None)
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if self._open and self._due and not self._searching:
            at = max(self._not_before, min(self._due.values()))
            self._timer = self._clock.callLater(max(0.0, at - self._clock.seconds()), self._turn)

    def _turn(self) -> None:
        wish = min(self._due, key=self._due.__getitem__)
        del self._due[wish]
        self._not_before = self._clock.seconds() + self._pause_s * self._rng.uniform(0.5, 1.5)
        self._searching = True
        self._background.start("searching for a wish", self._look(wish))

    async def _look(self, wish: int) -> None:
        try:
            await self._search(wish)
        finally:
            self._searching = False
            self._arm()
