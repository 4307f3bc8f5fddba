"""All downloads: the queue and its journal, kept in step; which run; what the outside says of their contents.

Every change is made in the queue first and is journalled before the caller hears of it. `reschedule` then makes the
running ones the first that can run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..background import Background
from ..content.digest import CHUNK_BYTES
from ..discovery.interface import Discovery, Holders, LinkState
from ..errors import NapError, SourceFailed
from ..model import ContentId, DownloadState, PeerId, Priority
from ..ops.events import Events
from ..wire.documents import Problem
from .disk import Disk
from .download import Download
from .journal import Journal
from .prospects import Prospects
from .queue import Item, Queue
from .rates import RateMeter
from .received import EMPTY_CONTENT
from .runs import Runs
from .sources import SourcePool

#: A waiting download whose sources are known but failed is tried again after this, doubled up to the last, ± a quarter.
FIRST_RETRY_S = 4.0
LAST_RETRY_S = 120.0


@frozen
class Verified:
    """Of a content of `size` bytes those from an offset to `end` are verified and can be read."""

    end: int
    size: int


@frozen
class Wanted:
    """What `get` asks for: a content, and what is claimed of it."""

    content: ContentId
    name: str
    size: int | None


#: States of the way to the index in which an answer may still come.
_MAY_ANSWER = (LinkState.ONLINE, LinkState.CONNECTING)


class Downloads:
    """A `Seeker` and `DownloadOwner`.

    :param run: runs a function on a disk thread.
    :param now: seconds since 1970.
    :param limit: how many downloads may be active.
    """

    def __init__(
        self,
        *,
        clock: IReactorTime,
        now: Callable[[], float],
        rng: Random,
        queue: Queue,
        journal: Journal,
        disk: Disk,
        run: Callable[..., Deferred[Any]],
        sources: SourcePool,
        discovery: Discovery,
        events: Events,
        background: Background,
        directory: Path,
        limit: int,
    ) -> None:
        self.queue = queue
        self._clock = clock
        self._now = now
        self._rng = rng
        self._journal = journal
        self._sources = sources
        self._events = events
        self._background = background
        self._directory = directory
        self._limit = limit
        self._identity_at = partial(run, disk.identity_at)
        self._runs = Runs(
            clock=clock,
            journal=journal,
            disk=disk,
            run=run,
            sources=sources,
            events=events,
            background=background,
        )
        self._discovery = discovery
        self._prospects = Prospects(clock, discovery)
        self._retries: dict[int, int] = {}
        self._timers: dict[int, IDelayedCall] = {}
        self._watchers: list[Callable[[], None]] = []
        self._readers: dict[int, list[Callable[[], None]]] = {}
        self._started_at: dict[int, float] = {}
        self._served_by: dict[int, set[str]] = {}
        # Those whose file is published and whose end is being journalled, as they will be.
        self._concluding: dict[int, Item] = {}
        self._conclusions: set[Deferred[None]] = set()
        self._meter = RateMeter()
        self._on = False
        self._rescheduling = False

    # --- Starting and stopping -------------------------------------------------------------------

    def start(self) -> None:
        self._on = True
        self._seek(self.queue)
        kept = sum(item.bytes_done > 0 for item in self.queue)
        if len(self.queue):
            self._events.emit("queue.recovered", downloads=len(self.queue), kept=kept)
        self.reschedule()

    async def stop(self) -> None:
        """Everything that was verified is journalled when this returns."""
        self._on = False
        for timer in self._timers.values():
            if timer.active():
                timer.cancel()
        await self._runs.stop_all()
        for concluding in list(self._conclusions):
            await concluding
        await self._save(list(self.queue))

    # --- Commands --------------------------------------------------------------------------------

    async def get(
        self,
        wanted: Sequence[Wanted],
        *,
        priority: Priority | None,
        directory: str | None,
        name: str | None,
        sequential: bool = False,
    ) -> list[Item]:
        """Take these on, or find them taken on already. Returns their downloads, journalled."""
        gone = await self._finished_but_gone(wanted)
        items = []
        added = []
        new = []
        for want in wanted:
            item = self.queue.of_content(want.content)
            if item is None:
                item = self.queue.add(
                    want.content,
                    transfer=f"{self._rng.getrandbits(64):016x}",
                    name=name or want.name,
                    size=want.size,
                    directory=directory or str(self._directory),
                    priority=priority or Priority.NORMAL,
                    now=self._now(),
                )
                added.append(item)
                new.append(item)
            elif item.id in gone and item.state is DownloadState.DONE:
                self.queue.again(item, directory=directory or item.directory, name=name or item.name)
                new.append(item)
            elif item.state in (DownloadState.FAILED, DownloadState.CANCELLED):
                self._prospects.pardon(item.content)
                self.queue.retry(item)
                new.append(item)
            if priority is not None:
                self.queue.prioritise([item], priority)
            if sequential:
                self._stream(item)
            items.append(item)
        try:
            await self._save(items, self.queue.next_id)
        except NapError:
            # What could not be written down was not taken on.
            self.queue.forget(item for item in added if item.state is DownloadState.QUEUED)
            raise
        self._seek(new)
        for item in new:
            self._emit("download.queued", item, content=item.content, name=item.name, priority=item.priority.value)
        self.reschedule()
        return items

    async def _finished_but_gone(self, wanted: Sequence[Wanted]) -> set[int]:
        """Ids of those that were finished and whose file is not there any more."""
        gone = set()
        for want in wanted:
            item = self.queue.of_content(want.content)
            if item is None or item.state is not DownloadState.DONE:
                continue
            if item.path is None or await self._identity_at(item.path) is None:
                gone.add(item.id)
        return gone

    async def pause(self, items: Iterable[Item]) -> None:
        changed = [item for item in items if self.queue.pause(item)]
        self._seek(changed)
        for item in changed:
            self._emit("download.paused", item)
        await self._changed(changed)

    async def resume(self, items: Iterable[Item]) -> None:
        changed = [item for item in items if self.queue.resume(item)]
        self._seek(changed)
        for item in changed:
            self._emit("download.resumed", item)
        await self._changed(changed)

    async def retry(self, items: Iterable[Item]) -> None:
        changed = []
        for item in items:
            self._prospects.pardon(item.content)
            if self.queue.retry(item):
                self._emit("download.resumed", item)
                changed.append(item)
        self._seek(changed)
        await self._changed(changed)

    async def cancel(self, items: Iterable[Item]) -> None:
        """The partial data is gone when this returns."""
        changed = [item for item in items if self.queue.cancel(item, self._now())]
        self._seek(changed)
        for item in changed:
            self._runs.stop(item)
        for item in changed:
            # Somebody may want one of them again meanwhile.
            if item.state is DownloadState.CANCELLED:
                await self._remove_partial(item)
        cancelled = [item for item in changed if item.state is DownloadState.CANCELLED]
        for item in cancelled:
            item.bytes_done = 0
        await self._journal.ended(cancelled)
        for item in cancelled:
            self._emit("download.cancelled", item)
        self.reschedule()

    async def prioritise(self, items: Iterable[Item], priority: Priority) -> None:
        await self._changed(self.queue.prioritise(items, priority))

    async def move(self, items: list[Item], to: str) -> None:
        await self._changed(self.queue.move(items, to))

    async def clear(self) -> list[Item]:
        """Forget ended ones; what a failed one had received goes with it."""
        gone = self.queue.forget_ended()
        for item in gone:
            self._served_by.pop(item.id, None)
        await self._journal.forget(gone)
        for item in gone:
            await self._remove_partial(item)
        self._tell_watchers()
        return gone

    async def set_limit(self, limit: int) -> None:
        self._limit = limit
        await self._journal.set("downloads", str(limit))
        self.reschedule()

    async def stream(self, item: Item) -> None:
        """Somebody reads it while it comes."""
        if self._stream(item):
            await self._save([item])

    def _stream(self, item: Item) -> bool:
        running = self._runs.of(item)
        if running is not None:
            running.stream()
        return self.queue.stream(item)

    @property
    def limit(self) -> int:
        return self._limit

    def _save(self, items: Sequence[Item], next_id: int | None = None) -> Deferred[None]:
        """Journal these as they are; one that is being journalled as done stays done."""
        return self._journal.save([self._as_concluded(item) for item in items], next_id)

    def _as_concluded(self, item: Item) -> Item:
        done = self._concluding.get(item.id)
        return item if done is None else evolve(done, priority=item.priority, place=item.place)

    async def _changed(self, items: Sequence[Item]) -> None:
        if items:
            await self._save(items)
            self.reschedule()

    # --- Running ---------------------------------------------------------------------------------

    def reschedule(self) -> None:
        """Make the active the first that can run. Called after every change; not re-entered."""
        if not self._on or self._rescheduling:
            return
        self._rescheduling = True
        try:
            for item in self._runs.items():
                if item.state is not DownloadState.ACTIVE:
                    self._runs.stop(item)
            # Each pass settles at least one download, or nothing changes any more.
            for _ in range(len(self.queue) + 1):
                plan = self.queue.schedule(self._limit)
                for item in plan.displace:
                    self.queue.displace(item)
                    self._runs.stop(item)
                    self._emit("download.displaced", item)
                if not plan.start:
                    break
                for item in plan.start:
                    self._launch(item)
        finally:
            self._rescheduling = False
        self._tell_watchers()

    def _launch(self, item: Item) -> None:
        self._prospects.seek_now(item.content)
        found = self._prospects.holders(item.content)
        hopeless = found is not None or self._discovery.status().state not in _MAY_ANSWER
        needs_source = item.content != EMPTY_CONTENT and not item.complete
        if hopeless and needs_source and not self._prospects.usable(item.content):
            # Without a source it would only hold a place.
            self._wait_for_source(item, answered=found is not None)
            return
        self.queue.activate(item)
        self._started_at.setdefault(item.id, self._now())
        self._emit("download.started", item, content=item.content, sources=0 if found is None else len(found.holders))
        self._runs.start(item, self, lambda: self._prospects.holders(item.content))

    def _wait_for_source(self, item: Item, *, answered: bool) -> None:
        self.queue.no_source(item)
        self._save([item]).addErrback(self._journal_failed)
        if answered:
            self._emit("download.waiting", item)
        self._retry_later(item)

    async def _remove_partial(self, item: Item) -> None:
        timer = self._timers.pop(item.id, None)
        if timer is not None and timer.active():
            timer.cancel()
        if item.state is not DownloadState.DONE and not item.new:
            await self._runs.remove_partial(item)

    # --- DownloadOwner ---------------------------------------------------------------------------

    def outline_known(self, item: Item) -> None:
        self._tell_watchers()

    def chunk_stored(self, item: Item) -> None:
        for told in list(self._readers.get(item.id, ())):
            told()

    def received(self, size: int) -> None:
        self._meter.add(size, self._clock.seconds())

    def ban(self, item: Item, peer: PeerId, failure: SourceFailed) -> None:
        self._prospects.ban(item.content, peer, failure)

    def is_banned(self, item: Item, peer: PeerId) -> bool:
        return self._prospects.ban_code(item.content, peer) is not None

    def no_source(self, item: Item) -> None:
        if item.state is DownloadState.ACTIVE:
            self._runs.stop(item)
            self._wait_for_source(item, answered=True)
            self.reschedule()

    def finished(self, item: Item, path: str) -> None:
        self._runs.ended(item)
        if item.state.ended:
            return
        concluding = self._background.start("finishing a download", self._conclude(item, path))
        if not concluding.called:
            self._conclusions.add(concluding)
            concluding.addCallback(lambda _: self._conclusions.discard(concluding))

    async def _conclude(self, item: Item, path: str) -> None:
        """Journalled first, then done: what is reported done stays done, whatever was asked meanwhile."""
        now = self._now()
        size = item.bytes_done if item.size is None else item.size
        done = self._concluding[item.id] = evolve(
            item, state=DownloadState.DONE, path=path, error=None, finished=now, bytes_done=size
        )
        try:
            await self._journal.ended([done])
        except NapError as error:
            self.failed(item, error)
            return
        finally:
            del self._concluding[item.id]
        item.bytes_done = size
        self.queue.finish(item, path, now)
        self._retries.pop(item.id, None)
        self._seek([item])
        took = now - self._started_at.pop(item.id, now)
        self._emit("download.finished", item, name=item.name, bytes=size, took_s=round(took, 3))
        self.reschedule()

    def failed(self, item: Item, error: NapError) -> None:
        self._runs.ended(item)
        if not item.state.ended:
            self.queue.fail(item, Problem(error.code, error.message), self._now())
            self._seek([item])
            self._save([item]).addErrback(self._journal_failed)
            self._emit("download.failed", item, error.message, code=error.code, error=error.message)
        self.reschedule()

    def _journal_failed(self, failure: Any) -> None:
        self._events.fault("journalling the queue", failure)

    # --- Seeker ----------------------------------------------------------------------------------

    def holders_changed(self, found: Holders) -> None:
        item = self.queue.of_content(found.content)
        if item is not None and not item.state.ended:
            self._use_holders(item, found)
        self._prospects.tell_waiting(found.content)

    def _use_holders(self, item: Item, found: Holders) -> None:
        self._served_by.setdefault(item.id, set()).update(holder.user for holder in found.holders)
        answered_before = self._prospects.holders(found.content) is not None
        new = self._prospects.told(found)
        for peer in new:
            self._sources.returned(peer)
        if item.size is None and found.size is not None:
            item.size = found.size
            if item.name == item.content and found.name:
                item.name = found.name
        running = self._runs.of(item)
        if running is not None:
            running.holders_changed(found)
        elif item.state is DownloadState.WAITING:
            if new and self._prospects.usable(item.content):
                self._retries.pop(item.id, None)
                self._source_appeared(item)
            elif not answered_before:
                self._emit("download.waiting", item)

    def discovery_lost(self) -> None:
        """What was told last stays in use: links to sources live on without the index."""
        self.reschedule()

    def _source_appeared(self, item: Item) -> None:
        if self.queue.source_appeared(item):
            self._save([item]).addErrback(self._journal_failed)
            self.reschedule()

    def _retry_later(self, item: Item) -> None:
        """Its sources are known but failed: try them again, ever more rarely."""
        timer = self._timers.pop(item.id, None)
        if timer is not None and timer.active():
            timer.cancel()
        count = self._retries.get(item.id, 0)
        self._retries[item.id] = count + 1
        delay = min(LAST_RETRY_S, FIRST_RETRY_S * 2 ** min(count, 10)) * self._rng.uniform(0.75, 1.25)
        self._timers[item.id] = self._clock.callLater(delay, self._retry_now, item)

    def _retry_now(self, item: Item) -> None:
        self._timers.pop(item.id, None)
        if item.state is not DownloadState.WAITING:
            return
        if self._prospects.usable(item.content):
            self._source_appeared(item)
        else:
            self._retry_later(item)

    def _seek(self, changed: Iterable[Item]) -> None:
        """Those that could run or wait are sought; paused and ended ones are not."""
        idle = (DownloadState.PAUSED, DownloadState.DONE, DownloadState.FAILED, DownloadState.CANCELLED)
        items = list(changed)
        self._prospects.seek(item.content for item in items if item.state not in idle)
        self._prospects.drop(item.content for item in items if item.state in idle)

    # --- Looking ---------------------------------------------------------------------------------

    def running(self, item: Item) -> Download | None:
        return self._runs.of(item)

    def answered(self, items: Iterable[Item]) -> Deferred[None]:
        """Fires when discovery has said who holds these, or cannot be asked."""
        if self._discovery.status().state is not LinkState.ONLINE:
            return succeed(None)
        return self._prospects.answered(item.content for item in items)

    def holders(self, item: Item) -> Holders | None:
        return self._prospects.holders(item.content)

    def ban_code(self, item: Item, peer: PeerId) -> str | None:
        return self._prospects.ban_code(item.content, peer)

    def holds_from(self, item: Item, user: str) -> bool:
        """Whether this user is, or was in this run of the daemon, among its sources: what ``@user`` selects by."""
        return user in self._served_by.get(item.id, ())

    def bytes_per_s(self) -> float:
        return self._meter.per_s(self._clock.seconds())

    def watch(self, told: Callable[[], None]) -> Callable[[], None]:
        """Call `told` after every change of a state; the returned function ends that."""
        self._watchers.append(told)
        return lambda: self._watchers.remove(told)

    def verified(self, item: Item, offset: int) -> Verified | None:
        """How far its bytes are there from an offset on, at most to the end of a chunk; None while nobody knows."""
        if item.state is DownloadState.DONE and item.size is not None:
            return Verified(item.size, item.size)
        running = self._runs.of(item)
        if running is None or running.size is None:
            return None
        chunk = offset // CHUNK_BYTES
        if offset >= running.size or not running.has(chunk):
            return Verified(offset, running.size)
        return Verified(min(running.size, (chunk + 1) * CHUNK_BYTES), running.size)

    def watch_bytes(self, item: Item, told: Callable[[], None]) -> Callable[[], None]:
        """Call `told` after each of its chunks and each change of a state; the returned function ends that."""
        self._readers.setdefault(item.id, []).append(told)
        forget = self.watch(told)

        def end() -> None:
            forget()
            readers = self._readers[item.id]
            readers.remove(told)
            if not readers:
                del self._readers[item.id]

        return end

    def _tell_watchers(self) -> None:
        for told in list(self._watchers):
            told()

    def _emit(self, event: str, item: Item, message: str | None = None, **fields: Any) -> None:
        self._events.emit(event, message, download=item.id, transfer=item.transfer, **fields)
