"""Term → items: the inverted index, as bitmaps."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from heapq import nlargest

from attrs import frozen
from pyroaring import BitMap

#: Terms that one prefix may stand for; of more, those in the most names.
MAX_PREFIX_TERMS = 2_000
#: New terms are sorted into a short list, which goes into the long one when it has so many.
RECENT = 4_096


@frozen
class Matching:
    """Items; `cut` says that there may be more."""

    items: BitMap
    cut: bool = False


class Postings:
    """What items a term is in."""

    def __init__(self) -> None:
        self._items: dict[str, BitMap] = {}
        self._terms = _SortedTerms()

    def add(self, item: int, terms: Iterable[str]) -> None:
        for term in terms:
            having = self._items.get(term)
            if having is None:
                self._items[term] = BitMap((item,))
                self._terms.add(term)
            else:
                having.add(item)

    def remove(self, item: int, terms: Iterable[str]) -> None:
        for term in terms:
            having = self._items.get(term)
            if having is not None:
                having.discard(item)
                if not having:
                    del self._items[term]
                    self._terms.remove(term)

    def having(self, term: str) -> BitMap:
        return self._items.get(term, _NOTHING)

    def beginning(self, prefix: str, among: BitMap) -> Matching:
        """Items with a term that begins so. Where that is too many terms, items `among` these decide which are left."""
        terms = list(self._terms.beginning(prefix))
        cut = False
        if len(terms) > MAX_PREFIX_TERMS:
            counts = ((self._items[term].intersection_cardinality(among), term) for term in terms)
            counting = [(count, term) for count, term in counts if count]
            cut = len(counting) > MAX_PREFIX_TERMS
            terms = [term for _, term in nlargest(MAX_PREFIX_TERMS, counting)]
        return Matching(BitMap.union(BitMap(), *(self._items[term] for term in terms)), cut)

    def __len__(self) -> int:
        return len(self._items)


_NOTHING = BitMap()


class _SortedTerms:
    """All terms in order, in two lists, so that a new one moves thousands and not millions."""

    def __init__(self) -> None:
        self._all: list[str] = []
        self._recent: list[str] = []
        self._gone: set[str] = set()

    def add(self, term: str) -> None:
        if term in self._gone:
            self._gone.discard(term)
            return
        insort(self._recent, term)
        if len(self._recent) >= RECENT:
            self._merge()

    def remove(self, term: str) -> None:
        self._gone.add(term)
        if len(self._gone) >= RECENT:
            self._merge()

    def beginning(self, prefix: str) -> Iterator[str]:
        for terms in (self._all, self._recent):
            at = bisect_left(terms, prefix)
            while at < len(terms) and terms[at].startswith(prefix):
                if terms[at] not in self._gone:
                    yield terms[at]
                at += 1

    def _merge(self) -> None:
        self._all = sorted([term for term in (*self._all, *self._recent) if term not in self._gone])
        self._recent = []
        self._gone = set()
