"""The bell that the shares' coroutines wait for."""

from __future__ import annotations

from twisted.internet.task import Clock

from napd.peer.shares.bell import Bell


def test_a_ring_wakes_the_one_who_waits_and_leaves_no_timer() -> None:
    clock = Clock()
    bell = Bell(clock)
    waiting = bell.wait(5.0)
    bell.ring()
    assert waiting.called
    assert clock.getDelayedCalls() == []


def test_a_ring_before_the_wait_is_remembered_once() -> None:
    bell = Bell(Clock())
    bell.ring()
    bell.ring()
    assert bell.wait(5.0).called
    assert not bell.wait(5.0).called


def test_the_time_over_wakes_too() -> None:
    clock = Clock()
    waiting = Bell(clock).wait(5.0)
    clock.advance(5.0)
    assert waiting.called


def test_a_wait_that_is_cancelled_leaves_no_timer() -> None:
    clock = Clock()
    waiting = Bell(clock).wait(5.0)
    waiting.addErrback(lambda _: None)
    waiting.cancel()
    assert clock.getDelayedCalls() == []
