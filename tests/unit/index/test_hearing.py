"""How a session is heard: a little at once, much in turns with others, in order, and nothing after its end."""

from __future__ import annotations

import pytest
from attrs import define, field
from twisted.internet.task import Clock

from napd.index.hearing import AGAIN_S, HEARD_S, MOST_HEARD, Hearing
from napd.index.turns import Turns
from tests.support.waiting import one_turn


@define
class Link:
    reading: bool = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


@define
class Rig:
    clock: Clock = field(factory=Clock)
    link: Link = field(factory=Link)
    heard: list[bytes] = field(factory=list)
    costs_s: float = 0.0
    turns: Turns = field(init=False)
    hearing: Hearing = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.turns = Turns(self.clock)
        self.hearing = Hearing(self.clock, self.turns, self.link, self._understand)

    def say(self, *lines: bytes) -> None:
        for line in lines:
            self.hearing.hear(line)

    def _understand(self, line: bytes) -> None:
        self.heard.append(line)
        self.clock.rightNow += self.costs_s


@pytest.fixture
def rig() -> Rig:
    return Rig()


LINES = [b"%d" % number for number in range(3 * MOST_HEARD)]


def test_a_little_is_heard_at_once(rig: Rig) -> None:
    rig.say(*LINES[:50])
    assert rig.heard == LINES[:50]
    assert rig.link.reading
    assert not rig.clock.getDelayedCalls()


def test_much_is_heard_in_turns_and_in_order_and_no_more_is_read_meanwhile(rig: Rig) -> None:
    rig.say(*LINES)
    assert len(rig.heard) <= MOST_HEARD
    assert rig.link.reading is False
    for _ in range(3):
        before = len(rig.heard)
        one_turn(rig.clock)
        assert len(rig.heard) <= before + MOST_HEARD
    assert rig.heard == LINES
    assert rig.link.reading


def test_long_lines_count_for_more(rig: Rig) -> None:
    lines = [b"x" * 64 * 1024] * 4
    rig.say(*lines)
    assert len(rig.heard) == 2
    one_turn(rig.clock)
    assert len(rig.heard) == 4


def test_costly_lines_take_no_more_than_their_time(rig: Rig) -> None:
    rig.costs_s = HEARD_S / 4
    rig.say(*LINES[:12])
    assert len(rig.heard) == 4
    one_turn(rig.clock)
    assert len(rig.heard) == 8


def test_others_are_served_between(rig: Rig) -> None:
    rig.say(*LINES)
    served: list[int] = []
    rig.turns.add("another", lambda: served.append(len(rig.heard)))
    rig.clock.advance(0)
    assert served[0] < len(LINES)
    assert rig.heard == LINES


def test_who_has_been_silent_is_heard_at_once_again(rig: Rig) -> None:
    rig.say(*LINES[:MOST_HEARD])
    rig.clock.advance(AGAIN_S)
    rig.say(b"one more")
    assert rig.heard[-1] == b"one more"


def test_nothing_is_heard_after_the_end(rig: Rig) -> None:
    rig.say(*LINES)
    heard = len(rig.heard)
    rig.hearing.stop()
    rig.clock.advance(0)
    assert len(rig.heard) == heard
    assert not rig.clock.getDelayedCalls()


def test_a_line_may_be_the_last(rig: Rig) -> None:
    def understand(line: bytes) -> None:
        rig.heard.append(line)
        if line == LINES[-2]:
            hearing.stop()

    hearing = Hearing(rig.clock, rig.turns, rig.link, understand)
    for line in LINES:
        hearing.hear(line)
    rig.clock.advance(0)
    assert rig.heard == LINES[:-1]
