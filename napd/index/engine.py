"""The search engine: bitmaps of terms, walked from the best-held band of items down, so that common words end early."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyroaring import BitMap

from .claims import found
from .filters import Filters, decides
from .items import Asker, Item
from .order import Cursor, write_cursor
from .postings import Postings, by_term
from .presence import Presence
from .query import Piece, Query
from .ranking import MAX_EXAMINED, MAX_WEIGHED, Ranking, Selected
from .search import Page, Wanted
from .snapshot import Restored, parts_of
from .snapshot_file import Part
from .table import ItemTable
from .words import searchable


class MemoryEngine:
    """:param examined: and `weighed`: bounds of a search's work (`ranking`)."""

    def __init__(
        self, table: ItemTable, presence: Presence, examined: int = MAX_EXAMINED, weighed: int = MAX_WEIGHED
    ) -> None:
        self._table = table
        self._presence = presence
        self._examined = examined
        self._weighed = weighed
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
        selected = self._select(wanted, asker)
        contents = (number for _, number in selected.first[: wanted.limit])
        results = found(self._table, self._presence, contents, asker, selected.among)
        more = len(selected.first) > wanted.limit
        return Page(
            results,
            truncated=more or selected.cut,
            next=write_cursor(Cursor(selected.first[wanted.limit - 1][0], wanted.sort)) if more else None,
        )

    def frequency(self, term: str) -> int:
        return len(self._postings.having(term))

    def size(self) -> tuple[int, int]:
        """Items and distinct terms in memory."""
        return len(self._table), len(self._postings)

    def _select(self, wanted: Wanted, asker: Asker) -> Selected:
        return Ranking(
            self._table,
            self._presence,
            wanted,
            asker,
            self._matches(wanted, asker),
            decided=decides(wanted.query.attributes),
            examined=self._examined,
            weighed=self._weighed,
        ).select()

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
