"""The downloads that run: started, stopped, and never two runs of one item at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ...background import Background
from ...discovery.interface import Holders
from ...model import ContentId, DownloadState
from ...ops.events import Events
from ..files.disk import Disk
from ..files.journal import Journal
from ..files.partial import left_over, settle_removals
from ..files.received import Received
from ..item import Item
from ..serve.partial_sharing import PartialSharing
from ..sources.pool import SourcePool
from .download import Download, DownloadOwner


class Runs:
    """:param run: runs a function on a disk thread."""

    def __init__(
        self,
        *,
        clock: IReactorTime,
        journal: Journal,
        disk: Disk,
        run: Callable[..., Deferred[Any]],
        sources: SourcePool,
        events: Events,
        background: Background,
        sharing: PartialSharing | None = None,
    ) -> None:
        self._clock = clock
        self._journal = journal
        self._disk = disk
        self._run = run
        self._sources = sources
        self._events = events
        self._background = background
        self._sharing = sharing
        self._running: dict[int, Download] = {}
        self._stopping: dict[int, Deferred[None]] = {}

    def of(self, item: Item) -> Download | None:
        return self._running.get(item.id)

    def items(self) -> list[Item]:
        return [download.item for download in self._running.values()]

    def start(self, item: Item, owner: DownloadOwner, found: Callable[[], Holders | None]) -> None:
        """Run it, once an earlier run of it has closed its file. `found`: who holds it, asked at that moment."""
        download = Download(
            item=item,
            owner=owner,
            received=self._received(item),
            clock=self._clock,
            sources=self._sources,
            events=self._events,
            background=self._background,
            sharing=self._sharing,
        )
        self._running[item.id] = download
        self._background.start("starting a download", self._start(download, found))

    async def _start(self, download: Download, found: Callable[[], Holders | None]) -> None:
        await self._stopped(download.item)
        if self._running.get(download.item.id) is download:
            download.start(found())

    def ended(self, item: Item) -> None:
        """The run has ended by itself."""
        self._running.pop(item.id, None)

    def stop(self, item: Item) -> None:
        """Begin to stop it; what was verified is journalled, and its file closed, before it can run again."""
        download = self._running.pop(item.id, None)
        if download is None or item.id in self._stopping:
            # In the second case the run was still waiting for the one before, and never begins.
            return
        self._hold(item, self._background.start("stopping a download", download.stop()))

    def _hold(self, item: Item, work: Deferred[None]) -> None:
        """No run of this item begins before this has ended."""
        self._stopping[item.id] = work

        def ended(_: None) -> None:
            if self._stopping.get(item.id) is work:
                del self._stopping[item.id]

        work.addCallback(ended)

    def served_on(self, item: Item, over: Callable[[], None]) -> bool:
        """Whether others are still served what was fetched of it; then `over` is called when they are no more."""
        return self._sharing is not None and self._sharing.until_over(item.content, over)

    def serve_no_more(self, content: ContentId) -> None:
        if self._sharing is not None:
            self._sharing.withdraw(content)

    async def stop_all(self) -> None:
        for item in self.items():
            self.stop(item)
        for stopping in list(self._stopping.values()):
            await stopping

    async def remove_partial(self, item: Item) -> None:
        """Stop it, and its partial data is gone."""
        self.stop(item)
        await self._stopped(item)
        removing = self._background.start("removing partial data", self._received(item).close(keep=False))
        self._hold(item, removing)
        await removing

    async def remove_left_over(self, ended: Iterable[Item]) -> None:
        """Partial data of these that a power cut brought back, or a crash did not let us remove, goes now."""
        by_transfer = {item.transfer: item for item in ended}
        for directory in sorted({item.directory for item in by_transfer.values()}):
            for transfer in await self._run(left_over, self._disk, directory):
                item = by_transfer.get(transfer)
                # Somebody may want it again meanwhile.
                if item is not None and item.state in (DownloadState.DONE, DownloadState.CANCELLED):
                    await self.remove_partial(item)

    def settle_removals(self, ended: Iterable[Item]) -> Deferred[None]:
        """What was removed of these is gone for good, as far as can be seen to."""
        settled: Deferred[None] = self._run(settle_removals, self._disk, sorted({item.directory for item in ended}))
        return settled

    async def _stopped(self, item: Item) -> None:
        stopping = self._stopping.get(item.id)
        if stopping is not None:
            await stopping

    def _received(self, item: Item) -> Received:
        return Received(item, self._journal, self._disk, self._run)
