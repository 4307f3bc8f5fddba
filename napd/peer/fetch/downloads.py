"""All downloads, as those who ask of them see them: what can be told to them, and what can be seen.

Every change is made in the queue first and is journalled before the caller hears of it. `Scheduler.reschedule` then
makes the running ones the first that can run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from ...background import Background
from ...content.digest import CHUNK_BYTES
from ...discovery.interface import Discovery, Holders, LinkState
from ...errors import NapError
from ...model import ContentId, DownloadState, PeerId, Priority
from ...ops.events import Events
from ..files.disk import Disk
from ..files.journal import Journal
from ..item import Item, Remembered
from ..queue import Queue
from ..serve.partial_sharing import PartialSharing
from ..sources.pool import SourcePool
from .download import Download
from .record import Record
from .runs import Runs
from .scheduler import Scheduler
from .seeking import Seeking


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


class Downloads:
    """The queue as `peer.daemon` sees it.

    :param run: runs a function on a disk thread. :param run_bundles: on one of those for bundles, which mostly sync.
    :param now: seconds since 1970.
    :param limit: how many downloads may be active.
    :param sharing: serves to others what running downloads have; None: nothing.
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
        run_bundles: Callable[..., Deferred[Any]],
        sources: SourcePool,
        discovery: Discovery,
        events: Events,
        background: Background,
        directory: Path,
        limit: int,
        sharing: PartialSharing | None = None,
    ) -> None:
        self.queue = queue
        self._now = now
        self._rng = rng
        self._journal = journal
        self._events = events
        self._background = background
        self._directory = directory
        self._discovery = discovery
        self._identity_at = partial(run, disk.identity_at)
        self._record = Record(queue=queue, journal=journal, events=events, now=now)
        self._runs = Runs(
            clock=clock,
            journal=journal,
            disk=disk,
            run=run,
            sources=sources,
            events=events,
            background=background,
            sharing=sharing,
        )
        self._scheduler = Scheduler(
            clock=clock,
            rng=rng,
            record=self._record,
            runs=self._runs,
            disk=disk,
            run=run_bundles,
            sources=sources,
            discovery=discovery,
            background=background,
            limit=limit,
        )
        self._seeking = self._scheduler.seeking

    @property
    def seeker(self) -> Seeking:
        """Whom discovery tells what changes outside."""
        return self._seeking

    # --- Starting and stopping -------------------------------------------------------------------

    def start(self) -> None:
        self._scheduler.start()
        kept = sum(item.bytes_done > 0 for item in self.queue)
        if len(self.queue):
            self._events.emit("queue.recovered", downloads=len(self.queue), kept=kept)
        ended = [item for item in self.queue if item.state in (DownloadState.DONE, DownloadState.CANCELLED)]
        self._background.start("removing left-over partial data", self._runs.remove_left_over(ended))
        self._scheduler.reschedule()

    async def stop(self) -> None:
        """Everything that was verified is journalled when this returns."""
        await self._scheduler.stop()
        await self._record.save(list(self.queue))

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
        before = Remembered.of(item for want in wanted if (item := self.queue.of_content(want.content)) is not None)
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
                self._seeking.recall([item])
                added.append(item)
                new.append(item)
            elif item.id in gone and item.state is DownloadState.DONE:
                self.queue.again(item, directory=directory or item.directory, name=name or item.name)
                new.append(item)
            elif item.state in (DownloadState.FAILED, DownloadState.CANCELLED):
                self.queue.retry(item)
                new.append(item)
            if priority is not None:
                self.queue.prioritise([item], priority)
            if sequential:
                self._stream(item)
            items.append(item)
        # None of them starts before it is said that it is queued.
        with self._scheduler.held():
            await self._settle(before, items, added)
            for item in new:
                self._seeking.pardon(item)
            self._seeking.seek(new)
            for item in new:
                self._record.emit(
                    "download.queued", item, content=item.content, name=item.name, priority=item.priority.value
                )
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
        chosen = list(items)
        with self._scheduler.stilled(chosen):
            # What has its name already is done, and not paused.
            await self._scheduler.settled(chosen)
            for item in await self._change(chosen, self.queue.pause):
                self._record.emit("download.paused", item)

    async def resume(self, items: Iterable[Item]) -> None:
        for item in await self._change(items, self.queue.resume):
            self._record.emit("download.resumed", item)

    async def retry(self, items: Iterable[Item]) -> None:
        chosen = list(items)
        for item in chosen:
            self._seeking.pardon(item)
        for item in await self._change(chosen, self.queue.retry):
            self._record.emit("download.resumed", item)

    async def cancel(self, items: Iterable[Item]) -> None:
        """The partial data is gone when this returns."""
        chosen = list(items)
        with self._scheduler.stilled(chosen):
            await self._scheduler.settled(chosen)
            changed = await self._change(chosen, partial(self.queue.cancel, now=self._now()))
            for item in changed:
                self._scheduler.stop_run(item)
            for item in changed:
                # Somebody may want one of them again meanwhile.
                if item.state is DownloadState.CANCELLED:
                    await self._scheduler.remove_partial(item)
        cancelled = [item for item in changed if item.state is DownloadState.CANCELLED]
        for item in cancelled:
            item.bytes_done = 0
        # That they are cancelled is written down already; this clears up what is known of their contents.
        self._record.forget_chunks_later(cancelled)
        for item in cancelled:
            self._record.emit("download.cancelled", item)

    async def prioritise(self, items: Iterable[Item], priority: Priority) -> None:
        chosen = list(items)
        before = Remembered.of(chosen)
        await self._settle(before, self.queue.prioritise(chosen, priority))

    async def move(self, items: list[Item], to: str) -> None:
        before = Remembered.of(self.queue)
        await self._settle(before, self.queue.move(items, to))

    async def clear(self) -> list[Item]:
        """Forget ended ones; what a failed one had received goes first."""
        gone = [item for item in self.queue if item.state.ended]
        for item in gone:
            await self._scheduler.remove_partial(item)
        # Afterwards nobody would know whose it was.
        await self._runs.remove_left_over(gone)
        await self._runs.settle_removals(gone)
        # Somebody may want one of them again meanwhile.
        gone = [item for item in gone if item.state.ended]
        await self._journal.forget(gone)
        self.queue.forget(item for item in gone if item.state.ended)
        for item in gone:
            self._seeking.forget(item)
        self._record.tell_watchers()
        return gone

    def set_limit(self, limit: int) -> None:
        """Once it is journalled."""
        self._scheduler.limit = limit
        self._scheduler.reschedule()

    async def stream(self, item: Item) -> None:
        """Somebody reads it while it comes."""
        if self._stream(item):
            await self._record.save([item])

    def _stream(self, item: Item) -> bool:
        running = self._runs.of(item)
        if running is not None:
            running.stream()
        return self.queue.stream(item)

    @property
    def limit(self) -> int:
        return self._scheduler.limit

    async def _change(self, items: Iterable[Item], change: Callable[[Item], bool]) -> list[Item]:
        """Change these in the queue and in the journal, or in neither; then act upon it. Returns those that changed."""
        chosen = list(items)
        before = Remembered.of(chosen)
        changed = [item for item in chosen if change(item)]
        await self._settle(before, changed)
        self._seeking.seek(changed)
        self._scheduler.reschedule()
        return changed

    async def _settle(self, before: Remembered, changed: Sequence[Item], added: Sequence[Item] = ()) -> None:
        """Journal a change that was made in the queue, or take it back.

        :param added: those of the changed that were taken on.
        :raises NapError: it could not be journalled, and is undone.
        """
        if not changed:
            return
        after = Remembered.of(changed)
        with self._scheduler.held():
            try:
                await self._record.save(changed, self.queue.next_id if added else None)
            except NapError:
                self.queue.forget(item for item in added if item.state is DownloadState.QUEUED)
                for item in self.queue.take_back(before, after):
                    self._scheduler.taken_back(item)
                raise

    # --- Looking ---------------------------------------------------------------------------------

    def running(self, item: Item) -> Download | None:
        return self._runs.of(item)

    def answered(self, items: Iterable[Item]) -> Deferred[None]:
        """Fires when discovery has said who holds these, or cannot be asked."""
        if self._discovery.status().state is not LinkState.ONLINE:
            return succeed(None)
        return self._seeking.prospects.answered(item.content for item in items)

    def holders(self, item: Item) -> Holders | None:
        return self._seeking.prospects.holders(item.content)

    def ban_code(self, item: Item, peer: PeerId) -> str | None:
        return self._seeking.prospects.ban_code(item.content, peer)

    def ban_left_s(self, item: Item, peer: PeerId) -> float:
        return self._seeking.prospects.ban_left_s(item.content, peer)

    def parole_left(self, item: Item, peer: PeerId) -> int:
        return self._seeking.prospects.standings.parole_left(item.content, peer)

    def retry_in_s(self, item: Item) -> float | None:
        """Seconds until a waiting download is looked at again, if nothing happens before."""
        return self._seeking.retry_in_s(item)

    def holds_from(self, item: Item, user: str) -> bool:
        """Whether this user is, or was in this run of the daemon, among its sources: what ``@user`` selects by."""
        return self._seeking.holds_from(item, user)

    def bytes_per_s(self) -> float:
        return self._scheduler.bytes_per_s()

    def watch(self, told: Callable[[], None]) -> Callable[[], None]:
        """Call `told` after every change of a state; the returned function ends that."""
        return self._record.watch(told)

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
        endings = self._scheduler.watch_chunks(item, told), self._record.watch(told)

        def end() -> None:
            for ending in endings:
                ending()

        return end
