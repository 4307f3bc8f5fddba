"""What has been announced and is not visible yet: all of it is in memory, so there is a limit to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import define
from twisted.internet.defer import Deferred

#: A step costs something even if there is little in it. The store takes as many as there can be so.
STEP_COST = 10


@define(eq=False)
class Passage:
    """One announce on its way from the wire to being visible, or refused."""

    number: int
    cost: int


class Intake:
    """Counts what is under way, of all sessions. Those that announce while it is full are read on later, in turn.

    :param most: listings.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way: dict[int, Passage] = {}
        self._cost = 0
        self._entered = 0
        self._paused: deque[Callable[[], None]] = deque()
        self._waiting: deque[tuple[int, Deferred[None]]] = deque()

    @property
    def cost(self) -> int:
        """Listings under way, and something for each step."""
        return self._cost

    def is_full(self) -> bool:
        return self._cost >= self._most

    def enter(self, listings: int) -> Passage:
        self._entered += 1
        passage = self._under_way[self._entered] = Passage(self._entered, listings + STEP_COST)
        self._cost += passage.cost
        return passage

    def leave(self, passage: Passage) -> None:
        """It is visible, or will never be."""
        del self._under_way[passage.number]
        self._cost -= passage.cost
        self._tell_waiting()
        if self._paused and not self.is_full():
            # One, which says a line or more; all, when there is room for that.
            for _ in range(len(self._paused) if self._cost <= self._most // 2 else 1):
                self._paused.popleft()()

    def when_room(self, resume: Callable[[], None]) -> None:
        """Call this, once, when it is not full any more."""
        self._paused.append(resume)

    def passed(self) -> Deferred[None]:
        """Fires when everything that is under way now is not any more."""
        passed: Deferred[None] = Deferred()
        self._waiting.append((self._entered, passed))
        self._tell_waiting()
        return passed

    def _tell_waiting(self) -> None:
        oldest = next(iter(self._under_way), self._entered + 1)
        while self._waiting and self._waiting[0][0] < oldest:
            self._waiting.popleft()[1].callback(None)
