"""How many accounts online offer each item and each content to everyone; and so what can be found, the best first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from .bands import Bands, moves
from .columns import Column, Ids, distinct
from .table import ItemTable

#: Contents and items that may be in a wrong band before that is put right, if nobody searches: a millisecond's work.
MAX_STALE = 10_000
_ONE = np.uint32(1)


class Popularity:
    """Whoever comes and goes unseen in between moves nothing from band to band."""

    def __init__(self, table: ItemTable) -> None:
        self._table = table
        #: By item, by content.
        self._offers = Column(np.uint32)
        self._sources = Column(np.uint32)
        self._bands = Bands()
        #: Contents whose items may be in a wrong band, and items that may be.
        self._stale: list[Ids] = []
        self._stale_items: list[Ids] = []
        self._is_stale = 0

    def more(self, items: Ids, contents: Ids) -> None:
        """One more account offers these, each of which is there once."""
        self._ready()
        before, after = _added(self._sources, contents)
        had, _ = _added(self._offers, items)
        self._unsettle(contents[moves(before, after)], items[had == 0])

    def fewer(self, items: Ids, contents: Ids) -> None:
        """One account less does."""
        self._ready()
        before, after = _taken(self._sources, contents)
        _, left = _taken(self._offers, items)
        self._unsettle(contents[moves(before, after)], items[left == 0])

    def of(self, content: int) -> int:
        count: int = self._sources.one[content] if content < len(self._sources.all) else 0
        return count

    def of_each(self, contents: Ids) -> NDArray[np.int64]:
        self._reach()
        counts: NDArray[np.int64] = self._sources.all[contents.astype(np.intp)].astype(np.int64)
        return counts

    def offers(self, item: int) -> int:
        count: int = self._offers.one[item] if item < len(self._offers.all) else 0
        return count

    def is_offered(self, item: int) -> bool:
        return self.offers(item) > 0

    def not_offered(self, items: Ids) -> Ids:
        """Those of these that nobody offers."""
        self._reach()
        none: Ids = items[self._offers.all[items.astype(np.intp)] == 0]
        return none

    def none_of(self, contents: Ids) -> Ids:
        """Those of these that nobody offers."""
        self._reach()
        none: Ids = contents[self._sources.all[contents] == 0]
        return none

    @property
    def contents(self) -> int:
        """How many anybody offers: looks at all of them."""
        return int(np.count_nonzero(self._sources.all))

    @property
    def everyone(self) -> BitMap:
        """Items that anybody offers. Not to be changed."""
        return self.bands.items

    @property
    def bands(self) -> Bands:
        """As everything is now."""
        if self._is_stale:
            self._reach()
            self._settle()
        return self._bands

    def _unsettle(self, contents: Ids, items: Ids) -> None:
        self._stale.append(contents)
        self._stale_items.append(items)
        # Lists of nothing add up, too.
        self._is_stale += len(contents) + len(items) + 1

    def _settle(self) -> None:
        contents = distinct(np.concatenate(self._stale)) if len(self._stale) > 1 else self._stale[0]
        items = np.concatenate(self._stale_items)
        self._stale, self._stale_items, self._is_stale = [], [], 0
        self._put(*self._table.items_with(contents, self._sources.all[contents.astype(np.intp)]))
        # Most have just been put.
        items = items[(self._offers.all[items.astype(np.intp)] != 0) != self._bands.has(items)]
        self._put(items, self._sources.all[self._table.content.all[items]])

    def _put(self, items: Ids, sources: Ids) -> None:
        """:param sources: of the content of each."""
        sources[self._offers.all[items.astype(np.intp)] == 0] = 0
        self._bands.put(items, sources)

    def _ready(self) -> None:
        """For the next who comes or goes: have room for all that the table knows.

        What is stale is put right here and not by who made it so: a very large share takes milliseconds for each.
        """
        self._reach()
        if self._is_stale > MAX_STALE:
            self._settle()

    def _reach(self) -> None:
        self._offers.reach(len(self._table.content.all) - 1)
        self._sources.reach(len(self._table.first.all) - 1)


def _added(counts: Column[np.uint32], numbers: Ids) -> tuple[Ids, Ids]:
    """One more for each of these; what was there, and what is."""
    places = numbers.astype(np.intp)
    before = counts.all[places]
    after = before + _ONE
    counts.all[places] = after
    return before, after


def _taken(counts: Column[np.uint32], numbers: Ids) -> tuple[Ids, Ids]:
    places = numbers.astype(np.intp)
    before = counts.all[places]
    after = before - _ONE
    counts.all[places] = after
    return before, after
