"""Term → items: the inverted index. A term in few names, as most are, is a few bytes; a common one a bitmap."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left, bisect_right, insort
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

import msgspec
from msgspec import Struct
from pyroaring import BitMap

#: Terms that begin alike, from which on what they are in is kept: it takes milliseconds to put together.
MIN_KEPT = 500
#: Items that are kept so, of all beginnings together: some 50 MB at most.
MAX_KEPT = 16 << 20
#: New terms wait until there are so many, or until somebody looks, before they are put in order: a millisecond's work.
RECENT = 500
#: Terms in order are in blocks of at most so many.
BLOCK = 1_024
#: Items of a term up to which 4 bytes for each are less than a bitmap takes, at some millions of items.
MAX_SMALL = 1_024

_ID_BYTES = 4
#: Dictionaries that terms are in, by their hashes: one that grows is copied, which takes 50 ms for a million terms.
_PARTS = 64
#: Comes after every character that a term may have.
_LAST = "\U0010ffff"
#: The ids of a term's items; as `array("I")` has them if they are few, in the order in which they came.
Having = bytes | BitMap


def by_term(terms: Mapping[int, Iterable[str]]) -> Mapping[str, Sequence[int]]:
    """Items that each term is in, from the terms of items."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for item, some in terms.items():
        for term in some:
            found[term].append(item)
    return found


class _Piece(Struct, array_like=True):
    """Terms of a snapshot, and of each whether what follows is a bitmap, and its items."""

    terms: list[str]
    having: list[tuple[bool, bytes]]


class Postings:
    """What items a term is in."""

    def __init__(self) -> None:
        self._parts: list[dict[str, Having]] = [{} for _ in range(_PARTS)]
        self._terms = _SortedTerms()
        self._beginnings = _Beginnings()

    def pieces(self, size: int) -> Iterator[bytes]:
        """All of it, some `size` bytes at a time. Terms that come meanwhile may be left out."""
        piece, left = _Piece([], []), size
        for term in (term for part in self._parts for term in list(part)):
            having = self._part(term).get(term)
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
                postings._part(term)[term] = BitMap.deserialize(ids) if common else ids
        postings._terms = _SortedTerms(chain.from_iterable(postings._parts))
        return postings

    def add(self, item: int, terms: Iterable[str]) -> None:
        self.add_all(dict.fromkeys(terms, (item,)))

    def add_all(self, by_term: Mapping[str, Sequence[int]]) -> None:
        """:param by_term: items that each term is in now too."""
        parts = self._parts
        for term, items in by_term.items():
            part = parts[hash(term) % _PARTS]
            having = part.get(term)
            if having is None:
                part[term] = _joined(b"", items)
                self._terms.add(term)
            elif isinstance(having, BitMap):
                having.update(items)
            else:
                part[term] = _joined(having, items)
        self._beginnings.add_all(by_term)

    def remove(self, item: int, terms: Iterable[str]) -> None:
        for term in terms:
            part = self._part(term)
            having = part.get(term)
            if having is None:
                continue
            if isinstance(having, BitMap):
                having.discard(item)
            else:
                having = part[term] = _without(having, item)
            if not having:
                del part[term]
                self._terms.remove(term)

    def having(self, term: str) -> BitMap:
        """Not to be changed."""
        having = self._part(term).get(term, b"")
        return having if isinstance(having, BitMap) else BitMap(array("I", having))

    def beginning(self, prefix: str) -> BitMap:
        """Items with a term that begins so. Not to be changed. Those that are gone from the store may be among them."""
        found = self._beginnings.get(prefix)
        if found is None:
            terms = self._terms.beginning(prefix)
            having = [self._part(term)[term] for term in terms]
            few = BitMap(array("I", b"".join([ids for ids in having if isinstance(ids, bytes)])))
            found = BitMap.union(few, *(ids for ids in having if isinstance(ids, BitMap)))
            if len(terms) >= MIN_KEPT:
                self._beginnings.keep(prefix, found)
        return found

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def _part(self, term: str) -> dict[str, Having]:
        return self._parts[hash(term) % _PARTS]


def _joined(having: bytes, items: Sequence[int]) -> Having:
    if len(items) == 1:
        joined = having + items[0].to_bytes(_ID_BYTES, sys.byteorder)
    else:
        joined = having + array("I", items).tobytes()
    return joined if len(joined) <= MAX_SMALL * _ID_BYTES else BitMap(array("I", joined))


def _without(having: bytes, item: int) -> bytes:
    ids = array("I", having)
    while item in ids:
        ids.remove(item)
    return ids.tobytes()


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

    def add_all(self, by_term: Mapping[str, Sequence[int]]) -> None:
        if not self._items:
            return
        for length, used in self._lengths.items():
            if used:
                for term, new in by_term.items():
                    items = self._items.get(term[:length])
                    if items is not None:
                        self._kept -= len(items)
                        items.update(new)
                        self._kept += len(items)


class _SortedTerms:
    """All terms in order, in blocks, so that a new one moves some hundred and not millions."""

    def __init__(self, terms: Iterable[str] = ()) -> None:
        in_order = sorted(terms)
        #: Each block, and a term that is not after any of its own, but after those of the block before.
        self._blocks = [in_order[at : at + BLOCK // 2] for at in range(0, len(in_order), BLOCK // 2)] or [[]]
        self._from = [block[0] if block else "" for block in self._blocks]
        self._recent: list[str] = []

    def add(self, term: str) -> None:
        """It is not there yet."""
        self._recent.append(term)
        if len(self._recent) >= RECENT:
            self._put_in_order()

    def remove(self, term: str) -> None:
        """It is there."""
        self._put_in_order()
        at = self._block_of(term)
        block = self._blocks[at]
        del block[bisect_left(block, term)]
        if not block and len(self._blocks) > 1:
            del self._blocks[at], self._from[at]

    def beginning(self, prefix: str) -> Sequence[str]:
        self._put_in_order()
        found: list[str] = []
        for at in range(self._block_of(prefix), len(self._blocks)):
            block = self._blocks[at]
            end = bisect_left(block, prefix + _LAST)
            found += block[bisect_left(block, prefix) : end]
            if end < len(block):
                break
        return found

    def _block_of(self, term: str) -> int:
        """Where it is, or where it comes."""
        return max(0, bisect_right(self._from, term) - 1)

    def _put_in_order(self) -> None:
        for term in self._recent:
            at = self._block_of(term)
            block = self._blocks[at]
            insort(block, term)
            if len(block) > BLOCK:
                self._blocks[at : at + 1] = block[: BLOCK // 2], block[BLOCK // 2 :]
                self._from.insert(at + 1, block[BLOCK // 2])
        self._recent.clear()
