"""Waits of one length: each ends in its time or a moment before, whoever else waits, and one timer is enough."""

from __future__ import annotations

from functools import partial

import pytest
from twisted.internet.task import Clock

from napd.index.waits import EARLY_S, MOST_AT_ONCE, Waits
from tests.support.waiting import one_turn


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def waits(clock: Clock) -> Waits:
    return Waits(clock, 5.0)


def test_each_ends_when_its_time_is_up(clock: Clock, waits: Waits) -> None:
    over: list[str] = []
    waits.begin(lambda: over.append("first"))
    clock.advance(1)
    waits.begin(lambda: over.append("second"))
    clock.advance(3.9)
    assert over == []
    clock.advance(0.1)
    assert over == ["first"]
    clock.advance(1)
    assert over == ["first", "second"]
    assert not clock.getDelayedCalls()


def test_what_is_due_within_a_moment_is_seen_to_together(clock: Clock, waits: Waits) -> None:
    over: list[float] = []
    for _ in range(4):
        waits.begin(lambda: over.append(clock.seconds()))
        clock.advance(EARLY_S / 2)
    clock.advance(5 - 2 * EARLY_S)
    assert over == [5.0, 5.0, 5.0]
    clock.advance(EARLY_S * 2)
    assert len(over) == 4


def test_one_timer_is_enough_for_all(clock: Clock, waits: Waits) -> None:
    for _ in range(1000):
        waits.begin(lambda: None)
        clock.advance(0.001)
    assert len(clock.getDelayedCalls()) == 1


def test_a_wait_that_was_stopped_is_never_over(clock: Clock, waits: Waits) -> None:
    over: list[str] = []
    first, _, third = (waits.begin(partial(over.append, name)) for name in ("first", "second", "third"))
    first.stop()
    third.stop()
    third.stop()
    clock.advance(6)
    first.stop()
    assert over == ["second"]


def test_nothing_is_left_when_all_are_stopped(clock: Clock, waits: Waits) -> None:
    for wait in [waits.begin(lambda: None) for _ in range(3)]:
        wait.stop()
    assert not clock.getDelayedCalls()


def test_one_that_ends_may_begin_anew_and_stop_others(clock: Clock, waits: Waits) -> None:
    over: list[str] = []

    def again() -> None:
        over.append("again")
        second.stop()
        waits.begin(again)

    waits.begin(again)
    second = waits.begin(lambda: over.append("second"))
    clock.pump([5.0, 4.0, 1.0])
    assert over == ["again", "again"]


def test_a_crowd_does_not_hold_the_reactor_up(clock: Clock, waits: Waits) -> None:
    over: list[int] = []
    for number in range(3 * MOST_AT_ONCE):
        waits.begin(partial(over.append, number))
    clock.rightNow = 5.0
    one_turn(clock)
    assert len(over) == MOST_AT_ONCE
    clock.advance(0)
    assert over == list(range(3 * MOST_AT_ONCE))


def test_one_that_fails_does_not_keep_others_waiting(clock: Clock, waits: Waits) -> None:
    over: list[str] = []

    def broken() -> None:
        raise RuntimeError("on purpose")

    waits.begin(broken)
    waits.begin(lambda: over.append("second"))
    with pytest.raises(RuntimeError):
        clock.advance(5)
    clock.advance(0)
    assert over == ["second"]
