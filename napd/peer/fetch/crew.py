"""The sources of one running download: who is at work, how they do, and whether anybody is left.

`recruits` says who is wanted; who fails, waits or crawls makes room for the next. Each source that has admitted us gets
a lane, which `feeding` keeps busy; what it was asked for goes to others when it fails, refuses or makes us wait.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ...background import Background
from ...discovery.interface import Holder, Holders
from ...errors import SourceFailed
from ...model import PeerId
from ...ops.events import Events
from ..files.received import Received
from ..item import Item
from ..sources.pool import SourcePool
from ..sources.scoring import Score, score
from ..sources.source import Source, SourceState
from ..sources.throughput import crawls
from .feeding import Feeding
from .lane import Lane
from .learning import Learning
from .recruits import Recruits
from .standstill import Standstill, StandstillOwner

#: Seconds that a download without any usable source stays active if one is about to be tried again.
PATIENCE_S = 3.0
#: Seconds that it stays active when all of its sources have only parts, and none has one that it lacks.
LACK_S = 10.0
#: How often it is looked at how each source does.
LOOK_S = 0.5


class CrewOwner(StandstillOwner, Protocol):
    """The download that a crew works for; implemented by `peer.fetch.download`."""

    def chunk_came(self, lane: Lane, chunk: int, data: bytes | memoryview) -> None:
        """Bytes from the wire, unverified."""

    def outline_learnt(self, journalled: Deferred[None]) -> None: ...
    def group_learnt(self, journalled: Deferred[None]) -> None: ...
    def no_source(self) -> None:
        """There is nobody left to ask, and nobody who is about to be tried again."""


class Conduct(Protocol):
    """How sources have behaved; implemented by `peer.fetch.scheduler`."""

    def ban(self, item: Item, peer: PeerId, failure: SourceFailed) -> None:
        """This peer is not asked for this content again for a while."""

    def is_banned(self, item: Item, peer: PeerId) -> bool: ...
    def rejected(self, item: Item, peer: PeerId) -> bool:
        """A chunk of its was wrong, which puts it on parole; returns whether it was before, and is to be banned."""

    def accepted(self, item: Item, peer: PeerId) -> bool:
        """A chunk of its was good; returns whether it is still on parole."""

    def on_parole(self, item: Item, peer: PeerId) -> bool: ...


class Crew:
    """A `SourceUser`, `LaneOwner` and `LearningOwner` for one download."""

    def __init__(
        self,
        *,
        item: Item,
        owner: CrewOwner,
        conduct: Conduct,
        received: Received,
        clock: IReactorTime,
        sources: SourcePool,
        events: Events,
        background: Background,
    ) -> None:
        self.lanes: dict[PeerId, Lane] = {}
        self.over = False
        self._item = item
        self._owner = owner
        self._conduct = conduct
        self._received = received
        self._clock = clock
        self._sources = sources
        self._events = events
        self._recruits = Recruits(
            user=self,
            clock=clock,
            sources=sources,
            lanes=self.lanes,
            is_banned=partial(conduct.is_banned, item),
            is_over=lambda: self.over,
        )
        self._learning = Learning(self, item.content, received, background)
        self._feeding = Feeding(
            owner=self,
            lanes=self.lanes,
            recruits=self._recruits,
            learning=self._learning,
            received=received,
            # Drawn by lot.
            seed=int(item.transfer, 16),
        )
        self._look: IDelayedCall | None = None
        self._lacking_since: float | None = None
        self._standstill = Standstill(clock, owner)

    def let_go(self) -> None:
        """Leave all sources; nothing is asked for from here on."""
        self.over = True
        if self._look is not None and self._look.active():
            self._look.cancel()
        lanes = list(self.lanes.values())
        for lane in lanes:
            self._stop(lane)
        self.lanes.clear()
        self._recruits.dismiss_all()
        for lane in lanes:
            self._sources.freed(lane.source)

    # --- Who -------------------------------------------------------------------------------------

    def use(self, found: Holders | None) -> None:
        """These hold the content now."""
        if self._look is None:
            self._look = self._clock.callLater(LOOK_S, self._look_at_all)
        self._feeding.everyone = found is not None and found.everyone
        holders = () if found is None else found.holders
        self._recruits.holders = {holder.peer: holder for holder in holders if holder.addresses}
        if found is not None and not self._received.has_outline:
            self._learning.size_claim = found.size
        for holder in self._recruits.holders.values():
            self._now_whole(holder)
        self._recruits.renew()
        self._recruits.enlist()
        self.judge()

    def source_ready(self, source: Source) -> None:
        if self.over or source.peer in self.lanes or source.peer not in self._recruits.wanted:
            return
        if not self._sources.has_place(source, self.rank):
            # It is told again when there is one.
            return
        expected = self._sources.facts(source.peer).bytes_per_s
        lane = Lane(self, source, self._item.content, self._item.transfer, expected)
        lane.alone = self._conduct.on_parole(self._item, source.peer)
        lane.partial = self._recruits.has_parts(source.peer)
        lane.score = self._score(lane).bytes_per_s
        self.lanes[source.peer] = lane
        self.emit("download.source_added", lane)
        if self._recruits.was_awaited(source.peer):
            self._feeding.feed_all()
        else:
            self._feeding.feed(lane)

    def source_lost(self, source: Source, failure: SourceFailed) -> None:
        lane = self.lanes.pop(source.peer, None)
        if lane is not None:
            self._stop(lane)
            self.emit("download.source_lost", lane, failure.message, code=failure.code)
        if source.peer not in self._recruits.holders:
            # It was kept for its link alone.
            self._recruits.dismiss(source)
        self._recruits.enlist()
        self._feeding.feed_all()
        self.judge()

    def lane_failed(self, lane: Lane, failure: SourceFailed) -> None:
        """This source will not serve this content, though its link is fine: leave it alone for a while."""
        peer = lane.source.peer
        if self.lanes.get(peer) is not lane:
            return
        del self.lanes[peer]
        self._stop(lane)
        self._conduct.ban(self._item, peer, failure)
        self._recruits.dismiss(lane.source)
        self._sources.freed(lane.source)
        self.emit("download.source_lost", lane, failure.message, code=failure.code)
        self._recruits.enlist()
        self._feeding.feed_all()
        self.judge()

    def judge(self) -> None:
        """Is there a source left, or one that is about to be tried again? If not, say so.

        Asked again whenever a source is ready or lost, the holders change, or a chunk is stored.
        """
        if self.over or self._received.complete or self._received.writing or self._is_served():
            return
        now = self._clock.seconds()
        for source in self._recruits.wanted.values():
            soon = source.state is SourceState.BACKING_OFF and source.retry_at - now <= PATIENCE_S
            # Ready without a lane: as many downloads as may be are at work with it.
            full = source.state is SourceState.READY and source.peer not in self.lanes
            if soon or full or source.state is SourceState.CONNECTING:
                return
        self._owner.no_source()

    def _is_served(self) -> bool:
        """Whether a source is at work, or may be soon: one that has parts, and none for us, may get some."""
        if not self.lanes:
            return False
        if any(not lane.partial or lane.in_flight or lane.asking for lane in self.lanes.values()):
            self._lacking_since = None
            return True
        now = self._clock.seconds()
        if self._lacking_since is None:
            self._lacking_since = now
        return now - self._lacking_since < LACK_S

    def _stop(self, lane: Lane) -> None:
        lane.stop()
        self._feeding.left(lane)

    def _now_whole(self, holder: Holder) -> None:
        """The index knows first that it has all of it by now."""
        lane = self.lanes.get(holder.peer)
        if lane is not None and lane.partial and not holder.partial:
            self.whole_told(lane)

    # --- How they do -----------------------------------------------------------------------------

    def _look_at_all(self) -> None:
        """Every now and then: who sends nothing, who crawls, and whose chunks an idle one would have sooner."""
        self._look = self._clock.callLater(LOOK_S, self._look_at_all)
        # What is told to one lane can end others, by way of other downloads.
        for lane in list(self.lanes.values()):
            session = lane.source.session
            lane.doubt(session is not None and session.doubtful)
            lane.looks += 1
            lane.score = self._score(lane).bytes_per_s
            lane.press()
        self._find_crawlers()
        self._recruits.enlist()
        for source in list(self._recruits.wanted.values()):
            if source.state is SourceState.READY:
                # Perhaps there is room for one more download by now.
                self.source_ready(source)
        self._feeding.feed_all()
        self.judge()
        self._watch_for_standstill()

    def _watch_for_standstill(self) -> None:
        waits = all(lane.waits for lane in self.lanes.values()) and not self._recruits.any_is_connecting()
        self._standstill.look(waits and not self.over)

    def _score(self, lane: Lane) -> Score:
        facts = self._sources.facts(lane.source.peer)
        return score(evolve(facts, queue_position=lane.position, queue_s=lane.estimate_s))

    def _find_crawlers(self) -> None:
        """One that is far slower than the best has one chunk at a time; the others get what it has not begun."""
        paces = {lane: lane.bytes_per_s for lane in self.lanes.values() if not _throttled(lane)}
        best = max((pace for pace in paces.values() if pace is not None), default=0.0)
        for lane, pace in paces.items():
            if pace is None or lane.position is not None:
                continue
            crawled, lane.crawling = lane.crawling, crawls(pace, best, before=lane.crawling)
            if lane.crawling and not crawled:
                lane.trim()

    # --- For the download ------------------------------------------------------------------------

    def feed_all(self) -> None:
        """There is room for more, or something more to ask for."""
        self._feeding.feed_all()

    def size_claim_was_wrong(self) -> None:
        """What should have been the only chunk may be the first of many: look at the outline before blaming anybody."""
        self._learning.size_claim = None
        self._feeding.feed_all()

    # --- LearningOwner ---------------------------------------------------------------------------

    def outline_learnt(self, journalled: Deferred[None]) -> None:
        self._owner.outline_learnt(journalled)
        self._feeding.feed_all()

    def group_learnt(self, journalled: Deferred[None]) -> None:
        self._owner.group_learnt(journalled)
        self._feeding.feed_all()

    # --- LaneOwner -------------------------------------------------------------------------------

    @property
    def rank(self) -> int:
        return self._item.priority.rank

    def room_for(self, lane: Lane) -> int:
        return self._feeding.room_for(lane)

    def chunk_came(self, lane: Lane, chunk: int, data: bytes | memoryview) -> None:
        self._owner.chunk_came(lane, chunk, data)
        self._feeding.feed(lane)

    def lane_moved(self, lane: Lane) -> None:
        self._feeding.feed_all()
        if self._standstill.told:
            self._watch_for_standstill()

    def have_told(self, lane: Lane, group: int, bits: int) -> None:
        self._feeding.have_told(lane, group, bits)

    def lacked(self, lane: Lane, chunk: int) -> None:
        self._feeding.lacked(lane, chunk)

    def whole_told(self, lane: Lane) -> None:
        self._feeding.whole_told(lane)

    def chunk_good(self, lane: Lane, chunk: int) -> None:
        """It was checked and written; whoever else was asked for it need not send it."""
        self._sources.served(lane.source)
        lane.alone = self._conduct.accepted(self._item, lane.source.peer)
        self.chunk_here(chunk, lane)

    def chunk_here(self, chunk: int, lane: Lane | None = None) -> None:
        """It is on the disk, and right; from this lane, or from an earlier run."""
        for other in self._received.picker.verified(chunk):
            if other is not lane and isinstance(other, Lane):
                other.unwanted()

    def chunk_wrong(self, lane: Lane, chunk: int) -> None:
        """It is not what its digest says: its source is charged with it, by parole first and then by a ban."""
        peer = lane.source.peer
        self.emit("download.chunk_rejected", lane, chunk=chunk)
        self._sources.misbehaved(lane.source)
        ban = self._conduct.rejected(self._item, peer)
        current = self.lanes.get(peer) is lane
        failure = SourceFailed("it sent wrong chunks", code="integrity")
        if ban and current:
            self.lane_failed(lane, failure)
        elif ban:
            self._conduct.ban(self._item, peer, failure)
        elif current:
            lane.reject(chunk)
            self._feeding.feed_all()
        # The lane may have gone already, with this chunk the last that was still being looked at.
        self.judge()

    def emit(self, event: str, lane: Lane, message: str | None = None, **fields: Any) -> None:
        self._events.emit(
            event,
            message,
            download=self._item.id,
            transfer=self._item.transfer,
            peer=lane.source.peer,
            user=lane.source.user,
            **fields,
        )


def _throttled(lane: Lane) -> bool:
    return lane.source.session is not None and lane.source.session.throttled
