"""What is asked of the sources of one download: each lane's window is kept full, within what may be unjournalled.

First the outline, then digests and chunks, as the picker gives them to each; of those that have only parts, what they
have told that they have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ...content.digest import GROUP_CHUNKS
from ...errors import SourceFailed
from ...model import PeerId
from ..files.received import Received
from .lane import Lane
from .learning import Learning
from .recruits import Recruits
from .swarm import Swarm

#: Chunks that may be asked for, being written or not journalled yet: what a crash can cost.
MAX_UNJOURNALLED = 64


class FeedingOwner(Protocol):
    """Whose lanes these are; implemented by `peer.fetch.crew`."""

    over: bool

    def lane_failed(self, lane: Lane, failure: SourceFailed) -> None: ...


class Feeding:
    """
    :param lanes: those at work, by peer.
    :param recruits: tells whether the best source is waited for.
    :param seed: of what looks like chance in the order of chunks; another for each download.
    :ivar everyone: whether it is offered to everyone, so that others who fetch it may serve it, too.
    """

    def __init__(
        self,
        *,
        owner: FeedingOwner,
        lanes: Mapping[PeerId, Lane],
        recruits: Recruits,
        learning: Learning,
        received: Received,
        seed: int,
    ) -> None:
        self.everyone = False
        self._owner = owner
        self._lanes = lanes
        self._recruits = recruits
        self._learning = learning
        self._received = received
        self._swarm = Swarm(seed)
        #: How many chunks may be asked for yet; counted whenever lanes are fed, not for each of them.
        self._free = 0

    def feed_all(self) -> None:
        """The best first."""
        self._free = self._count_free()
        for lane in sorted(self._lanes.values(), key=lambda lane: -lane.score):
            self._feed(lane)

    def feed(self, lane: Lane) -> None:
        self._free = self._count_free()
        self._feed(lane)

    def _feed(self, lane: Lane) -> None:
        """Keep the lane's window full, within what may be unjournalled."""
        if self._owner.over or self._lanes.get(lane.source.peer) is not lane or self._recruits.favourite_is_awaited():
            return
        if not self._received.has_outline:
            self._learning.learn_outline(lane, self._lanes.values())
            return
        if lane.partial and not self._watch(lane):
            return
        lane.shared_out = self._is_shared_out(lane)
        while lane.room and self._free > 0:
            below, group = self._received.digests_known_below()
            if group is not None and (not lane.partial or self._swarm.of(lane, group)):
                self._learning.learn_group(lane, group, self._lanes.values())
            before = lane.in_flight
            if lane.ask(self._received.picker, below, self._free, self._swarm):
                self._free -= lane.in_flight - before
            elif self._relieve(lane):
                self._free = self._count_free()
            else:
                self._look_beyond(lane, below)
                return
        if not lane.in_flight and self._free <= 0:
            lane.be_sated(True)

    def _look_beyond(self, lane: Lane, below: int) -> None:
        """One that has only parts lacks what comes next: with more digests it can be asked for what comes later."""
        picker = self._received.picker
        if lane.partial and below < picker.chunks and lane.has_room(picker):
            group = below // GROUP_CHUNKS
            if self._swarm.of(lane, group):
                self._learning.learn_group(lane, group, self._lanes.values())

    def _is_shared_out(self, lane: Lane) -> bool:
        """Whether one that has all should choose what it sends first; at the very beginning there may be others too."""
        if lane.partial or self._received.picker.sequential:
            return False
        return bool(self._swarm) or (not lane.served and self.everyone)

    def _relieve(self, lane: Lane) -> bool:
        """Whether this source, which has only parts, can be asked for what was asked of one that has all."""
        if not lane.partial or not lane.has_room(self._received.picker):
            return False
        return any(self._give_up(other, lane) for other in list(self._lanes.values()) if not other.partial)

    def _give_up(self, other: Lane, lane: Lane) -> bool:
        """One that has all gives up, before it has begun to send it, what this one would send sooner: one chunk."""
        for chunk in self._received.picker.asked_of(other):
            group, place = divmod(chunk, GROUP_CHUNKS)
            there = self._swarm.of(lane, group) >> place & 1
            if there and other.eta_s(chunk) > lane.next_eta_s and other.give_up(chunk):
                return True
        return False

    def _watch(self, lane: Lane) -> bool:
        """Whether a source that has only parts tells which."""
        if not lane.watch():
            self._owner.lane_failed(lane, SourceFailed("it cannot tell which parts it has", code="refused"))
            return False
        if not self._swarm:
            # Until now it seemed that nobody else fetches it: all began with the same chunks.
            for other in list(self._lanes.values()):
                other.trim()
        self._swarm.join(lane)
        return True

    def room_for(self, lane: Lane) -> int:
        """How many chunks it may be asked for in all, beside what is asked of others and not journalled yet."""
        return self._count_free(but=lane)

    def _count_free(self, but: Lane | None = None) -> int:
        """How many chunks may be asked for now; those that this lane was asked for do not count."""
        moving = (lane for lane in self._lanes.values() if lane is not but and not lane.waits)
        return MAX_UNJOURNALLED - sum(lane.in_flight for lane in moving) - self._received.unjournalled

    def left(self, lane: Lane) -> None:
        """It is not at work any more."""
        self._swarm.leave(lane)

    # --- What those have who have only parts -----------------------------------------------------

    def have_told(self, lane: Lane, group: int, bits: int) -> None:
        if group >= self._received.manifest.outline.groups:
            return
        self._swarm.tell(lane, group, bits)
        lane.parts = self._swarm.count(lane)
        self.feed(lane)

    def lacked(self, lane: Lane, chunk: int) -> None:
        group, place = divmod(chunk, GROUP_CHUNKS)
        self._swarm.tell(lane, group, self._swarm.of(lane, group) & ~(1 << place))

    def whole_told(self, lane: Lane) -> None:
        lane.is_whole()
        self._swarm.leave(lane)
        self.feed(lane)
