"""Waiting for what happens some time: by looking again until a deadline, never by sleeping a guessed while."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from attrs import frozen
from twisted.internet.task import Clock, deferLater

T = TypeVar("T")

#: Seconds between two looks.
EVERY_S = 0.01


def until(look: Callable[[], T], what: str, timeout: float = 15.0, every_s: float = EVERY_S) -> T:
    """The first true thing that `look` returns. Blocks: for tests of other processes."""
    deadline = time.monotonic() + timeout
    while True:
        if found := look():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what} (last seen: {found!r})")
        time.sleep(every_s)


@frozen
class Eventually:
    """The same for coroutine tests: the reactor goes on meanwhile."""

    reactor: Any

    async def __call__(self, look: Callable[[], T], what: str = "the condition", timeout: float = 10.0) -> T:
        deadline = self.reactor.seconds() + timeout
        while True:
            if found := look():
                return found
            if self.reactor.seconds() > deadline:
                raise AssertionError(f"not within {timeout:g} s: {what} (last seen: {found!r})")
            await deferLater(self.reactor, EVERY_S, lambda: None)


def one_turn(clock: Clock) -> bool:
    """What a reactor does in one turn: all that is due, and not what is begun meanwhile. `Clock.advance` does both.

    Whether anything was due.
    """
    calls: Sequence[Any] = clock.getDelayedCalls()
    due = [call for call in calls if call.getTime() <= clock.seconds()]
    for call in due:
        if call.active():
            work, arguments, keywords = call.func, call.args, call.kw
            call.cancel()
            work(*arguments, **keywords)
    return bool(due)
