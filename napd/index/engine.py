"""The search engine: bitmaps of terms, walked from the best-held band of items down, so that common words end early."""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection, Iterable, Iterator, Sequence
from heapq import nsmallest
from itertools import islice

from attrs import define
from pyroaring import BitMap

from .claims import Among, found, shown
from .filters import Filters
from .items import Asker, Item
from .order import FREE_SLOT_POINTS, Cursor, Place, name_key, source_points, text_points, write_cursor
from .postings import Postings, by_term
from .presence import Presence
from .query import Piece, Query
from .search import Page, Wanted
from .snapshot import Restored, parts_of
from .snapshot_file import Part
from .table import ItemTable, Row
from .words import searchable

#: Matching items that one search looks at, at most: some 10 ms.
MAX_EXAMINED = 5_000
#: Contents that may be on the page after which no less popular band is looked at.
ENOUGH = 1_000


@define
class _Placed:
    """Contents that match, by number, with their places; `cut`: not everything was looked at."""

    places: dict[int, Place]
    cut: bool
    among: Among


class _Judge:
    """What bitmaps cannot tell of an item, and where its content stands among the results of one search."""

    def __init__(self, table: ItemTable, presence: Presence, wanted: Wanted, asker: Asker) -> None:
        self._table = table
        self._presence = presence
        self._wanted = wanted
        self._asker = asker
        self._own = presence.get(asker.number)
        self._needed = [choice for choice in wanted.query.wanted if not choice.decided()]
        # Words alone are left out by bitmaps.
        self._barred = [piece.pattern for piece in wanted.query.excluded if not piece.decided]
        self._choosy = wanted.query.attributes.anything() or bool(self._barred)
        #: Of each content that matches, what its best matching name is worth.
        self._points: dict[int, int] = {}

    def examine(self, items: Iterable[int]) -> Collection[int]:
        """Contents of those items that do match."""
        row_of, text_of, content_of = self._table.row, self._table.text, self._table.content.one
        points, query = self._points, self._wanted.query
        by_words = self._wanted.sort == "best"
        looks = self._choosy or bool(self._needed)
        contents: set[int] = set()
        for item in items:
            if looks and not self.fits(row_of(item)):
                continue
            content = content_of[item]
            contents.add(content)
            if by_words:
                worth = text_points(query, text_of(item))
                if worth > points.get(content, -1):
                    points[content] = worth
        return contents

    def fits(self, row: Row) -> bool:
        """Whether an item that the bitmaps let through is what is wanted."""
        return all(choice.found_in(row.text) for choice in self._needed) and (not self._choosy or self._acceptable(row))

    def place(self, number: int, among: Among) -> Place | None:
        """None if it is no result after all: the asker has it."""
        sort = self._wanted.sort
        if self._own is not None and self._presence.holds(self._own, number):
            return None
        content = self._table.content_id(number)
        if sort in ("size", "name"):
            seen = shown(self._table, self._presence, number, self._asker, among)
            if seen is None:
                return None
            if sort == "size":
                return -seen.size, content
            if sort == "name":
                return name_key(seen.name), content
        sources = self._presence.count_for(number, self._asker)
        return -(sources if sort == "sources" else self._points[number] + source_points(sources)), content

    def _acceptable(self, row: Row) -> bool:
        return self._wanted.query.attributes.met_by(row.name, row.size, row.media) and not any(
            pattern in row.text for pattern in self._barred
        )


class MemoryEngine:
    """:param max_examined: and `enough` bound the work of a search (the constants of the same names)."""

    def __init__(
        self, table: ItemTable, presence: Presence, max_examined: int = MAX_EXAMINED, enough: int = ENOUGH
    ) -> None:
        self._table = table
        self._presence = presence
        self._max_examined = max_examined
        self._enough = enough
        self._postings = Postings()
        self._filters = Filters()

    def learn(self, items: Iterable[Item]) -> None:
        items = list(items)
        new = self._table.learn_all(items)
        self._postings.add_all(by_term(new))
        self._filters.add(item for item in items if item.id in new)

    def forget(self, items: Iterable[int]) -> None:
        for _ in self.forget_each(items):
            pass

    def forget_each(self, items: Iterable[int]) -> Iterator[int]:
        for item, row in self._table.forget(items):
            self._postings.remove(item, searchable(row.folder, row.name).terms)
            self._filters.remove(item, row.name, row.size, row.media)
            yield item

    def parts(self) -> Iterator[Part]:
        """All that is known, as a snapshot; learning and forgetting may go on while it is asked for."""
        return parts_of(self._table, self._postings, self._filters)

    def take(self, found: Restored) -> None:
        """Know what a snapshot had in it. Nothing has been learned yet."""
        self._table.become(found.table)
        self._postings, self._filters = found.postings, found.filters

    def search(self, wanted: Wanted, asker: Asker) -> Page:
        if wanted.query.impossible is not None:
            return Page((), truncated=False, next=None, reason=wanted.query.impossible)
        placed = self._place(wanted, asker)
        first = self._first(placed.places, wanted, asker)
        results = [
            result
            for _, number in first[: wanted.limit]
            if (result := found(self._table, self._presence, number, asker, placed.among)) is not None
        ]
        more = len(first) > wanted.limit
        return Page(
            results,
            truncated=more or placed.cut,
            next=write_cursor(Cursor(first[wanted.limit - 1][0], wanted.sort)) if more else None,
        )

    def frequency(self, term: str) -> int:
        return len(self._postings.having(term))

    def size(self) -> tuple[int, int]:
        """Items and distinct terms in memory."""
        return len(self._table), len(self._postings)

    # --- Which items match -----------------------------------------------------------------------

    def _matches(self, wanted: Wanted, asker: Asker) -> BitMap:
        """Items online that the asker may see, and whose terms and attributes fit as far as bitmaps tell."""
        found = self._visible(wanted.query, asker)
        for part in self._parts(wanted.query):
            found = found & part
            if not found:
                return found
        own = self._presence.get(asker.number)
        if own is not None:
            found = found - own.items
        for piece in wanted.query.excluded:
            if piece.decided:
                found = found - self._having(piece)
        return self._filters.narrow(found, wanted.query.attributes)

    def _visible(self, query: Query, asker: Asker) -> BitMap:
        """Items that the asker is offered now, by anybody or by the users that are asked for. Not to be changed."""
        presence = self._presence
        found = presence.everyone
        restricted = presence.restricted_for(asker)
        if restricted:
            found = found | restricted
        if query.users is not None:
            named = (presence.by_user(user) for user in query.users)
            found = found & BitMap.union(BitMap(), *(online.items for online in named if online is not None))
        return found

    def _parts(self, query: Query) -> Iterator[BitMap]:
        """What each wanted piece leaves: rare terms first, then common ones, then prefixes, which cost more."""
        needed = [choice.pieces[0] for choice in query.wanted if len(choice.pieces) == 1]
        terms = {term for piece in needed for term in piece.terms}
        yield from sorted((self._postings.having(term) for term in terms), key=len)
        for choice in query.wanted:
            if len(choice.pieces) > 1:
                yield BitMap.union(*(self._having(piece) for piece in choice.pieces))
        for prefix in {piece.prefix for piece in needed if piece.prefix is not None}:
            yield self._postings.beginning(prefix)

    def _having(self, piece: Piece) -> BitMap:
        """Items that have all the terms of a piece."""
        having = [self._postings.having(term) for term in piece.terms]
        if piece.prefix is not None:
            having.append(self._postings.beginning(piece.prefix))
        return BitMap.intersection(*having)

    # --- Which of them are on the page -----------------------------------------------------------

    def _first(self, places: dict[int, Place], wanted: Wanted, asker: Asker) -> Sequence[tuple[Place, int]]:
        """The contents of the page in order, and one more if there is one."""
        after = None if wanted.after is None else wanted.after.place
        if wanted.sort != "best" or not (self._presence.networks.crowded or self._presence.busy):
            return nsmallest(
                wanted.limit + 1, [(place, n) for n, place in places.items() if after is None or place > after]
            )
        first: list[tuple[Place, int]] = []
        for place, number in sorted((place, number) for number, place in places.items()):
            # Networks and slots make a place worse, never better.
            if len(first) > wanted.limit and place >= first[-1][0]:
                break
            counted = self._counted(place, number, asker)
            if after is None or counted > after:
                insort(first, (counted, number))
                del first[wanted.limit + 1 :]
        return first

    def _counted(self, place: Place, number: int, asker: Asker) -> Place:
        """A place by points, without the sources that do not count, and where all are busy."""
        points, content = place
        if isinstance(points, str):
            return place
        excess = self._presence.excess_for(number, asker)
        if excess:
            sources = self._presence.count_for(number, asker)
            points += source_points(sources) - source_points(sources - excess)
        if self._presence.is_all_busy(number, asker):
            points += FREE_SLOT_POINTS
        return points, content

    # --- Which contents they make ----------------------------------------------------------------

    def _place(self, wanted: Wanted, asker: Asker) -> _Placed:
        """Places of the matching contents, band by band from the top, until there are enough or too many."""
        matches = self._matches(wanted, asker)
        judge = _Judge(self._table, self._presence, wanted, asker)
        placed = _Placed({}, False, Among(matches, judge.fits))
        left, budget, on_page = matches, self._max_examined, 0
        for group in self._groups(left):
            for number in judge.examine(islice(group, max(0, budget))):
                place = judge.place(number, placed.among)
                if place is not None:
                    placed.places[number] = place
                    on_page += wanted.after is None or place > wanted.after.place
            budget -= len(group)
            left = left - group
            enough = on_page >= max(self._enough, wanted.limit) and wanted.sort in ("best", "sources")
            if budget < 0 or (left and (enough or not budget)):
                placed.cut = True
                break
        return placed

    def _groups(self, items: BitMap) -> Iterator[BitMap]:
        """The items in groups: those that are not for everyone, then each band from the top."""
        restricted = items - self._presence.everyone
        if restricted:
            yield restricted
        for band in self._presence.bands.from_the_top():
            here = items & band
            if here:
                yield here
