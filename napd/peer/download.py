"""One download while it runs: which sources it uses, what it asks of them, and when it is over.

The route of a chunk: `_feed` asks a lane, `chunk_came` gives the bytes to `Received`, which checks, writes, flushes
and journals them. `Downloads` starts and stops it; the picker decides which chunk is asked of whom.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from ..background import Background
from ..content.digest import CHUNK_BYTES
from ..content.manifest import Manifest, Outline
from ..discovery.interface import Holders
from ..errors import DiskFailed, IntegrityFailure, NapError, SourceFailed
from ..model import PeerId
from ..ops.events import Events
from .lane import Lane
from .queue import Item
from .rates import RateMeter
from .received import EMPTY_CONTENT, Received, WrongSize
from .sources import Source, SourcePool, SourceState

#: Chunks that may be asked for, being written or not journalled yet: what a crash can cost.
MAX_UNJOURNALLED = 64
#: Chunks after which, or seconds after the first of which, what was written is flushed and journalled.
FLUSH_CHUNKS = 24
FLUSH_S = 1.0
#: Seconds that a download without any usable source stays active if one is about to be tried again.
PATIENCE_S = 3.0
#: Seconds within which discovery should have told who holds a content.
ANSWER_S = 3.0

#: Raw bytes with what stands in their header: (size, group digests) or (0, chunk digests).
_Answer = Deferred[tuple[int, bytes]]


class DownloadOwner(Protocol):
    """Who runs downloads; implemented by `peer.downloads`. Exactly one of the last three is called, once."""

    def outline_known(self, item: Item) -> None: ...
    def received(self, size: int) -> None: ...
    def ban(self, item: Item, peer: PeerId, failure: SourceFailed) -> None:
        """This peer is not asked for this content again for a while."""

    def is_banned(self, item: Item, peer: PeerId) -> bool: ...
    def no_source(self, item: Item) -> None: ...
    def finished(self, item: Item, path: str) -> None: ...
    def failed(self, item: Item, error: NapError) -> None: ...


class Download:
    """A `SourceUser` and `LaneOwner` for one queue item."""

    def __init__(
        self,
        *,
        item: Item,
        owner: DownloadOwner,
        received: Received,
        clock: IReactorTime,
        sources: SourcePool,
        events: Events,
        background: Background,
    ) -> None:
        self.item = item
        self.lanes: dict[PeerId, Lane] = {}
        self._meter = RateMeter()
        self._owner = owner
        self._received = received
        self._clock = clock
        self._sources = sources
        self._events = events
        self._background = background
        self._wanted: dict[PeerId, Source] = {}
        self._size_claim: int | None = None
        self._found: Holders | None = None
        self._busy: set[Deferred[None]] = set()
        self._begun = False
        self._ready = False
        self._over = False
        self._flushing = False
        self._flush_timer: IDelayedCall | None = None
        self._unanswered: IDelayedCall | None = None

    def bytes_per_s(self) -> float:
        return self._meter.per_s(self._clock.seconds())

    # --- Starting and stopping -------------------------------------------------------------------

    def start(self, found: Holders | None) -> None:
        """Take up what the disk holds, then ask the sources; if discovery has not answered yet, once it has."""
        if found is None and self.item.content != EMPTY_CONTENT and not self.item.complete:
            self._unanswered = self._clock.callLater(ANSWER_S, self._owner.no_source, self.item)
        else:
            self._begin(found)

    def _begin(self, found: Holders | None) -> None:
        self._begun = True
        self._found = found
        if self._unanswered is not None and self._unanswered.active():
            self._unanswered.cancel()
        self._work("taking up a download", self._take_up())

    async def _take_up(self) -> None:
        try:
            published = await self._received.take_up()
        except NapError as error:
            self._fail(error)
            return
        if self._over:
            return
        self._ready = True
        if published is not None:
            self._let_go()
            self._owner.finished(self.item, published)
        elif self._received.complete:
            await self._finish()
        else:
            self.holders_changed(self._found)

    async def stop(self) -> None:
        """Ask for nothing more; returns when what was written is journalled and the file closed."""
        self._let_go()
        # Taking up, flushing and publishing use the file: it is not closed under them.
        for work in list(self._busy):
            await work
        try:
            await self._received.close()
        except NapError as error:
            # What was written last will be fetched again: the journal does not claim it.
            self._unflushed(error)

    def _has_ended(self) -> bool:
        """Asked again after a call that may end this download."""
        return self._over

    def _work(self, name: str, work: Coroutine[Deferred[Any], Any, None]) -> None:
        """Begin something that `stop` has to wait for."""
        running = self._background.start(name, work)
        if not running.called:
            self._busy.add(running)
            running.addCallback(lambda _: self._busy.discard(running))

    def _let_go(self) -> None:
        """Leave all sources; nothing changes this download from here on."""
        self._over = True
        for timer in (self._flush_timer, self._unanswered):
            if timer is not None and timer.active():
                timer.cancel()
        for lane in list(self.lanes.values()):
            lane.stop()
        self.lanes.clear()
        for source in self._wanted.values():
            self._sources.leave(source, self)
        self._wanted.clear()

    # --- Sources ---------------------------------------------------------------------------------

    def holders_changed(self, found: Holders | None) -> None:
        """These hold the content now."""
        self._found = found
        if not self._begun and not self._over:
            if found is not None and found.holders:
                self._begin(found)
            else:
                self._owner.no_source(self.item)
        if not self._ready or self._over:
            return
        holders = {} if found is None else {holder.peer: holder for holder in found.holders}
        if found is not None and not self._received.has_outline:
            self._size_claim = found.size
        for peer, source in list(self._wanted.items()):
            # One that serves is kept although the index lost sight of it.
            if peer not in holders and peer not in self.lanes:
                del self._wanted[peer]
                self._sources.leave(source, self)
        for peer, holder in holders.items():
            if self._has_ended():
                return
            if not holder.addresses or self._owner.is_banned(self.item, peer):
                continue
            source = self._sources.want(holder)
            if peer not in self._wanted or source.state in (SourceState.IDLE, SourceState.UNREACHABLE):
                self._wanted[peer] = source
                self._sources.join(source, self)
        self._judge()

    def source_ready(self, source: Source) -> None:
        if self._over or source.peer in self.lanes or source.peer not in self._wanted:
            return
        lane = Lane(self, source, self.item.content, self.item.transfer)
        self.lanes[source.peer] = lane
        self._emit("download.source_added", lane)
        self._feed(lane)

    def source_lost(self, source: Source, failure: SourceFailed) -> None:
        lane = self.lanes.pop(source.peer, None)
        if lane is not None:
            lane.stop()
            self._emit("download.source_lost", lane, failure.message, code=failure.code)
        if self._found is not None and all(holder.peer != source.peer for holder in self._found.holders):
            # It was kept for its link alone.
            self._wanted.pop(source.peer, None)
            self._sources.leave(source, self)
        self._feed_all()
        self._judge()

    def lane_failed(self, lane: Lane, failure: SourceFailed) -> None:
        """This source will not serve this content, though its link is fine: leave it alone for a while."""
        peer = lane.source.peer
        if self.lanes.get(peer) is not lane:
            return
        del self.lanes[peer]
        lane.stop()
        self._owner.ban(self.item, peer, failure)
        source = self._wanted.pop(peer, None)
        if source is not None:
            self._sources.leave(source, self)
        self._emit("download.source_lost", lane, failure.message, code=failure.code)
        self._feed_all()
        self._judge()

    def lane_moved(self, lane: Lane) -> None:
        self._feed_all()

    def _judge(self) -> None:
        """Is there a source left, or one that is about to be tried again? If not, say so.

        Asked again whenever a source is ready or lost, the holders change, or a chunk is stored.
        """
        if self._over or not self._ready or self.lanes or self._received.complete or self._received.writing:
            return
        now = self._clock.seconds()
        for source in self._wanted.values():
            soon = source.state is SourceState.BACKING_OFF and source.retry_at - now <= PATIENCE_S
            if soon or source.state is SourceState.CONNECTING:
                return
        self._owner.no_source(self.item)

    # --- Asking ----------------------------------------------------------------------------------

    def _feed_all(self) -> None:
        for lane in list(self.lanes.values()):
            self._feed(lane)

    def _feed(self, lane: Lane) -> None:
        """Keep the lane's window full, within what may be unjournalled."""
        if self._over or self.lanes.get(lane.source.peer) is not lane:
            return
        if not self._received.has_outline:
            self._learn_outline(lane)
            return
        while lane.room and (free := MAX_UNJOURNALLED - self._outstanding()) > 0:
            below, group = self._received.digests_known_below()
            if group is not None:
                self._learn_group(lane, group)
            if not lane.ask(self._received.picker, below, free):
                return

    def _outstanding(self) -> int:
        moving = (lane for lane in self.lanes.values() if lane.position is None)
        return sum(lane.in_flight for lane in moving) + self._received.unjournalled

    def _learn_outline(self, lane: Lane) -> None:
        """Ask for size and digests, with the first group's along; a content of one chunk needs neither."""
        # One that makes us wait its turn does not keep others from being asked.
        busy = any(other.asking or (other.in_flight and other.position is None) for other in self.lanes.values())
        if busy or self._received.unjournalled or lane.source.session is None:
            return
        if self._size_claim is not None and self._size_claim <= CHUNK_BYTES:
            lane.ask_blind()
            return
        lane.asking = True
        outline = lane.source.session.outline(self.item.content)
        group = lane.source.session.group(self.item.content, 0)
        # If the outline fails, so does this, and nobody waits for it.
        group.addErrback(lambda _: (0, b""))
        self._background.start("learning a manifest", self._take_outline(lane, outline, group))

    async def _take_outline(self, lane: Lane, outline: _Answer, group: _Answer) -> None:
        try:
            size, digests = await outline
            _, first = await group
            manifest = Manifest(Outline.verified(self.item.content, size, digests))
            manifest.add_group(0, first)
        except (SourceFailed, IntegrityFailure) as error:
            lane.asking = False
            self._manifest_failed(lane, error)
            return
        lane.asking = False
        if not self._over and not self._received.has_outline:
            self._must_succeed(self._received.learn(manifest))
            self._owner.outline_known(self.item)
            self._feed_all()

    def _learn_group(self, lane: Lane, group: int) -> None:
        if lane.source.session is None or any(other.asking for other in self.lanes.values()):
            return
        lane.asking = True
        asked = lane.source.session.group(self.item.content, group)
        self._background.start("learning digests", self._take_group(lane, group, asked))

    async def _take_group(self, lane: Lane, group: int, asked: _Answer) -> None:
        try:
            _, digests = await asked
            if not self._over:
                self._must_succeed(self._received.learn_group(group, digests))
        except (SourceFailed, IntegrityFailure) as error:
            lane.asking = False
            self._manifest_failed(lane, error)
            return
        lane.asking = False
        self._feed_all()

    def _manifest_failed(self, lane: Lane, error: NapError) -> None:
        """A link that broke is the pool's matter; a refusal or a lie is this lane's."""
        if lane.source.session is not None and lane.source.session.alive:
            self.lane_failed(lane, SourceFailed(error.message, code=error.code))

    # --- Chunks ----------------------------------------------------------------------------------

    def chunk_came(self, lane: Lane, chunk: int, data: bytes) -> None:
        """Bytes from the wire."""
        now = self._clock.seconds()
        for meter in (self._meter, lane.meter, lane.source.meter):
            meter.add(len(data), now)
        self._owner.received(len(data))
        self.item.bytes_received += len(data)
        if self._over:
            return
        self._background.start("storing a chunk", self._store(lane, chunk, data))
        self._feed(lane)

    async def _store(self, lane: Lane, chunk: int, data: bytes) -> None:
        known = self._received.has_outline
        try:
            if not known:
                good = await self._received.store_only_chunk(data)
            elif self._received.picker.is_verified(chunk):
                return
            else:
                good = await self._received.store(chunk, data)
        except WrongSize:
            # Perhaps only the first of many chunks: look at the outline before blaming anybody.
            self._size_claim = None
            self._feed_all()
            return
        except NapError as error:
            self._fail(error)
            return
        if not good:
            self._emit("download.chunk_rejected", lane, chunk=chunk)
            self.lane_failed(lane, SourceFailed("it sent a wrong chunk", code="integrity"))
            # The lane may have failed already, with this chunk the last that was still being looked at.
            self._judge()
            return
        if not known:
            self._owner.outline_known(self.item)
        lane.source.failures = 0
        for other in self._received.picker.verified(chunk):
            if other is not lane and isinstance(other, Lane):
                other.unwanted(chunk)
        self._chunk_stored()

    def _chunk_stored(self) -> None:
        if self._over:
            return
        if self._received.complete or self._received.unflushed >= FLUSH_CHUNKS:
            self._flush_now()
        elif self._flush_timer is None or not self._flush_timer.active():
            self._flush_timer = self._clock.callLater(FLUSH_S, self._flush_now)
        self._feed_all()
        self._judge()

    def _flush_now(self) -> None:
        if not self._flushing and not self._over:
            self._flushing = True
            self._work("flushing", self._flush())

    async def _flush(self) -> None:
        try:
            # Publishing a complete file syncs it anyway.
            if not self._received.complete:
                await self._received.flush()
        except NapError as error:
            self._flushing = False
            self._fail(error)
            return
        self._flushing = False
        if self._over:
            return
        if self._received.complete:
            await self._finish()
        elif self._received.unflushed:
            self._chunk_stored()
        else:
            self._feed_all()

    # --- Ending ----------------------------------------------------------------------------------

    async def _finish(self) -> None:
        self._let_go()
        try:
            path = await self._received.publish()
        except NapError as error:
            self._background.start("closing a download", self._conclude(error))
            return
        self._owner.finished(self.item, path)

    def _fail(self, error: NapError) -> None:
        """The disk will not have it: keep what can be kept, then tell the owner."""
        if not self._over:
            self._let_go()
            self._background.start("closing a download", self._conclude(error))

    async def _conclude(self, error: NapError) -> None:
        try:
            await self._received.close()
        except NapError as second:
            self._unflushed(second)
        self._owner.failed(self.item, error)

    def _unflushed(self, error: NapError) -> None:
        self._events.emit("download.unflushed", download=self.item.id, transfer=self.item.transfer, error=error.message)

    def _must_succeed(self, journalled: Deferred[None]) -> None:
        def failed(failure: Failure) -> None:
            error = failure.value
            self._fail(error if isinstance(error, NapError) else DiskFailed(failure.getErrorMessage()))

        journalled.addErrback(failed)

    def _emit(self, event: str, lane: Lane, message: str | None = None, **fields: Any) -> None:
        self._events.emit(
            event,
            message,
            download=self.item.id,
            transfer=self.item.transfer,
            peer=lane.source.peer,
            user=lane.source.user,
            **fields,
        )
