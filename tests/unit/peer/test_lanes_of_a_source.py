"""A lane beside its source's queue: what it holds there, what it lets go, and what it knows of its place."""

from __future__ import annotations

from attrs import define

from napd.model import ContentId, PeerId
from napd.peer.fetch.lane import Lane
from napd.peer.fetch.swarm import Swarm
from napd.peer.picker import Picker
from napd.peer.sources.source import Source
from tests.support.lanes import FakeSession, tell_place

CONTENT = ContentId("1" * 64)


@define(eq=False)
class Owner:
    rank: int = 2
    moved: int = 0

    def lane_moved(self, lane: Lane) -> None:
        self.moved += 1

    def room_for(self, lane: Lane) -> int:
        return 64


def lane(source: Source | None = None, rank: int = 2) -> tuple[Lane, FakeSession]:
    source = source or Source(PeerId("ada"), "ada", ())
    session = source.session or FakeSession()
    source.session = session  # type: ignore[assignment]
    return Lane(Owner(rank), source, CONTENT, "t"), session  # type: ignore[arg-type, return-value]


def ask(one: Lane, picker: Picker) -> bool:
    return one.ask(picker, picker.chunks, 16, Swarm(1))


def test_what_waits_in_line_may_be_had_by_others_and_is_its_own_again_once_it_is_served() -> None:
    one, _ = lane()
    picker = Picker(2)
    assert ask(one, picker)
    assert ask(one, picker)
    tell_place(one, 3)
    assert picker.next_missing() == 0
    tell_place(one, None)
    assert picker.next_missing() is None


def test_one_that_has_nothing_left_in_line_has_no_place_there() -> None:
    one, _ = lane()
    picker = Picker(2)
    ask(one, picker)
    tell_place(one, 3)
    picker.verified(0)
    one.unwanted()
    assert (one.position, one.in_flight) == (None, 0)
    ask(one, picker)
    assert (one.position, one.in_flight) == (None, 1)


def test_a_more_urgent_lane_takes_back_what_has_not_begun_and_lets_go_when_it_has_asked_for_all() -> None:
    normal, _ = lane()
    picker = Picker(9)
    ask(normal, picker)
    urgent, _ = lane(normal.source, rank=0)
    assert (normal.in_flight, normal.room, normal.held_back) == (0, 0, True)
    assert picker.next_missing() == 0

    small = Picker(1)
    assert ask(urgent, small)
    assert normal.held_back
    assert not ask(urgent, small)
    assert not normal.held_back
    urgent.stop()
    assert list(normal.source.workers) == [normal]


def test_one_that_stands_in_line_keeps_its_place_when_a_more_urgent_one_comes() -> None:
    normal, _ = lane()
    picker = Picker(9)
    ask(normal, picker)
    tell_place(normal, 2)
    lane(normal.source, rank=0)
    assert (normal.in_flight, normal.position) == (1, 2)
