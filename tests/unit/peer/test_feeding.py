"""What is asked of the sources of a download, without links: here, of those that have only parts."""

from __future__ import annotations

from typing import Any

from attrs import define, field

from napd.content.digest import GROUP_CHUNKS
from napd.errors import SourceFailed
from napd.model import ContentId, PeerId
from napd.peer.fetch.feeding import Feeding
from napd.peer.fetch.lane import Lane
from napd.peer.picker import Picker
from napd.peer.sources.source import Source
from tests.support.lanes import FakeSession

ALL = (1 << GROUP_CHUNKS) - 1


@define(eq=False)
class Rig:
    """A download of three groups, of which the digests of the first are known; it stands for all its neighbours."""

    picker: Picker = field(factory=lambda: Picker(3 * GROUP_CHUNKS))
    known: int = 1
    learnt: list[int] = field(factory=list)
    lanes: dict[PeerId, Lane] = field(factory=dict)
    feeding: Feeding = field(init=False)
    over: bool = False
    rank: int = 2
    has_outline: bool = True
    unjournalled: int = 0
    groups: int = 3

    def __attrs_post_init__(self) -> None:
        me: Any = self
        self.feeding = Feeding(owner=me, lanes=self.lanes, recruits=me, learning=me, received=me, seed=1)

    @property
    def manifest(self) -> Any:
        return self

    @property
    def outline(self) -> Any:
        return self

    def digests_known_below(self) -> tuple[int, int | None]:
        return self.known * GROUP_CHUNKS, None

    def favourite_is_awaited(self) -> bool:
        return False

    def learn_group(self, lane: Lane, group: int, lanes: Any) -> None:
        self.learnt.append(group)

    def lane_failed(self, lane: Lane, failure: SourceFailed) -> None:
        raise AssertionError(failure)

    def partial_lane(self) -> Lane:
        source: Any = Source(PeerId("ada"), "ada", (), session=FakeSession())  # type: ignore[arg-type]
        me: Any = self
        lane = self.lanes[source.peer] = Lane(me, source, ContentId("1" * 64), "t")
        lane.partial = True
        self.feeding.feed(lane)
        return lane


def test_one_that_lacks_what_comes_next_is_asked_for_what_it_has_later() -> None:
    rig = Rig()
    lane = rig.partial_lane()
    rig.feeding.have_told(lane, 0, 0)
    assert rig.learnt == []
    rig.feeding.have_told(lane, 1, ALL)
    assert (rig.learnt, lane.in_flight) == ([1], 0)
    rig.known = 2
    rig.feeding.feed_all()
    assert lane.in_flight > 0
    assert all(chunk >= GROUP_CHUNKS for chunk in rig.picker.asked_of(lane))


def test_no_more_digests_are_learnt_than_there_is_something_to_ask_for() -> None:
    rig = Rig()
    lane = rig.partial_lane()
    rig.feeding.have_told(lane, 0, ALL)
    rig.feeding.have_told(lane, 2, ALL)
    assert lane.in_flight > 0
    assert rig.learnt == []
