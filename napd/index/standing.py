"""Queries that stand, by what an item must have to match them: of very many, each item is compared with a few."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum, auto
from typing import Generic, TypeVar

from attrs import define, field

from ..wire.kinds import extension, kind_of
from .query import Choice, Query
from .table import Row
from .words import searchable

#: Distinct queries that may hang on one key; an item that has it is compared with all of them.
MAX_ON_KEY = 1_000
#: The same for those that only tell a size or a bitrate: every item is compared with them.
MAX_ON_ANYTHING = 100
#: Letters of a beginning that count as a key.
MAX_BEGINNING = 16
#: How many items a beginning of a word is taken to be in: more than most words.
_PREFIX_FREQUENCY = 1 << 16

W = TypeVar("W")


class Kind(Enum):
    TERM = auto()
    PREFIX = auto()
    USER = auto()
    EXTENSION = auto()
    TYPE = auto()
    ANYTHING = auto()


#: What an item, or who announces it, has.
Key = tuple[Kind, str]


@define(eq=False)
class Standing(Generic[W]):
    """One query, and whose it is."""

    query: Query
    keys: Sequence[Key]
    owners: dict[W, None] = field(factory=dict)


class StandingQueries(Generic[W]):
    """Equal queries of several owners are one.

    :param frequency: how many items a term is in, now: the rarest is the best key.
    """

    def __init__(self, frequency: Callable[[str], int]) -> None:
        self._frequency = frequency
        self._standing: dict[Query, Standing[W]] = {}
        self._by_key: dict[Key, dict[Standing[W], None]] = {}
        self._prefix_lengths: Counter[int] = Counter()

    def add(self, query: Query, owner: W) -> Standing[W] | None:
        """None if too many hang on all that it could hang on."""
        standing = self._standing.get(query)
        if standing is None:
            keys = self._keys(query)
            if keys is None:
                return None
            standing = self._standing[query] = Standing(query, keys)
            for kind, text in keys:
                self._by_key.setdefault((kind, text), {})[standing] = None
                if kind is Kind.PREFIX:
                    self._prefix_lengths[len(text)] += 1
        standing.owners[owner] = None
        return standing

    def remove(self, standing: Standing[W], owner: W) -> None:
        standing.owners.pop(owner, None)
        if standing.owners or self._standing.pop(standing.query, None) is None:
            return
        for key in standing.keys:
            having = self._by_key[key]
            del having[standing]
            if not having:
                del self._by_key[key]
            kind, text = key
            if kind is Kind.PREFIX:
                self._prefix_lengths[len(text)] -= 1

    def candidates(self, row: Row, user: str, *, unseen: bool) -> Iterable[Standing[W]]:
        """Those that an item may match which this user offers. One that others offered before concerns those only that
        name the user."""
        keys: Iterable[Key] = ((Kind.USER, user),)
        if unseen:
            keys = (*keys, *self._keys_of(row))
        found: dict[Standing[W], None] = {}
        for key in keys:
            having = self._by_key.get(key)
            if having is not None:
                found.update(having)
        return list(found)

    def __len__(self) -> int:
        return len(self._standing)

    def _keys_of(self, row: Row) -> Iterator[Key]:
        # Words without accents or unspaced scripts are their own terms.
        terms = row.text.split() if row.text.isascii() else searchable(row.folder, row.name).terms
        for term in terms:
            yield Kind.TERM, term
            for length, used in self._prefix_lengths.items():
                if used and len(term) >= length:
                    yield Kind.PREFIX, term[:length]
        yield Kind.EXTENSION, extension(row.name)
        yield Kind.TYPE, str(kind_of(row.name))
        yield Kind.ANYTHING, ""

    # --- What a query hangs on ---------------------------------------------------------------------

    def _keys(self, query: Query) -> Sequence[Key] | None:
        """An item that matches has one of these."""
        for keys in self._ways(query):
            if all(self._has_room(key) for key in keys):
                return keys
        return None

    def _ways(self, query: Query) -> Iterable[Sequence[Key]]:
        """Every set of keys that will do, the best first."""
        if query.users is not None:
            return [[(Kind.USER, user) for user in query.users]]
        if query.wanted:
            return self._ways_by_words(query.wanted)
        attributes = query.attributes
        if attributes.ext is not None:
            return [list(dict.fromkeys((Kind.EXTENSION, ext.rpartition(".")[2]) for ext in attributes.ext))]
        if attributes.kinds is not None:
            return [[(Kind.TYPE, kind) for kind in attributes.kinds]]
        return [[(Kind.ANYTHING, "")]]

    def _ways_by_words(self, wanted: Sequence[Choice]) -> Iterable[Sequence[Key]]:
        ways: list[tuple[int, int, Sequence[Key]]] = []
        for choice in wanted:
            if len(choice.pieces) == 1:
                (only,) = choice.pieces
                each = [[key] for key in _keys_of_piece(only.terms, only.prefix)]
            else:
                each = [[min(_keys_of_piece(p.terms, p.prefix), key=self._cost) for p in choice.pieces]]
            for keys in each:
                costs = [self._cost(key) for key in keys]
                ways.append((sum(items for items, _ in costs), max(shortness for _, shortness in costs), keys))
        return [keys for _, _, keys in sorted(ways, key=lambda way: way[:2])]

    def _cost(self, key: Key) -> tuple[int, int]:
        """Of two that are in as few items, the longer is likely to stay rare."""
        kind, text = key
        return (self._frequency(text) if kind is Kind.TERM else _PREFIX_FREQUENCY), -len(text)

    def _has_room(self, key: Key) -> bool:
        most = MAX_ON_ANYTHING if key[0] is Kind.ANYTHING else MAX_ON_KEY
        return len(self._by_key.get(key, ())) < most


def _keys_of_piece(terms: Sequence[str], prefix: str | None) -> Sequence[Key]:
    keys: list[Key] = [(Kind.TERM, term) for term in terms]
    if prefix is not None:
        keys.append((Kind.PREFIX, prefix[:MAX_BEGINNING]))
    return keys
