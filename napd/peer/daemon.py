"""The peer's facade: all that control, and later a web page, may ask of it. Every method answers with a document."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from attrs import define, field, frozen
from msgspec import structs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from .. import __version__
from ..discovery.interface import Discovery
from ..errors import DiskFailed, Misuse, NapError, NoSuchThing, TimedOut, printable
from ..model import ContentId, DownloadState, PeerId, Priority
from ..net.pacing import Pacer
from ..ops.events import rfc3339
from ..wire import control, documents
from ..wire.index import Result
from .asking import check_extensions, check_words, user_named
from .fetch.downloads import Downloads, Wanted
from .fetch.reading import Reading
from .files.disk import Disk
from .files.journal import Journal
from .item import Item
from .selection import Selected, content_of_prefix, is_numbers, numbers, select
from .serve.uploads import Uploads
from .shares.service import Shares
from .source_views import source_rows
from .sources.pool import SourcePool
from .views import download_documents
from .wishes.service import Wishes

#: Seconds that `get` of a content which no search has shown waits for the index to say who holds it.
LOOK_UP_S = 2.0
#: Linux's limit for one path.
MAX_PATH_BYTES = 4095
#: Results remembered of one search over all its pages.
MAX_REMEMBERED = 100_000


@define
class LastSearch:
    """What result numbers refer to: the last search, by anyone, with all its pages so far."""

    query: control.SearchParams | None = None
    results: list[Result] = field(factory=list)
    by_content: dict[ContentId, Result] = field(factory=dict)

    def take(self, query: control.SearchParams, results: Sequence[Result]) -> int:
        """Remember these; returns the first one's number. A further page of the same search counts on."""
        same = self.query is not None and _without_page(self.query) == _without_page(query)
        if query.page is None or not same or len(self.results) > MAX_REMEMBERED:
            self.results, self.by_content = [], {}
        self.query = query
        first = len(self.results) + 1
        self.results.extend(results)
        self.by_content.update((ContentId(result.content), result) for result in results)
        return first

    def result(self, number: int) -> Result:
        """:raises NoSuchThing: if the last search had no such result."""
        if not 0 < number <= len(self.results):
            had = f"the last search had {len(self.results)}"
            if not self.results:
                had = "there has been no search yet" if self.query is None else "the last search found nothing"
            raise NoSuchThing(f"result {number} does not exist: {had}", "Search again, or give a content id")
        return self.results[number - 1]

    def claim(self, content: ContentId) -> Result | None:
        return self.by_content.get(content)


@frozen
class PeerDaemon:
    """:param now: seconds since 1970. :param run: runs a function on a disk thread."""

    clock: IReactorTime
    now: Callable[[], float]
    started: float
    peer: PeerId
    listen: str
    downloads: Downloads
    uploads: Uploads
    shares: Shares
    wishes: Wishes
    discovery: Discovery
    sources: SourcePool
    journal: Journal
    disk: Disk
    run: Callable[..., Deferred[Any]]
    up: Pacer
    down: Pacer
    last_search: LastSearch = field(factory=LastSearch)

    # --- Search and get --------------------------------------------------------------------------

    async def search(self, query: control.SearchParams) -> documents.SearchDocument:
        check_words(query.query)
        check_extensions(query.ext)
        query = structs.replace(query, user=user_named(query.user))
        started = self.clock.seconds()
        found = await self.discovery.search(query)
        first = self.last_search.take(query, found.results)
        took = (self.clock.seconds() - started) * 1000
        results = [
            documents.SearchResult(
                n=first + place,
                content=result.content,
                name=result.name,
                folder=result.folder,
                size=result.size,
                sources=result.sources,
                users=result.users,
                type=result.type,
                media=result.media,
                names=result.names,
            )
            for place, result in enumerate(found.results)
        ]
        reason = None if found.reason is None else printable(found.reason)
        return documents.SearchDocument(query.query, results, found.truncated, found.next, round(took, 3), reason)

    async def get(self, params: control.GetParams) -> documents.DownloadsDocument | documents.PartlyDocument:
        wanted, errors = self._wanted(params.results)
        if params.name is not None and (len(wanted) > 1 or "/" in params.name or params.name in ("", ".", "..")):
            raise Misuse(f"--name {params.name!r} does not fit", "Give one result and a plain file name")
        if params.to is not None:
            if not os.path.isabs(params.to) or "\0" in params.to or len(os.fsencode(params.to)) > MAX_PATH_BYTES:
                raise Misuse(f"--to {printable(params.to)!r} is not an absolute path")
            await self._make_directory(params.to)
        items = await self.downloads.get(
            wanted, priority=params.priority, directory=params.to, name=params.name, sequential=params.sequential
        )
        unknown = [item for item in items if self.last_search.claim(item.content) is None and not item.state.ended]
        if unknown:
            answered = self.downloads.answered(unknown)
            answered.addTimeout(LOOK_UP_S, self.clock)
            try:
                await answered
            except DeferredTimeout:
                pass
        return self._downloads(items, errors)

    def _wanted(self, arguments: Iterable[str]) -> tuple[list[Wanted], list[documents.PartError]]:
        """What RESULT arguments name; :raises NapError: if none of them names anything."""
        wanted: dict[ContentId, Wanted] = {}
        errors: list[documents.PartError] = []
        first: NapError | None = None
        for argument in arguments:
            for subject, look_up in self._subjects(argument):
                try:
                    found = look_up()
                    wanted.setdefault(found.content, found)
                except NapError as error:
                    first = first or error
                    errors.append(documents.PartError(subject, error.code, error.message))
        if first is not None and not wanted:
            raise first
        return list(wanted.values()), errors

    def _subjects(self, argument: str) -> list[tuple[str, Callable[[], Wanted]]]:
        if is_numbers(argument):
            return [(str(n), lambda n=n: _of_result(self.last_search.result(n))) for n in numbers(argument)]  # type: ignore[misc]
        return [(argument, lambda: self._of_content(argument))]

    def _of_content(self, text: str) -> Wanted:
        content = content_of_prefix(text, self._known_contents())
        claim = self.last_search.claim(content)
        if claim is not None:
            return _of_result(claim)
        find = self.wishes.recent.get(content)
        if find is not None:
            return Wanted(content, find.name, find.size)
        return Wanted(content, content, None)

    def _known_contents(self) -> Iterator[ContentId]:
        """What a prefix may mean: walked through only when there is one to resolve."""
        yield from self.last_search.by_content
        yield from self.wishes.recent
        for item in self.downloads.queue:
            yield item.content

    async def _make_directory(self, path: str) -> None:
        try:
            await self.run(self.disk.make_directory, path)
        except DiskFailed as error:
            raise Misuse(f"--to: {error.message}", "Give a directory that can be written") from error

    # --- Queue -----------------------------------------------------------------------------------

    def select(self, selectors: Sequence[str]) -> Selected:
        return select(self.downloads.queue, selectors, self.downloads.holds_from)

    async def queue(self, selectors: Sequence[str]) -> documents.DownloadsDocument | documents.PartlyDocument:
        if not selectors:
            return self._downloads(list(self.downloads.queue), [])
        chosen = self.select(selectors)
        return self._downloads(chosen.items, chosen.errors)

    async def pause(self, selectors: Sequence[str]) -> Any:
        return await self._change(selectors, self.downloads.pause)

    async def resume(self, selectors: Sequence[str]) -> Any:
        return await self._change(selectors, self.downloads.resume)

    async def retry(self, selectors: Sequence[str]) -> Any:
        return await self._change(selectors, self.downloads.retry)

    async def cancel(self, selectors: Sequence[str]) -> Any:
        return await self._change(selectors, self.downloads.cancel)

    async def prioritise(self, selectors: Sequence[str], priority: Priority) -> Any:
        return await self._change(selectors, lambda items: self.downloads.prioritise(items, priority))

    async def move(self, selectors: Sequence[str], to: str) -> Any:
        return await self._change(selectors, lambda items: self.downloads.move(items, to))

    async def clear(self) -> documents.DownloadsDocument:
        ended = [item for item in self.downloads.queue if item.state.ended]
        shown = download_documents(self.downloads, ended, self.now())
        await self.downloads.clear()
        return documents.DownloadsDocument(shown)

    async def _change(self, selectors: Sequence[str], act: Callable[[list[Item]], Any]) -> Any:
        chosen = self.select(selectors)
        await act(chosen.items)
        return self._downloads(chosen.items, chosen.errors)

    def _downloads(
        self, items: Sequence[Item], errors: list[documents.PartError]
    ) -> documents.DownloadsDocument | documents.PartlyDocument:
        shown = download_documents(self.downloads, items, self.now())
        return documents.PartlyDocument(shown, errors) if errors else documents.DownloadsDocument(shown)

    def ended(self, items: Sequence[Item]) -> Deferred[None]:
        """Fires when all of these have ended; may be cancelled."""
        done: Deferred[None] = Deferred(lambda _: forget())

        left = list(reversed(items))

        def look() -> None:
            while left and left[-1].state.ended:
                left.pop()
            if not left and not done.called:
                forget()
                done.callback(None)

        forget = self.downloads.watch(look)
        look()
        return done

    async def wait(self, params: control.WaitParams, gone: Deferred[None]) -> Any:
        """:raises TimedOut: they have not all ended in time."""
        chosen = self.select(params.selectors)
        done = self.ended(chosen.items)
        # Cancelled below, when the wait is over before the caller goes.
        gone.addCallbacks(lambda _: done.cancel(), lambda failure: failure.trap(CancelledError))
        if params.timeout_s is not None:
            done.addTimeout(params.timeout_s, self.clock)
        try:
            await done
        except DeferredTimeout as error:
            left = sum(not item.state.ended for item in chosen.items)
            raise TimedOut(
                f"{left} of {len(chosen.items)} downloads had not ended after {params.timeout_s:g} s",
                "They go on: napctl queue",
            ) from error
        finally:
            gone.cancel()
        return self._downloads(chosen.items, chosen.errors)

    def sources_of(self, number: int) -> documents.SourcesDocument:
        item = self.downloads.queue.get(number)
        return documents.SourcesDocument(number, source_rows(self.downloads, self.sources, item, self.clock.seconds()))

    async def read(self, number: int, offset: int) -> Reading:
        """A reader of this download's bytes as they are verified; from now on they come in order."""
        item = self.downloads.queue.get(number)
        await self.downloads.stream(item)
        return Reading(self.downloads, self.disk, self.run, item, offset)

    # --- The daemon ------------------------------------------------------------------------------

    def status(self) -> documents.StatusDocument:
        link = self.discovery.status()
        counts = self.downloads.queue.counts()
        return documents.StatusDocument(
            user=self.discovery.identity().user,
            peer=self.peer,
            version=__version__,
            index=documents.IndexLink(
                state=link.state.value,
                address=link.address,
                since=None if link.since is None else rfc3339(link.since),
                error=link.error,
            ),
            shares=self.shares.totals(),
            downloads=documents.DownloadTotals(
                active=counts[DownloadState.ACTIVE],
                queued=counts[DownloadState.QUEUED],
                waiting=counts[DownloadState.WAITING],
                paused=counts[DownloadState.PAUSED],
                failed=counts[DownloadState.FAILED],
            ),
            uploads=self.uploads.totals(),
            rates=documents.Rates(
                down_bytes_per_s=round(self.downloads.bytes_per_s(), 1),
                up_bytes_per_s=round(self.uploads.bytes_per_s(), 1),
            ),
            listen=self.listen,
            reachable=self.discovery.reachable(),
            uptime_s=round(self.now() - self.started, 1),
        )

    def whoami(self) -> documents.WhoamiDocument:
        identity = self.discovery.identity()
        return documents.WhoamiDocument(identity.user, self.peer, identity.index, list(identity.groups))

    async def users(self, words: str) -> documents.UsersDocument:
        check_words(words)
        rows = await self.discovery.users(words)
        return documents.UsersDocument(
            [documents.UserRow(row.user, row.peer, row.listings, row.bytes, rfc3339(row.since)) for row in rows]
        )

    async def limit(self, params: control.LimitParams) -> documents.LimitDocument:
        """Take over what is given, at once and for good; a rate of 0 lifts the limit."""
        given = {"up": params.up, "down": params.down, "slots": params.slots, "downloads": params.downloads}
        if settings := {name: repr(value) for name, value in given.items() if value is not None}:
            await self.journal.set(settings)
        if params.up is not None:
            self.up.set_rate(params.up or None)
        if params.down is not None:
            self.down.set_rate(params.down or None)
        if params.slots is not None:
            self.uploads.turns.set_limit(params.slots)
        if params.downloads is not None:
            self.downloads.set_limit(params.downloads)
        return documents.LimitDocument(self.up.rate, self.down.rate, self.uploads.turns.limit, self.downloads.limit)


def _of_result(result: Result) -> Wanted:
    return Wanted(ContentId(result.content), result.name, result.size)


def _without_page(query: control.SearchParams) -> tuple[Any, ...]:
    return (
        query.query,
        query.ext,
        query.type,
        query.min_size,
        query.max_size,
        query.min_bitrate,
        query.user,
        query.sort,
    )
