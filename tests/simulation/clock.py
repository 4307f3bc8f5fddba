"""Virtual time for a whole swarm: one queue of events in a fixed order, and a clock for each process in it.

Twisted's own `Clock` sorts all calls with every new one; a swarm makes some hundred thousand. A process that is killed
takes its calls with it, as a real one does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Any

from attrs import define, field
from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

#: Events of one moment, and of one second, beyond which nothing but a busy loop is the explanation.
MAX_AT_ONCE = 20_000
MAX_PER_SECOND = 100_000


class BusyLoop(AssertionError):
    """Things go on happening while no time passes, or far too many in a little time."""


@define(eq=False, repr=False)
class World:
    """The queue of everything that will happen. `handled` counts what has."""

    handled: int = 0
    _now: float = 0.0
    _queue: list[tuple[float, int, DelayedCall, ProcessClock]] = field(factory=list)
    _places: Any = field(factory=count)
    _at_once: int = 0
    _second: int = 0
    _this_second: int = 0

    def seconds(self) -> float:
        return self._now

    def process(self, name: str) -> ProcessClock:
        return ProcessClock(self, name)

    def put(self, call: DelayedCall, owner: ProcessClock) -> None:
        heappush(self._queue, (call.time, next(self._places), call, owner))

    def step(self) -> bool:
        """Let the next thing happen; False if nothing is going to."""
        while self._queue:
            at, _, call, owner = heappop(self._queue)
            if call.cancelled or call.called or owner.dead:
                continue
            if call.delayed_time > 0:
                call.activate_delay()
                self.put(call, owner)
                continue
            if call.time != at:
                # It was moved, and stands elsewhere in the queue.
                continue
            self._look_for_busy_loops(at, owner)
            self._now = max(self._now, at)
            self.handled += 1
            call.called = 1
            call.func(*call.args, **call.kw)
            return True
        return False

    def next_at(self) -> float | None:
        return self._queue[0][0] if self._queue else None

    def run_to(self, at: float) -> None:
        """Let everything happen up to this moment."""
        while self._queue and self._queue[0][0] <= at:
            self.step()
        self._now = max(self._now, at)

    def pending(self, owner: ProcessClock) -> list[DelayedCall]:
        return [call for _, _, call, whose in self._queue if whose is owner and call.active()]

    def _look_for_busy_loops(self, at: float, owner: ProcessClock) -> None:
        self._at_once = self._at_once + 1 if at <= self._now else 0
        if int(at) != self._second:
            self._second, self._this_second = int(at), 0
        self._this_second += 1
        if self._at_once > MAX_AT_ONCE or self._this_second > MAX_PER_SECOND:
            raise BusyLoop(f"a busy loop at {self._now:.3f} s, the last event is of {owner.name}")


@implementer(IReactorTime)
@define(eq=False, repr=False)
class ProcessClock:
    """What one process sees as its reactor's clock."""

    world: World
    name: str
    dead: bool = False

    def seconds(self) -> float:
        return self.world.seconds()

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kw: object) -> DelayedCall:
        if delay < 0:
            raise AssertionError(f"{self.name} calls {callable} {delay} s from now")
        at = self.world.seconds() + delay
        call = DelayedCall(at, callable, args, kw, lambda _: None, self._sooner, self.world.seconds)
        self.world.put(call, self)
        return call

    def getDelayedCalls(self) -> Sequence[DelayedCall]:
        return self.world.pending(self)

    def kill(self) -> None:
        """The process is gone: nothing that it had in mind will happen."""
        self.dead = True

    def _sooner(self, call: DelayedCall) -> None:
        self.world.put(call, self)
