"""Term → items: the inverted index. A term in few names, as most are, is a few bytes; a common one a bitmap."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left, insort
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec
from msgspec import Struct
from pyroaring import BitMap

#: Terms that begin alike, from which on what they are in is kept: it takes milliseconds to put together.
MIN_KEPT = 500
#: Items that are kept so, of all beginnings together: some 50 MB at most.
MAX_KEPT = 16 << 20
#: New terms are sorted into a short list, which goes into the long one when it has so many.
RECENT = 4_096
#: Items of a term up to which 4 bytes for each are less than a bitmap takes, at some millions of items.
MAX_SMALL = 1_024

_ID_BYTES = 4
#: Comes after every character that a term may have.
_LAST = "\U0010ffff"
#: The ids of a term's items, sorted; as `array("I")` has them if they are few.
Having = bytes | BitMap


class _Piece(Struct, array_like=True):
    """Terms of a snapshot, and of each whether what follows is a bitmap, and its items."""

    terms: list[str]
    having: list[tuple[bool, bytes]]


class Postings:
    """What items a term is in."""

    def __init__(self) -> None:
        self._items: dict[str, Having] = {}
        self._terms = _SortedTerms()
        self._beginnings = _Beginnings()

    def pieces(self, size: int) -> Iterator[bytes]:
        """All of it, some `size` bytes at a time. Terms that come meanwhile may be left out."""
        piece, left = _Piece([], []), size
        for term in list(self._items):
            having = self._items.get(term)
            if having is None:
                continue
            common = isinstance(having, BitMap)
            piece.terms.append(term)
            piece.having.append((common, having.serialize() if isinstance(having, BitMap) else having))
            left -= len(term) + len(piece.having[-1][1]) + 8
            if left <= 0:
                yield msgspec.msgpack.encode(piece)
                piece, left = _Piece([], []), size
        yield msgspec.msgpack.encode(piece)

    @classmethod
    def of(cls, pieces: Iterable[bytes | bytearray]) -> Postings:
        """:raises msgspec.MsgspecError, ValueError: it is not what `pieces` made."""
        postings = cls()
        for data in pieces:
            piece = msgspec.msgpack.decode(data, type=_Piece)
            for term, (common, ids) in zip(piece.terms, piece.having, strict=True):
                postings._items[term] = BitMap.deserialize(ids) if common else ids
        postings._terms = _SortedTerms(postings._items)
        return postings

    def add(self, item: int, terms: Collection[str]) -> None:
        raw = item.to_bytes(_ID_BYTES, sys.byteorder)
        for term in terms:
            having = self._items.get(term)
            if having is None:
                self._items[term] = raw
                self._terms.add(term)
            elif isinstance(having, BitMap):
                having.add(item)
            else:
                self._items[term] = _added(having, item, raw)
        self._beginnings.add(item, terms)

    def remove(self, item: int, terms: Iterable[str]) -> None:
        for term in terms:
            having = self._items.get(term)
            if having is None:
                continue
            if isinstance(having, BitMap):
                having.discard(item)
            else:
                having = self._items[term] = _removed(having, item)
            if not having:
                del self._items[term]
                self._terms.remove(term)

    def having(self, term: str) -> BitMap:
        """Not to be changed."""
        having = self._items.get(term, b"")
        return having if isinstance(having, BitMap) else BitMap(array("I", having))

    def beginning(self, prefix: str) -> BitMap:
        """Items with a term that begins so. Not to be changed. Those that are gone from the store may be among them."""
        found = self._beginnings.get(prefix)
        if found is None:
            terms = self._terms.beginning(prefix)
            having = [self._items[term] for term in terms]
            few = BitMap(array("I", b"".join([ids for ids in having if isinstance(ids, bytes)])))
            found = BitMap.union(few, *(ids for ids in having if isinstance(ids, BitMap)))
            if len(terms) >= MIN_KEPT:
                self._beginnings.keep(prefix, found)
        return found

    def __len__(self) -> int:
        return len(self._items)


def _added(having: bytes, item: int, raw: bytes) -> Having:
    """:param raw: the item."""
    if int.from_bytes(having[-_ID_BYTES:], sys.byteorder) < item:
        # Newer items have higher numbers.
        grown = having + raw
    else:
        ids = array("I", having)
        at = bisect_left(ids, item)
        if ids[at] == item:
            return having
        ids.insert(at, item)
        grown = ids.tobytes()
    return grown if len(grown) <= MAX_SMALL * _ID_BYTES else BitMap(array("I", grown))


def _removed(having: bytes, item: int) -> bytes:
    ids = array("I", having)
    at = bisect_left(ids, item)
    return having[: at * _ID_BYTES] + having[(at + 1) * _ID_BYTES :] if at < len(ids) and ids[at] == item else having


class _Beginnings:
    """What items the terms are in that begin alike, for those beginnings that were looked up last.

    New items go in at once. One that is gone stays in: nobody offers it, and its number is never given again.
    """

    def __init__(self) -> None:
        self._items: OrderedDict[str, BitMap] = OrderedDict()
        self._lengths: Counter[int] = Counter()
        self._kept = 0

    def get(self, prefix: str) -> BitMap | None:
        items = self._items.get(prefix)
        if items is not None:
            self._items.move_to_end(prefix)
        return items

    def keep(self, prefix: str, items: BitMap) -> None:
        self._items[prefix] = items
        self._lengths[len(prefix)] += 1
        self._kept += len(items)
        while self._kept > MAX_KEPT:
            oldest, had = self._items.popitem(last=False)
            self._lengths[len(oldest)] -= 1
            self._kept -= len(had)

    def add(self, item: int, terms: Iterable[str]) -> None:
        if not self._items:
            return
        for length, used in self._lengths.items():
            if used:
                for term in terms:
                    items = self._items.get(term[:length])
                    if items is not None and item not in items:
                        items.add(item)
                        self._kept += 1


class _SortedTerms:
    """All terms in order, in two lists, so that a new one moves thousands and not millions."""

    def __init__(self, terms: Iterable[str] = ()) -> None:
        self._all: list[str] = sorted(terms)
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

    def beginning(self, prefix: str) -> Sequence[str]:
        return [
            term
            for terms in (self._all, self._recent)
            for term in terms[bisect_left(terms, prefix) : bisect_left(terms, prefix + _LAST)]
            if term not in self._gone
        ]

    def _merge(self) -> None:
        self._all = sorted([term for term in (*self._all, *self._recent) if term not in self._gone])
        self._recent = []
        self._gone = set()
