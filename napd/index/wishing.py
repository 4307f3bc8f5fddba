"""Wishes: searches that stand. What is announced is compared with them, and told to those whose wishes it meets.

::

    announced ─→ backlog ─a few at a time→ standing queries that it may match ─exact look→ batch of the query
    a second after the first of a batch: each wisher is told what he may see of it, a few at a time

Both loops give the reactor its turn, whatever is wished for. What is not for everyone goes into a batch of each wisher
who may see it, so it changes nothing for the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

from attrs import define, field
from pyroaring import BitMap
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from ..wire import index as wire
from .claims import Among, found
from .items import Asker
from .presence import Presence
from .query import Query
from .search import Found, SearchEngine
from .standing import Standing, StandingQueries
from .table import ItemTable, Row

#: Seconds from the first match of a wish until it is told, with what else came meanwhile.
BATCH_S = 1.0
#: Items looked up, or compared with a query, before the reactor gets its turn: some 5 ms.
STEPS = 200
#: Results told before it does; each costs some 50 µs.
RESULTS = 50
#: Announced items that wait to be compared, from which on those who announce more have to wait.
MAX_BACKLOG = 20_000


class Wisher(Protocol):
    """A session that has wishes."""

    @property
    def asker(self) -> Asker: ...

    def tell_wished(self, number: int, results: Sequence[Found], *, more: bool) -> None: ...


@define(eq=False)
class _Wish:
    """:param since: the number of the last announcement before it."""

    wisher: Wisher
    number: int
    since: int
    held: bool = True


_Standing = Standing[_Wish]


@define(eq=False)
class _Batch:
    """Contents that match one query and are not told yet, each with the number of the announcement.

    :param wishes: whom it is told, as they are by then.
    """

    query: Query
    wishes: Iterable[_Wish]
    contents: dict[int, int] = field(factory=dict)
    more: bool = False


class Wishing:
    """
    :param fault: told of what failed that never should: what it was about, and why.
    :ivar looks: how often an item was compared with a query.
    """

    def __init__(
        self,
        clock: IReactorTime,
        table: ItemTable,
        presence: Presence,
        engine: SearchEngine,
        fault: Callable[[str, Failure], None],
    ) -> None:
        self._clock = clock
        self._fault = fault
        self._table = table
        self._presence = presence
        self._wishes: dict[Wisher, dict[int, tuple[_Wish, _Standing]]] = {}
        self._standing: StandingQueries[_Wish] = StandingQueries(engine.frequency)
        #: Announced items with who announced them, whether nobody offered them before, and the announcement's number.
        self._backlog: deque[tuple[int, str, bool, int]] = deque()
        self._announcements = 0
        self._matching: Iterator[None] = iter(())
        #: By whose they are: a query that stands, or a wish, of what is not for everyone.
        self._batches: dict[_Standing | _Wish, _Batch] = {}
        self._due: deque[tuple[float, _Standing | _Wish]] = deque()
        self._telling: Iterator[int] = iter(())
        self._waiting: list[Deferred[None]] = []
        self._match_call: IDelayedCall | None = None
        self._tell_call: IDelayedCall | None = None
        self.looks = 0

    # --- Whose wishes there are ------------------------------------------------------------------

    def held_by(self, wisher: Wisher) -> int:
        return len(self._wishes.get(wisher, ()))

    def hold(self, wisher: Wisher, number: int, query: Query) -> bool:
        """One of the same number is replaced. False: too many others are of the same kind, so it is not held."""
        self.drop(wisher, (number,))
        wish = _Wish(wisher, number, self._announcements)
        standing = self._standing.add(query, wish)
        if standing is None:
            return False
        self._wishes.setdefault(wisher, {})[number] = wish, standing
        return True

    def drop(self, wisher: Wisher, numbers: Iterable[int]) -> None:
        mine = self._wishes.get(wisher, {})
        for number in numbers:
            if number in mine:
                wish, standing = mine.pop(number)
                wish.held = False
                self._standing.remove(standing, wish)
        if not mine:
            self._wishes.pop(wisher, None)

    def leave(self, wisher: Wisher) -> None:
        """The session is over."""
        self.drop(wisher, list(self._wishes.get(wisher, ())))

    def __len__(self) -> int:
        return sum(len(wishes) for wishes in self._wishes.values())

    # --- What is announced -----------------------------------------------------------------------

    def announced(self, user: str, items: Iterable[int], unseen: BitMap) -> None:
        """A user offers these from now on; `unseen` are those of them that nobody offered to everyone before."""
        self._announcements += 1
        if len(self._standing):
            self._backlog.extend((item, user, item in unseen, self._announcements) for item in items)
            self._schedule_matching()

    def room(self) -> Deferred[None]:
        """Fires when more may be announced."""
        room: Deferred[None] = Deferred()
        if len(self._backlog) < MAX_BACKLOG:
            room.callback(None)
        else:
            self._waiting.append(room)
        return room

    def stop(self) -> None:
        for call in (self._match_call, self._tell_call):
            if call is not None:
                call.cancel()
        self._match_call = self._tell_call = None

    def _schedule_matching(self) -> None:
        if self._match_call is None:
            self._match_call = self._clock.callLater(0, self._match)

    def _match(self) -> None:
        self._match_call = None
        steps = 0
        try:
            steps = sum(1 for _ in islice(self._matching, STEPS))
        except Exception:
            # Those who wait to announce must not wait for ever.
            self._fault("wishing", Failure())
        if steps < STEPS:
            self._matching = self._steps()
        if steps == STEPS or self._backlog:
            self._schedule_matching()
        if len(self._backlog) < MAX_BACKLOG:
            waiting, self._waiting = self._waiting, []
            for room in waiting:
                room.callback(None)

    def _steps(self) -> Iterator[None]:
        while self._backlog:
            item, user, unseen, announcement = self._backlog.popleft()
            yield
            row = self._table.get(item)
            if row is None:
                continue
            for standing in self._standing.candidates(row, user, unseen=unseen or row.audience is not None):
                self.looks += 1
                yield
                if standing.query.fits(row):
                    yield from self._note_match(standing, row, announcement)

    def _note_match(self, standing: _Standing, row: Row, announcement: int) -> Iterator[None]:
        if row.audience is None:
            self._note(standing, standing.query, standing.owners, row.content, announcement)
            return
        for wish in list(standing.owners):
            yield
            if wish.wisher.asker.may_see(row.audience):
                self._note(wish, standing.query, (wish,), row.content, announcement)

    def _note(
        self, of: _Standing | _Wish, query: Query, wishes: Iterable[_Wish], content: int, announcement: int
    ) -> None:
        batch = self._batches.get(of)
        if batch is None:
            batch = self._batches[of] = _Batch(query, wishes)
            self._due_later(of)
        if content in batch.contents or len(batch.contents) < wire.MAX_WISHED:
            batch.contents[content] = announcement
        else:
            batch.more = True

    # --- What is told ----------------------------------------------------------------------------

    def _due_later(self, of: _Standing | _Wish) -> None:
        self._due.append((self._clock.seconds() + BATCH_S, of))
        self._schedule_telling(BATCH_S)

    def _schedule_telling(self, delay_s: float) -> None:
        if self._tell_call is None:
            self._tell_call = self._clock.callLater(delay_s, self._tell)

    def _tell(self) -> None:
        self._tell_call = None
        results = 0
        for told in self._telling:
            results += told
            if results >= RESULTS:
                self._schedule_telling(0)
                return
        now = self._clock.seconds()
        if self._due and self._due[0][0] <= now:
            self._telling = self._told()
            self._schedule_telling(0)
        elif self._due:
            self._schedule_telling(self._due[0][0] - now)

    def _told(self) -> Iterator[int]:
        """Tell what is due by now: how many results each wish costs. What comes meanwhile goes into another batch."""
        until = self._clock.seconds()
        while self._due and self._due[0][0] <= until:
            _, of = self._due.popleft()
            batch = self._batches[of]
            contents, batch.contents = batch.contents, {}
            more, batch.more = batch.more, False
            for wish in list(batch.wishes):
                try:
                    self._tell_wish(wish, batch.query, contents, more=more)
                except Exception:
                    # The others are told all the same.
                    self._fault("wishing", Failure())
                yield 1 + len(contents)
            if batch.contents:
                self._due_later(of)
            else:
                del self._batches[of]

    def _tell_wish(self, wish: _Wish, query: Query, contents: dict[int, int], *, more: bool) -> None:
        if not wish.held:
            return
        asker = wish.wisher.asker
        results = [
            result
            for content, announcement in contents.items()
            if announcement > wish.since and (result := self._result(content, query, asker)) is not None
        ]
        if results:
            wish.wisher.tell_wished(wish.number, results, more=more)

    def _result(self, content: int, query: Query, asker: Asker) -> Found | None:
        """As a search would find it now; None if it would not."""
        own = self._presence.get(asker.number)
        if own is not None and self._presence.holds(own, content):
            return None
        items = self._presence.items_for(content, asker)
        if query.users is not None:
            named = (self._presence.by_user(user) for user in query.users)
            items = items & BitMap.union(BitMap(), *(online.items for online in named if online is not None))
        matching = Among(items, query.fits)
        if not matching.of(items, self._table):
            return None
        results = found(self._table, self._presence, (content,), asker, matching)
        return results[0] if results else None
