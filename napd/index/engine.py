"""The search engine: bitmaps of terms, walked from the best-held band of items down, so that common words end early."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import nsmallest
from itertools import islice

from attrs import define
from pyroaring import BitMap

from .claims import Shown, shown
from .filters import Filters
from .items import Asker, Item
from .order import Cursor, Place, best_key, name_key, text_points, write_cursor
from .postings import Matching, Postings
from .presence import Presence
from .query import Piece, Query
from .search import Found, Page, Wanted
from .table import ItemTable, Row
from .words import searchable

#: Matching items that one search looks at, at most: some 30 ms.
MAX_EXAMINED = 10_000
#: Contents that may be on the page after which no less popular band is looked at.
ENOUGH = 2_000


@define
class _Placed:
    """Contents that match, by number, with their places; `cut`: not everything was looked at."""

    places: dict[int, Place]
    cut: bool


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
        for item in items:
            terms = self._table.learn(item)
            if terms is not None:
                row = self._table.row(item.id)
                self._postings.add(item.id, terms)
                self._filters.add(item.id, row.name, row.size, row.media)

    def forget(self, items: Iterable[int]) -> None:
        for item in items:
            row = self._table.forget(item)
            if row is not None:
                self._postings.remove(item, searchable(row.folder, row.name).terms)
                self._filters.remove(item, row.name, row.size, row.media)

    def search(self, wanted: Wanted, asker: Asker) -> Page:
        placed = self._place(wanted, asker)
        after = None if wanted.after is None else wanted.after.place
        left = [(place, number) for number, place in placed.places.items() if after is None or place > after]
        first = nsmallest(wanted.limit + 1, left)
        results = [
            Found(self._table.content_id(number), seen, sorted(self._presence.holders_for(number, asker)))
            for _, number in first[: wanted.limit]
            if (seen := shown(self._table, self._presence, number, asker)) is not None
        ]
        more = len(first) > wanted.limit
        return Page(
            results,
            truncated=more or placed.cut,
            next=write_cursor(Cursor(first[wanted.limit - 1][0], wanted.sort)) if more else None,
        )

    def size(self) -> tuple[int, int]:
        """Items and distinct terms in memory."""
        return len(self._table), len(self._postings)

    # --- Which items match -----------------------------------------------------------------------

    def _matches(self, wanted: Wanted, asker: Asker) -> Matching:
        """Items online that the asker may see, and whose terms and attributes fit as far as bitmaps tell."""
        visible = self._visible(wanted, asker)
        found, cut = visible, False
        for part in self._parts(wanted.query, visible):
            found = found & part.items
            cut = cut or part.cut
            if not found:
                return Matching(found, cut)
        own = self._presence.get(asker.number)
        if own is not None:
            found = found - own.items
        for piece in wanted.query.excluded:
            if piece.decided:
                found = found - self._having(piece, visible).items
        return Matching(self._filters.narrow(found, wanted.wished), cut)

    def _visible(self, wanted: Wanted, asker: Asker) -> BitMap:
        """Items that the asker is offered now, by anybody or by the user that is asked for. Not to be changed."""
        presence = self._presence
        found = presence.everyone
        restricted = presence.restricted_for(asker)
        if restricted:
            found = found | restricted
        if wanted.user is not None:
            online = presence.by_user(wanted.user)
            found = found & (BitMap() if online is None else online.items)
        return found

    def _parts(self, query: Query, visible: BitMap) -> Iterator[Matching]:
        """What each wanted piece leaves: rare terms first, then common ones, then prefixes, which cost more."""
        terms = {term for piece in query.wanted for term in piece.terms}
        for having in sorted((self._postings.having(term) for term in terms), key=len):
            yield Matching(having)
        for prefix in {piece.prefix for piece in query.wanted if piece.prefix is not None}:
            yield self._postings.beginning(prefix, visible)

    def _having(self, piece: Piece, visible: BitMap) -> Matching:
        if piece.prefix is not None:
            return self._postings.beginning(piece.prefix, visible)
        return Matching(self._postings.having(piece.terms[0]))

    # --- Which contents they make ----------------------------------------------------------------

    def _place(self, wanted: Wanted, asker: Asker) -> _Placed:
        """Places of the matching contents, band by band from the top, until there are enough or too many."""
        matches = self._matches(wanted, asker)
        placed = _Placed({}, matches.cut)
        points: dict[int, int] = {}
        left, budget, after_cursor = matches.items, self._max_examined, 0
        for group in self._groups(left):
            contents: set[int] = set()
            for item in islice(group, budget):
                row = self._table.row(item)
                if self._fits(wanted, row):
                    contents.add(row.content)
                    points[row.content] = max(points.get(row.content, 0), text_points(wanted.query, row.text))
            for number in contents:
                place = self._place_of(number, points[number], wanted, asker)
                if place is not None:
                    placed.places[number] = place
                    after_cursor += wanted.after is None or place > wanted.after.place
            budget -= len(group)
            left = left - group
            enough = after_cursor >= max(self._enough, wanted.limit) and wanted.sort in ("best", "sources")
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

    def _fits(self, wanted: Wanted, row: Row) -> bool:
        """What bitmaps cannot tell of an item."""
        query = wanted.query
        return (
            all(piece.decided or piece.found_in(row.text) for piece in query.wanted)
            and not any(piece.found_in(row.text) for piece in query.excluded)
            and wanted.wished.met_by(row.name, row.size, row.media)
        )

    def _place_of(self, number: int, points: int, wanted: Wanted, asker: Asker) -> Place | None:
        """None if it is no result after all: the asker has it, or what is shown of it is not what is wanted."""
        if self._presence.holds(asker.number, number):
            return None
        content = self._table.content_id(number)
        seen: Shown | None = None
        if wanted.sort in ("size", "name") or wanted.wished.anything() or wanted.query.excluded:
            seen = shown(self._table, self._presence, number, asker)
            if seen is None or not wanted.wished.met_by(seen.name, seen.size, seen.media):
                return None
            if any(piece.found_in(seen.text) for piece in wanted.query.excluded):
                return None
        if wanted.sort == "size" and seen is not None:
            return -seen.size, content
        if wanted.sort == "name" and seen is not None:
            return name_key(seen.name), content
        sources = len(self._presence.holders_for(number, asker))
        return (-sources if wanted.sort == "sources" else best_key(points, sources)), content
