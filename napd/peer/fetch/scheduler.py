"""Which downloads run: the first that can. Told by the runs, by what is fetched ahead and by seeking how it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ...background import Background
from ...discovery.interface import Discovery, Holders, LinkState
from ...errors import NapError, SourceFailed
from ...model import DownloadState, PeerId
from ...wire.documents import Problem
from ..files.bundle import Parcel
from ..files.disk import Disk
from ..files.received import EMPTY_CONTENT
from ..item import Item
from ..rates import RateMeter
from ..sources.pool import SourcePool
from .ahead import Ahead
from .publishing import Publishing
from .record import Record
from .runs import Runs
from .seeking import Seeking

#: States of the way to the index in which an answer may still come.
_MAY_ANSWER = (LinkState.ONLINE, LinkState.CONNECTING)


class Scheduler:
    """A `DownloadOwner`, `AheadOwner` and `SeekingOwner`.

    :param run: runs a function on a disk thread.
    :param limit: how many downloads may be active.
    """

    def __init__(
        self,
        *,
        clock: IReactorTime,
        rng: Random,
        record: Record,
        runs: Runs,
        disk: Disk,
        run: Callable[..., Deferred[Any]],
        sources: SourcePool,
        discovery: Discovery,
        background: Background,
        limit: int,
    ) -> None:
        self.limit = limit
        self.seeking = Seeking(
            owner=self, clock=clock, rng=rng, record=record, runs=runs, sources=sources, discovery=discovery
        )
        self._prospects = self.seeking.prospects
        self._clock = clock
        self._record = record
        self._queue = record.queue
        self._runs = runs
        self._sources = sources
        self._discovery = discovery
        self._background = background
        self._publishing = Publishing(clock)
        self._ahead = Ahead(
            clock=clock,
            owner=self,
            queue=record.queue,
            prospects=self._prospects,
            sources=sources,
            journal=record.journal,
            disk=disk,
            run=run,
            background=background,
        )
        self._readers: dict[int, list[Callable[[], None]]] = {}
        self._started_at: dict[int, float] = {}
        self._conclusions: set[Deferred[None]] = set()
        self._meter = RateMeter()
        self._on = False
        self._rescheduling = False
        self._held = 0

    def start(self) -> None:
        self._on = True
        self.seeking.seek(self._queue)

    async def stop(self) -> None:
        """Everything that was verified is journalled when this returns."""
        self._on = False
        self.seeking.stop()
        await self._ahead.stop()
        await self._runs.stop_all()
        for concluding in list(self._conclusions):
            await concluding

    # --- Running ---------------------------------------------------------------------------------

    def reschedule(self) -> None:
        """Make the active the first that can run. Called after every change; not re-entered."""
        if not self._on or self._rescheduling or self._held:
            return
        self._rescheduling = True
        try:
            for item in self._runs.items():
                if not item.runnable:
                    self._runs.stop(item)
            # Each pass settles at least one download, or nothing changes any more.
            for _ in range(len(self._queue) + 1):
                plan = self._queue.schedule(self.limit)
                for item in plan.displace:
                    self._queue.displace(item)
                    self._runs.stop(item)
                    self._record.emit("download.displaced", item)
                if not plan.start:
                    break
                for item in plan.start:
                    self._launch(item)
            self._stop_those_without_a_place()
        finally:
            self._rescheduling = False
        self._ahead.review()
        self._record.tell_watchers()

    def _stop_those_without_a_place(self) -> None:
        """Who had stepped aside and is served, but is not among the first any more; all of them, if none may run."""
        for item in self._runs.items():
            if item.state is DownloadState.QUEUED and not (self.limit and self._queue.is_aside(item)):
                self._queue.step_back(item)
                self._runs.stop(item)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Start and stop nothing meanwhile: what was changed in the queue may have to be taken back."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            self.reschedule()

    def taken_back(self, item: Item) -> None:
        """It is as if nothing had been changed; but its run may have come to an end that was not heard meanwhile."""
        if item.state is DownloadState.ACTIVE:
            self._queue.displace(item)
            self._runs.stop(item)

    def _launch(self, item: Item) -> None:
        if self._runs.of(item) is not None:
            # It had stepped aside, and is served now.
            self._queue.activate(item)
            self._record.emit("download.returned", item)
            return
        self._prospects.seek_now(item.content)
        found = self._prospects.holders(item.content)
        hopeless = found is not None or self._discovery.status().state not in _MAY_ANSWER
        needs_source = item.content != EMPTY_CONTENT and not item.complete
        usable = self._prospects.usable(item.content)
        ahead = needs_source and self._ahead.takes(item)
        if hopeless and needs_source and (not usable or (ahead and self._ahead.hopeless(item))):
            # Without a source it would only hold a place.
            self.seeking.wait_for_source(item, answered=found is not None)
            return
        self._activate(item)
        if ahead:
            self._ahead.started(item)
        else:
            self._run(item)

    def _activate(self, item: Item) -> None:
        found = self._prospects.holders(item.content)
        self._queue.activate(item)
        self._started_at.setdefault(item.id, self._record.now())
        sources = 0 if found is None else len(found.holders)
        self._record.emit("download.started", item, content=item.content, sources=sources)

    def _run(self, item: Item) -> None:
        item.bare = False
        self._runs.start(item, self, lambda: self._prospects.holders(item.content))

    def stop_run(self, item: Item) -> None:
        """Begin to stop it; what was verified is kept."""
        self._runs.stop(item)

    async def remove_partial(self, item: Item) -> None:
        """It was cancelled, or is not listed any more: what had been received of it goes, unless it is done."""
        self.seeking.gone(item)
        await self._ahead.settled(item)
        if item.state is not DownloadState.DONE and not item.new:
            await self._runs.remove_partial(item)

    # --- DownloadOwner ---------------------------------------------------------------------------

    def outline_known(self, item: Item) -> None:
        self._record.tell_watchers()

    def chunk_stored(self, item: Item) -> None:
        for told in list(self._readers.get(item.id, ())):
            told()

    def received(self, size: int) -> None:
        self._meter.add(size, self._clock.seconds())

    def ban(self, item: Item, peer: PeerId, failure: SourceFailed) -> None:
        self._prospects.ban(item.content, peer, failure)

    def is_banned(self, item: Item, peer: PeerId) -> bool:
        return self._prospects.ban_code(item.content, peer) is not None

    def rejected(self, item: Item, peer: PeerId) -> bool:
        return self._prospects.standings.rejected(item.content, peer)

    def accepted(self, item: Item, peer: PeerId) -> bool:
        return self._prospects.standings.accepted(item.content, peer)

    def on_parole(self, item: Item, peer: PeerId) -> bool:
        return self._prospects.standings.on_parole(item.content, peer)

    def no_source(self, item: Item) -> None:
        if self._on and (item.state is DownloadState.ACTIVE or self._queue.is_aside(item)):
            self._runs.stop(item)
            self.seeking.wait_for_source(item, answered=True)
            self.reschedule()

    def nothing_comes(self, item: Item) -> None:
        if self._queue.step_aside(item):
            self._record.emit("download.yielded", item)
            self.reschedule()

    def something_comes(self, item: Item) -> None:
        if self._queue.step_back(item):
            self.reschedule()

    def begin_publishing(self, item: Item) -> bool:
        return self._publishing.begin(item)

    def finished(self, item: Item, path: str) -> None:
        self._runs.ended(item)
        if item.state.ended:
            self._publishing.ended(item)
            return
        concluding = self._background.start("finishing a download", self._conclude(item, path))
        if not concluding.called:
            self._conclusions.add(concluding)
            concluding.addCallback(lambda _: self._conclusions.discard(concluding))

    async def _conclude(self, item: Item, path: str) -> None:
        now = self._record.now()
        try:
            await self._record.conclude([(item, path)], now)
        except NapError as error:
            self.failed(item, error)
            return
        self._finish(item, path, now)
        self._publishing.ended(item)
        self.seeking.seek([item])
        self.reschedule()

    def _finish(self, item: Item, path: str, now: float) -> None:
        """It is journalled as done."""
        if item.size is not None:
            item.bytes_done = item.size
        self._queue.finish(item, path, now)
        self.seeking.done(item)
        took = now - self._started_at.pop(item.id, now)
        self._record.emit("download.finished", item, name=item.name, bytes=item.bytes_done, took_s=round(took, 3))

    def failed(self, item: Item, error: NapError) -> None:
        self._runs.ended(item)
        self._fail(item, error)
        self._publishing.ended(item)
        self.reschedule()

    def _fail(self, item: Item, error: NapError) -> None:
        if not item.state.ended:
            self._queue.fail(item, Problem(error.code, error.message), self._record.now())
            self.seeking.seek([item])
            self._record.save_later([item])
            self._record.emit("download.failed", item, error.message, code=error.code, error=error.message)

    @contextmanager
    def stilled(self, items: Sequence[Item]) -> Iterator[None]:
        """None of these begins to get its name meanwhile."""
        with self._publishing.stilled(items):
            yield
        self.reschedule()

    async def settled(self, items: Sequence[Item]) -> None:
        """Returns when none of these has its name already and is not done yet."""
        for item in items:
            await self._ahead.settled(item)
        await self._publishing.settled(items)

    # --- SeekingOwner ----------------------------------------------------------------------------

    def tell_ahead(self, item: Item, found: Holders) -> None:
        self._ahead.holders_changed(item, found)

    # --- AheadOwner ------------------------------------------------------------------------------

    def may_land(self, item: Item) -> bool:
        return self._publishing.may_begin(item)

    async def landed(self, parcels: Sequence[Parcel]) -> None:
        """Each takes its turn, which is over at once."""
        now = self._record.now()
        for parcel in parcels:
            parcel.item.size = len(parcel.data)
        published = [(parcel, parcel.path) for parcel in parcels if parcel.path and not parcel.item.state.ended]
        try:
            await self._record.conclude([(parcel.item, path) for parcel, path in published], now)
        except NapError as error:
            for parcel, _ in published:
                # It has its name, and the journal knows its file: tried again, that is found.
                parcel.item.bare = parcel.item.new = False
                self._fail(parcel.item, error)
            return
        for parcel, path in published:
            if parcel.item.state is DownloadState.QUEUED and self._queue.active < self.limit:
                self._activate(parcel.item)
            self._record.emit("download.source_added", parcel.item, **self._named(parcel.source))
            self._finish(parcel.item, path, now)
        self.seeking.seek(parcel.item for parcel, _ in published)

    def goes_alone(self, item: Item) -> None:
        item.bare = item.new = False
        if item.state is DownloadState.ACTIVE:
            self._run(item)

    def wrong(self, item: Item, peer: PeerId, failure: SourceFailed) -> None:
        who = self._named(peer)
        self._record.emit("download.chunk_rejected", item, chunk=0, **who)
        if self.rejected(item, peer):
            self.ban(item, peer, failure)
            self._record.emit("download.source_lost", item, failure.message, code=failure.code, **who)

    def _named(self, peer: PeerId) -> dict[str, str]:
        source = self._sources.source(peer)
        return {"peer": peer} if source is None else {"peer": peer, "user": source.user}

    # --- Looking ---------------------------------------------------------------------------------

    def bytes_per_s(self) -> float:
        return self._meter.per_s(self._clock.seconds())

    def watch_chunks(self, item: Item, told: Callable[[], None]) -> Callable[[], None]:
        """Call `told` after each of its chunks; the returned function ends that."""
        self._readers.setdefault(item.id, []).append(told)

        def end() -> None:
            readers = self._readers[item.id]
            readers.remove(told)
            if not readers:
                del self._readers[item.id]

        return end
