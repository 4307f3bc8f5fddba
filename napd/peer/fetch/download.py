"""One download while it runs: from what the disk holds to the published file.

The route of a chunk: `Crew` asks a lane, `chunk_came` gives the bytes to `Received`, which checks, writes, flushes
and journals them. `Downloads` starts and stops it.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from ...background import Background
from ...discovery.interface import Holders
from ...errors import DiskFailed, NapError
from ...model import PeerId
from ...ops.events import Events
from ..files.received import EMPTY_CONTENT, Received, WrongSize
from ..item import Item
from ..rates import RateMeter
from ..serve.partial_sharing import PartialSharing
from ..sources.pool import SourcePool
from .crew import Conduct, Crew
from .lane import Lane

#: Chunks after which, or seconds after the first of which, what was written is flushed and journalled.
FLUSH_CHUNKS = 24
FLUSH_S = 1.0
#: Seconds until a complete download that a command is about is looked at again.
AGAIN_S = 0.2
#: Seconds within which discovery should have told who holds a content.
ANSWER_S = 3.0


class DownloadOwner(Conduct, Protocol):
    """Who runs downloads; implemented by `peer.fetch.scheduler`. Exactly one of the last three is called, once."""

    def outline_known(self, item: Item) -> None: ...
    def chunk_stored(self, item: Item) -> None:
        """One more chunk is verified."""

    def received(self, size: int) -> None: ...
    def no_source(self, item: Item) -> None: ...
    def nothing_comes(self, item: Item) -> None:
        """All its sources make it wait: another may have its place meanwhile."""

    def something_comes(self, item: Item) -> None:
        """It is served again."""

    def begin_publishing(self, item: Item) -> bool:
        """Whether it may get its name now; if so, `finished` or `failed` follows."""

    def finished(self, item: Item, path: str) -> None: ...
    def failed(self, item: Item, error: NapError) -> None: ...


class Download:
    """A `CrewOwner` for one queue item.

    :param sharing: serves what it has to others; None: nothing is served before it is in a share.
    """

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
        sharing: PartialSharing | None = None,
    ) -> None:
        self.item = item
        self._meter = RateMeter()
        self._owner = owner
        self._received = received
        self._clock = clock
        self._events = events
        self._background = background
        self._sharing = sharing
        self._crew = Crew(
            item=item,
            owner=self,
            conduct=owner,
            received=received,
            clock=clock,
            sources=sources,
            events=events,
            background=background,
        )
        self._found: Holders | None = None
        self._busy: set[Deferred[None]] = set()
        self._begun = False
        self._ready = False
        self._over = False
        self._flushing = False
        self._flush_timer: IDelayedCall | None = None
        self._unanswered: IDelayedCall | None = None

    @property
    def lanes(self) -> dict[PeerId, Lane]:
        """The sources at work."""
        return self._crew.lanes

    def bytes_per_s(self) -> float:
        return self._meter.per_s(self._clock.seconds())

    @property
    def size(self) -> int | None:
        """Verified; None while the outline is not known."""
        return self._received.size if self._received.has_outline else None

    def has(self, chunk: int) -> bool:
        """Whether this chunk is verified and written."""
        return self._received.has_outline and self._received.picker.is_verified(chunk)

    def stream(self) -> None:
        """From now on the lowest chunks first, whatever else would be cleverer."""
        if self._received.has_outline:
            self._received.picker.sequential = True

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
            if self._received.rehashing:
                self._work("hashing what a crash left", self._rehash())

    async def _rehash(self) -> None:
        """What the disk holds and the journal does not know; the sources have the rest to send meanwhile."""
        try:
            await self._received.rehash(self._hashed_again)
        except NapError as error:
            self._fail(error)
            return
        self._chunk_stored()

    def _hashed_again(self, chunk: int) -> None:
        self._crew.chunk_here(chunk)
        self._serve_chunk(chunk)
        self._chunk_stored()

    async def stop(self) -> None:
        """Ask for nothing more; returns when what was written is journalled and the file closed."""
        self._let_go()
        self._serve_no_more()
        # Taking up, flushing and publishing use the file: it is not closed under them.
        for work in list(self._busy):
            await work
        try:
            await self._received.close()
        except NapError as error:
            # What was written last will be fetched again: the journal does not claim it.
            self._unflushed(error)

    def _work(self, name: str, work: Coroutine[Deferred[Any], Any, None]) -> None:
        """Begin something that `stop` has to wait for."""
        running = self._background.start(name, work)
        if not running.called:
            self._busy.add(running)
            running.addCallback(lambda _: self._busy.discard(running))

    def _let_go(self) -> None:
        """Nothing changes this download from here on."""
        self._over = True
        self._received.end_rehash()
        for timer in (self._flush_timer, self._unanswered):
            if timer is not None and timer.active():
                timer.cancel()
        self._crew.let_go()

    # --- Sources ---------------------------------------------------------------------------------

    def holders_changed(self, found: Holders | None) -> None:
        """These hold the content now."""
        self._found = found
        if not self._begun and not self._over:
            if found is not None and found.holders:
                self._begin(found)
            else:
                self._owner.no_source(self.item)
        if self._ready and not self._over:
            self._serve_parts()
            self._crew.use(found)

    def no_source(self) -> None:
        self._owner.no_source(self.item)

    def nothing_comes(self) -> None:
        self._owner.nothing_comes(self.item)

    def something_comes(self) -> None:
        self._owner.something_comes(self.item)

    def outline_learnt(self, journalled: Deferred[None]) -> None:
        self._must_succeed(journalled)
        self._owner.outline_known(self.item)

    def group_learnt(self, journalled: Deferred[None]) -> None:
        self._must_succeed(journalled)

    # --- Serving others --------------------------------------------------------------------------

    def _serve_parts(self) -> None:
        """What is here may be served if, and as long as, the content is for everyone."""
        if self._over or self._sharing is None or self._found is None or not self._received.has_outline:
            # Once it is over, what a disk thread still writes is nobody's: `stop` has taken back what was on offer.
            return
        if self._found.everyone:
            self._sharing.offer(self.item, self._received)
        else:
            self._sharing.withdraw(self.item.content)

    def _serve_chunk(self, chunk: int) -> None:
        """One more is verified."""
        self._serve_parts()
        if self._sharing is not None and not self._over:
            self._sharing.stored(self.item.content, chunk)

    def _serve_no_more(self) -> None:
        if self._sharing is not None:
            self._sharing.withdraw(self.item.content)

    # --- Chunks ----------------------------------------------------------------------------------

    def chunk_came(self, lane: Lane, chunk: int, data: bytes | memoryview) -> None:
        """Bytes from the wire."""
        now = self._clock.seconds()
        for meter in (self._meter, lane.meter, lane.source.meter):
            meter.add(len(data), now)
        self._owner.received(len(data))
        self.item.bytes_received += len(data)
        if not self._over:
            self._background.start("storing a chunk", self._store(lane, chunk, data))

    async def _store(self, lane: Lane, chunk: int, data: bytes | memoryview) -> None:
        known = self._received.has_outline
        try:
            if not known:
                good = await self._received.store_only_chunk(data)
            elif self._received.picker.is_verified(chunk):
                return
            else:
                good = await self._received.store(chunk, data)
        except WrongSize:
            self._crew.size_claim_was_wrong()
            return
        except NapError as error:
            self._fail(error)
            return
        if not good:
            self._crew.chunk_wrong(lane, chunk)
            return
        if not known:
            self._owner.outline_known(self.item)
        self._crew.chunk_good(lane, chunk)
        self._owner.chunk_stored(self.item)
        self._serve_chunk(chunk)
        self._chunk_stored()

    def _chunk_stored(self) -> None:
        if self._over:
            return
        if self._received.complete or self._received.unflushed >= FLUSH_CHUNKS:
            self._flush_now()
        elif self._flush_timer is None or not self._flush_timer.active():
            self._flush_timer = self._clock.callLater(FLUSH_S, self._flush_now)
        self._crew.feed_all()
        self._crew.judge()

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
            self._crew.feed_all()

    # --- Ending ----------------------------------------------------------------------------------

    async def _finish(self) -> None:
        if not self._owner.begin_publishing(self.item):
            # A command is about it just now. Perhaps it goes on afterwards.
            self._flush_timer = self._clock.callLater(AGAIN_S, self._flush_now)
            return
        self._let_go()
        if self._sharing is not None:
            self._sharing.finished(self.item.content)
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
        self._serve_no_more()
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
