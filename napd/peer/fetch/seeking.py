"""Sources for the queue: what is sought, what discovery tells of it, and what waits until somebody has it."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from ...discovery.interface import Discovery, Holders
from ...model import DownloadState
from ..item import Item
from ..sources.pool import SourcePool
from ..sources.prospects import Prospects
from .record import Record
from .retries import Retries
from .runs import Runs

#: States in which nobody looks for a download's content.
_IDLE = (DownloadState.PAUSED, DownloadState.DONE, DownloadState.FAILED, DownloadState.CANCELLED)


class SeekingOwner(Protocol):
    """Who runs what can run; implemented by `peer.fetch.scheduler`."""

    def reschedule(self) -> None: ...
    def tell_ahead(self, item: Item, found: Holders) -> None:
        """It has no run, and may have its turn: who holds it has changed."""


class Seeking:
    """The `Seeker` that discovery tells."""

    def __init__(
        self,
        *,
        owner: SeekingOwner,
        clock: IReactorTime,
        rng: Random,
        record: Record,
        runs: Runs,
        sources: SourcePool,
        discovery: Discovery,
    ) -> None:
        self.prospects = Prospects(clock, discovery)
        self._owner = owner
        self._record = record
        self._queue = record.queue
        self._runs = runs
        self._sources = sources
        self._retries = Retries(clock, rng, self._retry)
        self._served_by: dict[int, set[str]] = {}

    def stop(self) -> None:
        self._retries.stop()

    # --- What is sought --------------------------------------------------------------------------

    def seek(self, changed: Iterable[Item]) -> None:
        """Those that could run or wait are sought; paused and ended ones only while what is done is served on."""
        items = list(changed)
        self.prospects.seek(item.content for item in items if item.state not in _IDLE)
        self.prospects.drop(item.content for item in items if item.state in _IDLE and not self._served_on(item))

    def _served_on(self, item: Item) -> bool:
        """While it is, discovery has to tell whether it still is for everyone."""

        def over() -> None:
            wanted = self._queue.of_content(item.content)
            if wanted is None or wanted.state in _IDLE:
                # It has not been asked for anew meanwhile.
                self.prospects.drop([item.content])

        if item.state is not DownloadState.DONE:
            return False
        found = self.prospects.holders(item.content)
        if found is not None and not found.everyone:
            # It was told while the file got its name.
            self._runs.serve_no_more(item.content)
        return self._runs.served_on(item, over)

    def pardon(self, item: Item) -> None:
        """A person wants it tried again at once, with everybody."""
        self.prospects.pardon(item.content)
        found = self.prospects.holders(item.content)
        for holder in () if found is None else found.holders:
            self._sources.returned(holder)

    def forget(self, item: Item) -> None:
        """It is not listed any more."""
        self._served_by.pop(item.id, None)

    # --- What discovery tells --------------------------------------------------------------------

    def holders_changed(self, found: Holders) -> None:
        item = self._queue.of_content(found.content)
        if item is not None and not item.state.ended:
            self._use_holders(item, found)
        elif self.prospects.seeks(found.content):
            self.prospects.told(found)
            if not found.everyone:
                self._runs.serve_no_more(found.content)
        self.prospects.tell_waiting(found.content)

    def _use_holders(self, item: Item, found: Holders) -> None:
        self._served_by.setdefault(item.id, set()).update(holder.user for holder in found.holders)
        answered_before = self.prospects.holders(found.content) is not None
        new = self.prospects.told(found)
        for holder in found.holders:
            if holder.peer in new:
                self._sources.returned(holder)
        self._learn(item, found)
        running = self._runs.of(item)
        if running is not None:
            running.holders_changed(found)
        elif item.state is DownloadState.QUEUED and not found.holders and not item.complete:
            # Its turn need not come to tell that nobody has it.
            self.wait_for_source(item, answered=True)
        elif item.runnable:
            self._owner.tell_ahead(item, found)
        elif item.state is DownloadState.WAITING:
            if new and self.prospects.usable(item.content):
                self._retries.forget(item)
                self._source_appeared(item)
            elif not answered_before:
                self._record.emit("download.waiting", item)

    def recall(self, items: Iterable[Item]) -> None:
        """These are new; of a content that is sought already discovery need not tell again."""
        for item in items:
            found = self.prospects.holders(item.content)
            if found is not None:
                self._learn(item, found)

    def _learn(self, item: Item, found: Holders) -> None:
        """What most call it, while nobody has said so here."""
        if item.size is None and found.size is not None:
            item.size = found.size
        if item.name == item.content and found.name:
            item.name = found.name

    def discovery_lost(self) -> None:
        """What was told last stays in use: links to sources live on without the index."""
        self._owner.reschedule()

    # --- Waiting for a source --------------------------------------------------------------------

    def wait_for_source(self, item: Item, *, answered: bool) -> None:
        self._queue.no_source(item)
        self._record.save_later([item])
        if answered:
            self._record.emit("download.waiting", item)
        self._retries.later(item)

    def gone(self, item: Item) -> None:
        """It is not wanted any more, and not tried again."""
        self._retries.cancel(item)

    def done(self, item: Item) -> None:
        """If it is wanted once more, the first wait for a source is short again."""
        self._retries.forget(item)

    def _source_appeared(self, item: Item) -> None:
        if self._queue.source_appeared(item):
            self._record.save_later([item])
            self._owner.reschedule()

    def _retry(self, item: Item) -> None:
        if item.state is not DownloadState.WAITING:
            return
        self.prospects.look_for_mercy(item.content)
        if self.prospects.usable(item.content):
            self._source_appeared(item)
        else:
            self._retries.later(item)

    # --- Looking ---------------------------------------------------------------------------------

    def retry_in_s(self, item: Item) -> float | None:
        return self._retries.left_s(item)

    def holds_from(self, item: Item, user: str) -> bool:
        """Whether this user is, or was in this run of the daemon, among its sources: what ``@user`` selects by."""
        return user in self._served_by.get(item.id, ())
