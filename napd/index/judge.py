"""A close look at one content that may be among the results of a search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from pyroaring import BitMap

from .claims import Among, shown
from .items import Asker
from .order import FREE_SLOT_POINTS, name_key, source_points, text_points
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
        self._words = table.words.one
        own = presence.get(asker.number)
        self._own = own if own is not None and own.items else None
        self._uneven = presence.is_uneven
        self._attributes = None if decided else query.attributes
        self._needed = [choice for choice in query.wanted if not choice.decided()]
        # Words alone are left out by bitmaps.
        self._barred = [piece.pattern for piece in query.excluded if not piece.decided]
        self._looks = bool(self._attributes is not None or self._needed or self._barred)
        self.among = Among(matches, self._fits if self._looks else None)

    def look(self, item: int, content: int, lowest: Any) -> int | str | None:
        """What the content's place begins with; None if it is no result after all.

        :param item: of the content, that which can make the best place; `lowest` is what that begins with.
        """
        if self._own is not None and self._presence.holds(self._own, content):
            # What he has is not among the matches, but may be the same under another name.
            return None
        if self._sort == "best":
            worth = self._worth(item, content)
            if worth is None:
                return None
            if self._uneven:
                return self._uneven_number(worth, content)
            number: int = lowest + self._by_words[self._words[item]] - worth
            return number
        if self._looks and not any(self._fits(self._table.row(one)) for one in (item, *self._others(item, content))):
            return None
        if self._sort == "sources":
            sources: int = lowest
            return sources
        seen = shown(self._table, self._presence, content, self._asker, self.among)
        if seen is None:
            return None
        return -seen.size if self._sort == "size" else name_key(seen.name)

    def _others(self, item: int, content: int) -> Iterator[int]:
        """What else of the content matches."""
        matches = self._matches
        others = islice(self._table.items_of(content), MAX_NAMES)
        return (other for other in others if other != item and other in matches)

    def _worth(self, item: int, content: int) -> int | None:
        """Points of the name that fits best; None if none fits at all."""
        best, most = self._worth_of(item), self._by_words[self._words[item]]
        if best == most or self._table.only_item_of(content) is not None:
            return best
        for other in self._others(item, content):
            if best is None or self._by_words[self._words[other]] > best:
                worth = self._worth_of(other)
                if worth is not None and (best is None or worth > best):
                    best = worth
        return best

    def _worth_of(self, item: int) -> int | None:
        if self._looks and not self._fits(self._table.row(item)):
            return None
        return text_points(self._query, self._table.name_text(item))

    def _fits(self, row: Row) -> bool:
        """Whether an item that the bitmaps let through is what is wanted."""
        attributes, text = self._attributes, row.text
        return (
            all(choice.found_in(text) for choice in self._needed)
            and not any(pattern in text for pattern in self._barred)
            and (attributes is None or attributes.met_by(row.name, row.size, row.media))
        )

    def _uneven_number(self, worth: int, content: int) -> int:
        """The number in a place, without the sources that do not count, and where all are busy."""
        sources = self._presence.count_for(content, self._asker)
        counting = sources - self._presence.excess_for(content, self._asker)
        busy = self._presence.is_all_busy(content, self._asker)
        return (FREE_SLOT_POINTS if busy else 0) - worth - source_points(counting)
