"""One source at work for one download, without a link: what becomes of what it was asked for."""

from __future__ import annotations

from types import SimpleNamespace

from napd.errors import SourceFailed
from napd.peer.fetch.lane import Lane
from napd.peer.fetch.swarm import Swarm
from napd.peer.picker import Picker
from napd.peer.sources.workers import Workers
from tests.support.lanes import FakeSession, tell_place


class Owner:
    """A `LaneOwner` that only listens."""

    rank = 0

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.room = 64

    def lane_failed(self, lane: Lane, failure: SourceFailed) -> None:
        self.failures.append(failure.code)

    def lane_moved(self, lane: Lane) -> None:
        pass

    def room_for(self, lane: Lane) -> int:
        return self.room


def lane_of(owner: Owner) -> Lane:
    source = SimpleNamespace(session=FakeSession(), peer="p", user="u", workers=Workers())
    return Lane(owner, source, "c", "t")  # type: ignore[arg-type]


def test_who_has_nothing_asked_any_more_has_no_place_in_a_queue_and_can_ask_again() -> None:
    lane, picker, swarm = lane_of(Owner()), Picker(100), Swarm(1)
    assert lane.ask(picker, 100, 64, swarm)
    tell_place(lane, 3)
    assert (lane.position, lane.room) == (3, 0)
    # Others deliver what it was asked for while it waits.
    for chunk in range(lane.in_flight):
        picker.take("other", 1, 100)
        picker.verified(chunk)
    lane.unwanted()
    assert lane.position is None
    assert lane.room > 0
    # A word of the queue that crossed the cancel changes nothing.
    tell_place(lane, 2)
    assert lane.position is None
    assert lane.ask(picker, 100, 64, swarm)
    assert lane.position is None


def test_what_is_taken_back_while_it_waits_is_asked_of_others() -> None:
    lane, picker, swarm = lane_of(Owner()), Picker(100), Swarm(1)
    assert lane.ask(picker, 100, 64, swarm)
    tell_place(lane, 1)
    lane.trim()
    assert lane.position is None
    assert picker.next_missing() == 0


def test_who_serves_again_takes_up_only_what_there_is_room_for() -> None:
    owner, picker, swarm = Owner(), Picker(100), Swarm(1)
    lane = lane_of(owner)
    while lane.ask(picker, 100, 64, swarm):
        pass
    assert lane.in_flight == 2
    tell_place(lane, 1)
    assert picker.asked_of(lane) == set()
    owner.room = 1
    tell_place(lane, None)
    assert (lane.in_flight, picker.asked_of(lane)) == (1, {0})

    tell_place(lane, 1)
    owner.room = 0
    tell_place(lane, None)
    assert (lane.in_flight, picker.asked_of(lane)) == (0, set())
    assert picker.next_missing() == 0


def test_what_others_were_asked_for_meanwhile_is_left_to_them() -> None:
    lane, picker, swarm = lane_of(Owner()), Picker(100), Swarm(1)
    while lane.ask(picker, 100, 64, swarm):
        pass
    tell_place(lane, 1)
    assert picker.take("other", 1, 100) == (0, 1)
    tell_place(lane, None)
    assert picker.asked_of(lane) == {1}
    assert lane.in_flight == 1
