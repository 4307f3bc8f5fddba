"""A close look at one content that may be among the results of a search."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from pyroaring import BitMap

from .claims import Among, shown
from .items import Asker
from .order import FREE_SLOT_POINTS, Place, name_key, source_points, text_points
from .presence import Presence
from .search import Wanted
from .table import ItemTable, Row

#: Items of one content that are looked at; the empty file may have thousands.
MAX_NAMES = 1_000


class Judge:
    """What only a look tells: whether a content matches after all, and its place.

    :param by_words: `text_bounds`.
    """

    def __init__(
        self,
        table: ItemTable,
        presence: Presence,
        wanted: Wanted,
        asker: Asker,
        matches: BitMap,
        by_words: Sequence[int],
        *,
        decided: bool,
    ) -> None:
        query = wanted.query
        self._table = table
        self._presence = presence
        self._query = query
        self._sort = wanted.sort
        self._asker = asker
        self._matches = matches
        self._by_words = by_words
        self._own = presence.get(asker.number)
        self._attributes = None if decided else query.attributes
        self._needed = [choice for choice in query.wanted if not choice.decided()]
        # Words alone are left out by bitmaps.
        self._barred = [piece.pattern for piece in query.excluded if not piece.decided]
        self._looks = bool(self._attributes is not None or self._needed or self._barred)
        self.among = Among(matches, self._fits if self._looks else None)

    def place(self, item: int, content: int) -> Place | None:
        """:param item: of the content, that which can make the best place; None if it is no result after all."""
        items = self._items(item, content)
        if not items:
            return None
        if self._sort == "best":
            worth = self._worth(items)
            if worth is None:
                return None
            return self._counted(worth, content), self._table.content_id(content)
        if self._looks and not any(self._fits(self._table.row(one)) for one in items):
            return None
        if self._sort == "sources":
            return -self._presence.count_for(content, self._asker), self._table.content_id(content)
        seen = shown(self._table, self._presence, content, self._asker, self.among)
        if seen is None:
            return None
        return -seen.size if self._sort == "size" else name_key(seen.name), self._table.content_id(content)

    def _items(self, item: int, content: int) -> Sequence[int]:
        """The matching ones of a content, this one first; none if the asker has it himself."""
        if self._table.only_item_of(content) is not None:
            return (item,)
        if self._own is not None and self._presence.holds(self._own, content):
            return ()
        matches = self._matches
        others = islice(self._table.items_of(content), MAX_NAMES)
        return [item, *(other for other in others if other != item and other in matches)]

    def _worth(self, items: Sequence[int]) -> int | None:
        """Points of the name that fits best; None if none fits at all."""
        best, words = None, self._table.words.one
        for item in items:
            if best is not None and self._by_words[words[item]] <= best:
                continue
            if self._looks and not self._fits(self._table.row(item)):
                continue
            worth = text_points(self._query, self._table.name_text(item))
            if best is None or worth > best:
                best = worth
        return best

    def _fits(self, row: Row) -> bool:
        """Whether an item that the bitmaps let through is what is wanted."""
        attributes, text = self._attributes, row.text
        return (
            all(choice.found_in(text) for choice in self._needed)
            and not any(pattern in text for pattern in self._barred)
            and (attributes is None or attributes.met_by(row.name, row.size, row.media))
        )

    def _counted(self, worth: int, content: int) -> int:
        """The number in a place by points, without the sources that do not count, and where all are busy."""
        sources = self._presence.count_for(content, self._asker)
        if not self._presence.is_uneven:
            return -(worth + source_points(sources))
        counting = sources - self._presence.excess_for(content, self._asker)
        busy = self._presence.is_all_busy(content, self._asker)
        return (FREE_SLOT_POINTS if busy else 0) - worth - source_points(counting)
