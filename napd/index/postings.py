"""Term → items: the inverted index. A term in few names, as most are, is a few bytes; a common one a bitmap."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Iterator
from heapq import heappush, heappushpop

import msgspec
from attrs import frozen
from msgspec import Struct
from pyroaring import BitMap

#: Terms that one prefix may stand for; of more, those in the most names.
MAX_PREFIX_TERMS = 2_000
#: New terms are sorted into a short list, which goes into the long one when it has so many.
RECENT = 4_096
#: Items of a term up to which 4 bytes for each are less than a bitmap takes, at some millions of items.
MAX_SMALL = 1_024

_ID_BYTES = 4
#: The ids of a term's items, sorted; as `array("I")` has them if they are few.
Having = bytes | BitMap


class _Piece(Struct, array_like=True):
    """Terms of a snapshot, and of each whether what follows is a bitmap, and its items."""

    terms: list[str]
    having: list[tuple[bool, bytes]]


@frozen
class Matching:
    """Items; `cut` says that there may be more."""

    items: BitMap
    cut: bool = False


class Postings:
    """What items a term is in."""

    def __init__(self) -> None:
        self._items: dict[str, Having] = {}
        self._terms = _SortedTerms()

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

    def add(self, item: int, terms: Iterable[str]) -> None:
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

    def beginning(self, prefix: str, among: BitMap) -> Matching:
        """Items with a term that begins so. Where that is too many terms, items `among` these decide which are left."""
        terms: Collection[str] = list(self._terms.beginning(prefix))
        cut = False
        if len(terms) > MAX_PREFIX_TERMS:
            terms, cut = self._most_used(terms, among)
        having = [self._items[term] for term in terms]
        few = BitMap(array("I", b"".join(ids for ids in having if isinstance(ids, bytes))))
        return Matching(BitMap.union(few, *(ids for ids in having if isinstance(ids, BitMap))), cut)

    def _most_used(self, terms: Iterable[str], among: BitMap) -> tuple[Collection[str], bool]:
        """As many terms as a prefix may stand for, those of most items among these; whether there are more of them.

        Terms of many items come first, so that those of few need not be looked at when there are enough better ones.
        """
        best: list[tuple[int, str]] = []
        cut = False
        for most, term in sorted(((self._count(term), term) for term in terms), reverse=True):
            if cut and most < best[0][0]:
                break
            count = self.having(term).intersection_cardinality(among)
            if not count:
                continue
            if len(best) < MAX_PREFIX_TERMS:
                heappush(best, (count, term))
            else:
                heappushpop(best, (count, term))
                cut = True
        return [term for _, term in best], cut

    def _count(self, term: str) -> int:
        having = self._items[term]
        return len(having) if isinstance(having, BitMap) else len(having) // _ID_BYTES

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
