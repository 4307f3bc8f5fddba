"""Wishes as the daemon has them: kept, told to the index, searched for, and each thing that is found told once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Protocol

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime

from ...background import Background
from ...discovery.interface import Discovery
from ...errors import Misuse, NapError, NoSuchThing
from ...model import ContentId, Priority
from ...ops.events import Events, rfc3339
from ...wire import documents
from ...wire.control import WishAddParams
from ...wire.index import Result
from ..fetch.downloads import Wanted
from ..item import Item
from .rounds import Rounds
from .selecting import select
from .store import WishStore
from .wish import Find, Query, Wish

#: Wishes of a peer; an index holds as many of a session unless it is told otherwise.
MAX_WISHES = 200
#: Downloads that one wish may queue in `DAY_S`: a wish for `e*` must not fill the disk before somebody looks.
MAX_QUEUED = 100
DAY_S = 86_400.0
#: Seconds until a wish that the index holds is searched for again, for what comes back without being announced.
HELD_AGAIN_S = 3600.0
#: The same for one that it does not hold, or whose search failed.
SEARCHED_AGAIN_S = 900.0
#: Answers about wishes that may wait to be written down; what is beyond is found by a search.
MAX_WAITING = 200
#: Finds whose content ids `get` takes a prefix of.
MAX_RECENT = 1000


class Downloads(Protocol):
    """What is needed of `peer.fetch.downloads`."""

    async def get(
        self, wanted: Sequence[Wanted], *, priority: Priority | None, directory: str | None, name: str | None
    ) -> list[Item]: ...


class Wishes:
    """Implements `discovery.interface.Wisher`.

    :param now: seconds since 1970.
    """

    def __init__(
        self,
        *,
        clock: IReactorTime,
        now: Callable[[], float],
        rng: Random,
        store: WishStore,
        discovery: Discovery,
        downloads: Downloads,
        events: Events,
        background: Background,
    ) -> None:
        self._now = now
        self._store = store
        self._discovery = discovery
        self._downloads = downloads
        self._events = events
        self._background = background
        self._rounds = Rounds(clock, rng, background, self._search_again)
        self._wishes: dict[int, Wish] = {}
        self._recent: dict[ContentId, Find] = {}
        self._held: set[int] = set()
        self._refused: dict[int, Misuse] = {}
        self._beginning: set[int] = set()
        self._online = False
        self._adding = DeferredLock()
        self._taking = DeferredLock()

    # --- Life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Before discovery starts."""
        for wish in self._store.load():
            self._wishes[wish.id] = wish
            self._discovery.wish(wish.id, wish.query.search())
        self._background.start("reading what was found for wishes", self._recall())

    async def stop(self) -> None:
        """Discovery has stopped. What it has told of is kept, and told, when this returns."""
        self.wishes_closed()
        await self._taking.acquire()
        await self._store.close()

    # --- Commands --------------------------------------------------------------------------------

    async def add(self, params: WishAddParams) -> documents.WishesDocument:
        """What is there already is found when this returns, if the index can be asked.

        :raises Misuse: the index cannot make sense of it; nothing is kept then.
        """
        query = Query.of(params)
        await self._adding.acquire()
        try:
            return documents.WishesDocument([self._row(await self._add(query, params.get))])
        finally:
            self._adding.release()

    async def _add(self, query: Query, get: bool) -> Wish:
        known = next((wish for wish in self._wishes.values() if wish.query == query), None)
        if known is None and len(self._wishes) >= MAX_WISHES:
            raise NapError(f"there are {MAX_WISHES} wishes, and no more can be", "Remove some: napctl wish", "limit")
        kept = await self._store.add(query, get, self._now())
        wish = self._wishes.setdefault(kept.id, kept)
        wish.get = kept.get
        if known is None:
            await self._begin(wish)
        return wish

    async def remove(self, selectors: Sequence[str]) -> documents.WishesDocument | documents.PartlyWishesDocument:
        """The wishes that are left. :raises NapError: if none of the selectors names any."""
        numbers, errors = select(selectors, self._wishes)
        await self._forget(numbers)
        left = self._rows()
        return documents.PartlyWishesDocument(left, errors) if errors else documents.WishesDocument(left)

    def wishes(self) -> documents.WishesDocument:
        return documents.WishesDocument(self._rows())

    async def found(self, selectors: Sequence[str], limit: int) -> documents.FindsDocument:
        """:raises NoSuchThing: one of the wishes does not exist."""
        numbers, errors = select(selectors or ("all",), self._wishes)
        if errors:
            raise NoSuchThing(errors[0].message, "List them: napctl wish")
        finds = await self._store.finds(numbers, limit)
        return documents.FindsDocument(
            [documents.FindRow(f.wish, f.content, f.name, f.size, rfc3339(f.at), f.download) for f in finds]
        )

    @property
    def recent(self) -> Mapping[ContentId, Find]:
        """The latest finds of all wishes, as far as they are in memory."""
        return self._recent

    # --- Wisher ----------------------------------------------------------------------------------

    def wishes_open(self, held: frozenset[int], searches_per_s: float) -> None:
        self._online = True
        self._held = set(held)
        self._refused.clear()
        self._rounds.open(self._wishes, searches_per_s)

    def wishes_closed(self) -> None:
        self._online = False
        self._held.clear()
        self._rounds.close()

    def wish_met(self, wish: int, results: Sequence[Result], more: bool) -> None:
        if wish not in self._wishes:
            return
        if len(self._taking.waiting) >= MAX_WAITING:
            more = True
        elif results:
            self._background.start("keeping what was wished for", self._take(wish, results))
        if more:
            self._rounds.ask(wish)

    def wish_refused(self, wish: int, why: NapError) -> None:
        self._held.discard(wish)
        if wish in self._beginning:
            # Its search is refused as well, which is the command's answer.
            return
        if isinstance(why, Misuse):
            self._refuse(wish, why)
        else:
            self._rounds.ask(wish, SEARCHED_AGAIN_S)

    # --- Searching -------------------------------------------------------------------------------

    async def _begin(self, wish: Wish) -> None:
        """Told of from now on, before what is there is searched for: nothing falls between."""
        self._beginning.add(wish.id)
        if self._discovery.wish(wish.id, wish.query.search()):
            self._held.add(wish.id)
        try:
            await self._search(wish)
        except Misuse:
            await self._forget([wish.id])
            raise
        except NapError:
            self._rounds.ask(wish.id)
        finally:
            self._beginning.discard(wish.id)

    async def _search_again(self, number: int) -> None:
        wish = self._wishes.get(number)
        if wish is None or number in self._refused:
            return
        try:
            await self._search(wish)
        except Misuse as error:
            self._refuse(number, error)
        except NapError:
            self._rounds.ask(number, SEARCHED_AGAIN_S)

    async def _search(self, wish: Wish) -> None:
        """:raises Misuse: the index cannot make sense of it. :raises NapError: it cannot be asked now."""
        found = await self._discovery.search(wish.query.search())
        if found.reason is not None:
            raise Misuse(f"nothing can match {wish.query.query!r}: {found.reason}")
        self._rounds.ask(wish.id, HELD_AGAIN_S if wish.id in self._held else SEARCHED_AGAIN_S)
        await self._take(wish.id, found.results)

    def _refuse(self, number: int, why: Misuse) -> None:
        wish = self._wishes.get(number)
        self._rounds.forget(number)
        if wish is not None and number not in self._refused:
            self._refused[number] = why
            self._events.emit("wish.refused", wish=number, query=wish.query.query, error=why.message)

    # --- Finding ---------------------------------------------------------------------------------

    async def _take(self, number: int, results: Sequence[Result]) -> None:
        """One after another, so that no two are about to tell the same."""
        await self._taking.acquire()
        try:
            await self._tell_new(number, {ContentId(result.content): result for result in results})
        except NapError as error:
            self._events.emit("wish.unsaved", wish=number, error=str(error))
            self._rounds.ask(number, SEARCHED_AGAIN_S)
        finally:
            self._taking.release()

    async def _tell_new(self, number: int, results: Mapping[ContentId, Result]) -> None:
        unknown = await self._store.unknown(number, list(results))
        new = [content for content in results if content in unknown]
        wish = self._wishes.get(number)
        if wish is None or not new:
            return
        downloads = await self._queue(wish, [results[content] for content in new]) if wish.get else {}
        at = self._now()
        finds = [
            Find(number, content, results[content].name, results[content].size, at, downloads.get(content))
            for content in new
        ]
        for find in await self._store.keep(finds):
            wish.found += 1
            wish.last = at
            self._remember(find)
            self._tell(wish, find, results[find.content])

    def _tell(self, wish: Wish, find: Find, result: Result) -> None:
        self._events.emit(
            "wish.found",
            f"Wish {wish.id} ({wish.query.query}): {find.name}",
            wish=wish.id,
            query=wish.query.query,
            content=find.content,
            name=find.name,
            size=find.size,
            users=list(result.users),
            download=find.download,
        )

    async def _queue(self, wish: Wish, results: Sequence[Result]) -> dict[ContentId, int]:
        """The downloads of those that could be queued.

        Before they are remembered: after a crash in between they are found, and queued, again.
        """
        room = MAX_QUEUED - await self._store.queued_since(wish.id, self._now() - DAY_S)
        chosen = results[: max(0, room)]
        if len(chosen) < len(results):
            said = (
                f"Wish {wish.id} has queued {MAX_QUEUED} downloads within a day: what else it finds is told, "
                f"and can be queued from: napctl wish found {wish.id}"
            )
            self._events.emit("limit.hit", said, limit="wishes.downloads")
        if not chosen:
            return {}
        wanted = [Wanted(ContentId(result.content), result.name, result.size) for result in chosen]
        items = await self._downloads.get(wanted, priority=None, directory=None, name=None)
        return {item.content: item.id for item in items}

    # --- Small change ----------------------------------------------------------------------------

    async def _recall(self) -> None:
        try:
            for find in await self._store.finds(list(self._wishes), MAX_RECENT):
                self._remember(find)
        except NapError as error:
            self._events.emit("wish.unsaved", "What was found for wishes cannot be read.", error=str(error))

    def _remember(self, find: Find) -> None:
        self._recent.pop(find.content, None)
        self._recent[find.content] = find
        if len(self._recent) > MAX_RECENT:
            del self._recent[next(iter(self._recent))]

    async def _forget(self, numbers: Sequence[int]) -> None:
        await self._store.remove(numbers)
        self._discovery.unwish(numbers)
        for number in numbers:
            self._wishes.pop(number, None)
            self._held.discard(number)
            self._refused.pop(number, None)
            self._rounds.forget(number)

    def _rows(self) -> list[documents.WishRow]:
        return [self._row(wish) for wish in self._wishes.values()]

    def _row(self, wish: Wish) -> documents.WishRow:
        query, refused = wish.query, self._refused.get(wish.id)
        return documents.WishRow(
            id=wish.id,
            query=query.query,
            get=wish.get,
            added=rfc3339(wish.added),
            found=wish.found,
            last=None if wish.last is None else rfc3339(wish.last),
            state=self._state(wish.id),
            error=None if refused is None else documents.Problem(refused.code, refused.message),
            ext=query.ext,
            type=query.type,
            min_size=query.min_size,
            max_size=query.max_size,
            min_bitrate=query.min_bitrate,
            user=query.user,
        )

    def _state(self, number: int) -> str:
        if number in self._refused:
            return "refused"
        if not self._online:
            return "offline"
        return "standing" if number in self._held else "searched"
