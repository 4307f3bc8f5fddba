"""What streams put off until the reactor's next turn."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from napd.net.next_turn import NextTurn
from tests.support.waiting import one_turn


class Stream:
    def __init__(self, done: list[str], name: str) -> None:
        self.done = done
        self.name = name

    def work(self) -> None:
        self.done.append(self.name)


def test_all_is_done_in_one_call_in_the_order_in_which_it_was_asked_for() -> None:
    clock, done = Clock(), list[str]()
    turn, streams = NextTurn(clock), [Stream(done, name) for name in "abc"]
    for stream in (*streams, streams[0]):
        turn.add(stream.work)
    assert len(clock.getDelayedCalls()) == 1
    assert done == []
    clock.advance(0)
    assert done == ["a", "b", "c"]
    assert not clock.getDelayedCalls()


def test_what_was_dropped_is_not_done_even_if_another_s_work_dropped_it() -> None:
    clock, done = Clock(), list[str]()
    turn, ann, bob = NextTurn(clock), Stream(done, "ann"), Stream(done, "bob")
    turn.add(lambda: turn.drop(bob.work))
    turn.add(bob.work)
    turn.add(ann.work)
    clock.advance(0)
    assert done == ["ann"]
    turn.add(ann.work)
    turn.drop(ann.work)
    turn.drop(ann.work)
    assert not clock.getDelayedCalls()


def test_what_is_asked_for_meanwhile_is_for_the_turn_after() -> None:
    clock, done = Clock(), list[str]()
    turn, ann = NextTurn(clock), Stream(done, "ann")
    turn.add(lambda: turn.add(ann.work))
    one_turn(clock)
    assert done == []
    one_turn(clock)
    assert done == ["ann"]


def test_one_that_fails_does_not_keep_the_others_from_theirs() -> None:
    clock, done = Clock(), list[str]()
    turn, ann = NextTurn(clock), Stream(done, "ann")

    def broken() -> None:
        raise RuntimeError("on purpose")

    turn.add(broken)
    turn.add(ann.work)
    with pytest.raises(RuntimeError):
        clock.advance(0)
    clock.advance(0)
    assert done == ["ann"]
