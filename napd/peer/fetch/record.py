"""The queue and its journal, kept in step: what is reported is written down, and those who watch hear of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ...errors import NapError
from ...model import DownloadState
from ...ops.events import Events
from ..files.journal import Done, Journal
from ..item import Item
from ..queue import Queue


class Record:
    """:param now: seconds since 1970."""

    def __init__(self, *, queue: Queue, journal: Journal, events: Events, now: Callable[[], float]) -> None:
        self.queue = queue
        self.journal = journal
        self.now = now
        self._events = events
        self._watchers: list[Callable[[], None]] = []
        # Those whose last change could not be written down: the next save takes them along.
        self._unsaved: dict[int, Item] = {}
        # Those whose file is published and whose end is being journalled.
        self._concluding: dict[int, Done] = {}

    # --- Written down ----------------------------------------------------------------------------

    def save(self, items: Sequence[Item], next_id: int | None = None) -> Deferred[None]:
        """Journal these as they are; one that is being journalled as done stays done."""
        late = self._take_along(items)
        written = self.journal.save([self._as_concluded(item) for item in (*items, *late)], next_id)
        written.addCallback(lambda _: self._caught_up(late))
        cancelled = [item for item in late if item.state is DownloadState.CANCELLED]
        if cancelled:
            # After the save: should this fail once more, they are unsaved again.
            self.forget_chunks_later(cancelled)
        return written

    def save_later(self, items: Sequence[Item]) -> None:
        """The same, when nobody waits for it: it goes on in memory, and the next save takes it along."""
        self._go_on(items, self.save(items))

    def forget_chunks_later(self, items: Sequence[Item]) -> None:
        """These are cancelled; what was kept of their chunks is of no use any more. Nobody waits for it."""
        self._go_on(items, self.journal.ended(items))

    def _go_on(self, items: Sequence[Item], written: Deferred[None]) -> None:
        def failed(failure: Failure) -> None:
            if failure.check(NapError) is None:
                self._events.fault("journalling the queue", failure)
                return
            self._unsaved.update((item.id, item) for item in items)
            self._events.emit("queue.unsaved", downloads=len(self._unsaved), error=failure.getErrorMessage())

        written.addErrback(failed)

    def _take_along(self, items: Sequence[Item]) -> list[Item]:
        if not self._unsaved:
            return []
        saved = {item.id for item in items}
        listed = [item for item in self._unsaved.values() if self.queue.of_content(item.content) is item]
        return [item for item in listed if item.id not in saved]

    def _caught_up(self, late: Sequence[Item]) -> None:
        for item in late:
            self._unsaved.pop(item.id, None)

    async def conclude(self, published: Iterable[tuple[Item, str]], now: float) -> None:
        """Journal these as done at this time, under these paths.

        Journalled first, then done (`Queue.finish`): what is reported done stays done, whatever was asked meanwhile.

        :raises NapError: nothing of it is written down.
        """
        done = [
            (item, Done(path, item.bytes_done if item.size is None else item.size, now)) for item, path in published
        ]
        self._concluding.update((item.id, end) for item, end in done)
        try:
            await self.journal.done(done)
        finally:
            for item, _ in done:
                del self._concluding[item.id]

    def _as_concluded(self, item: Item) -> Item:
        end = self._concluding.get(item.id)
        if end is None:
            return item
        return evolve(item, state=DownloadState.DONE, path=end.path, error=None, finished=end.at, bytes_done=end.size)

    # --- Said ------------------------------------------------------------------------------------

    def emit(self, event: str, item: Item, message: str | None = None, **fields: Any) -> None:
        self._events.emit(event, message, download=item.id, transfer=item.transfer, **fields)

    def watch(self, told: Callable[[], None]) -> Callable[[], None]:
        """Call `told` after every change of a state; the returned function ends that."""
        self._watchers.append(told)
        return lambda: self._watchers.remove(told)

    def tell_watchers(self) -> None:
        for told in list(self._watchers):
            told()
