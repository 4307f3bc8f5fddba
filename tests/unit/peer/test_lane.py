"""One source at work for one download, without a link: what becomes of what it was asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from napd.errors import SourceFailed
from napd.peer.fetch.fetching import GetRequest
from napd.peer.fetch.lane import Lane
from napd.peer.fetch.swarm import Swarm
from napd.peer.picker import Picker
from napd.peer.sources.throughput import Throughput


class Session:
    """As much of a `FetchSession` as a lane needs."""

    alive = True
    stuck_s = 0.0

    def __init__(self) -> None:
        self.throughput = Throughput()
        self.asked: list[GetRequest] = []

    def get(
        self, content: Any, first: int, count: int, transfer: str, receiver: Any, *_: Any, **more: Any
    ) -> GetRequest:
        request = GetRequest(len(self.asked), content, first, first + count, first + count, receiver)
        self.asked.append(request)
        return request

    def cancel(self, request: GetRequest, *, but_current: bool = False) -> None:
        request.wanted_end = request.next_chunk


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
    source = SimpleNamespace(session=Session(), peer="p", user="u", workers=[])
    return Lane(owner, source, "c", "t")  # type: ignore[arg-type]


def test_who_has_nothing_asked_any_more_has_no_place_in_a_queue_and_can_ask_again() -> None:
    lane, picker, swarm = lane_of(Owner()), Picker(100), Swarm(1)
    assert lane.ask(picker, 100, 64, swarm)
    lane.place_told(3)
    assert (lane.position, lane.room) == (3, 0)
    # Others deliver what it was asked for while it waits.
    for chunk in range(lane.in_flight):
        picker.take("other", 1, 100)
        picker.verified(chunk)
    lane.unwanted()
    assert lane.position is None
    assert lane.room > 0
    # A word of the queue that crossed the cancel changes nothing.
    lane.place_told(2)
    assert lane.position is None
    assert lane.ask(picker, 100, 64, swarm)
    assert lane.position is None


def test_what_is_taken_back_while_it_waits_is_asked_of_others() -> None:
    lane, picker, swarm = lane_of(Owner()), Picker(100), Swarm(1)
    assert lane.ask(picker, 100, 64, swarm)
    lane.place_told(1)
    lane.trim()
    assert lane.position is None
    assert picker.next_missing() == 0


def test_who_serves_again_takes_up_only_what_there_is_room_for() -> None:
    owner, picker, swarm = Owner(), Picker(100), Swarm(1)
    lane = lane_of(owner)
    while lane.ask(picker, 100, 64, swarm):
        pass
    assert lane.in_flight == 2
    lane.place_told(1)
    assert picker.asked_of(lane) == set()
    owner.room = 1
    lane.place_told(None)
    assert (lane.in_flight, picker.asked_of(lane)) == (1, {0})

    lane.place_told(1)
    owner.room = 0
    lane.place_told(None)
    assert (lane.in_flight, picker.asked_of(lane)) == (0, set())
    assert picker.next_missing() == 0


def test_what_others_were_asked_for_meanwhile_is_left_to_them() -> None:
    lane, picker, swarm = lane_of(Owner()), Picker(100), Swarm(1)
    while lane.ask(picker, 100, 64, swarm):
        pass
    lane.place_told(1)
    assert picker.take("other", 1, 100) == (0, 1)
    lane.place_told(None)
    assert picker.asked_of(lane) == {1}
    assert lane.in_flight == 1
