"""The search language: what somebody typed, understood (docs/how-to/search.md).

::

    moon river   -live   "moon river"   wor*   sun OR moon   ext:flac   type:audio   user:ann   size>10M   bitrate>=256

Nothing that can be typed is an error, except when nothing is left to search for. What can never match, whatever there
is, is understood too: `Query.impossible` says why, and depends on nothing but the query.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import Enum, auto
from typing import TypeVar

from attrs import define, evolve, field

from ..errors import Misuse, printable
from ..sizes import parse_size
from ..wire.index import FileKind
from ..wire.kinds import KINDS
from .attributes import ANY, Attributes
from .query import Choice, Piece, Query, piece

V = TypeVar("V")

#: Words and phrases that count; what is typed after so many is left out.
MAX_PIECES = 32
#: Values of one filter that count.
MAX_VALUES = 16

_SIGNS = str.maketrans({**dict.fromkeys("“”„‟«»＂", '"'), "≥": ">=", "≤": "<=", "：": ":"})
_TYPED = re.compile(
    r"""(?P<exclude>-*)(?:
        (?P<measure>size|bitrate)\s*:?\s*(?P<relation>[<>]=?|=)\s*(?P<amount>[.0-9][^\s"]*)
        |(?P<filter>ext|type|user):(?P<values>[^\s"]+)
        |"(?P<phrase>[^"]*)"?
        |(?P<word>[^\s"]+)
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_USER = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
_BITRATE = re.compile(r"([0-9]{1,7})(k|kbps|kbit/s)?", re.IGNORECASE)
#: What an excluded comparison asks for.
_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}


class _Mark(Enum):
    """What stands between words and phrases."""

    OR = auto()
    OTHER = auto()


def understand(typed: str, attributes: Attributes = ANY, users: tuple[str, ...] | None = None) -> Query:
    """:param attributes: and `users` are asked for besides, as options.
    :raises Misuse: if there is nothing to search for."""
    reading = _Reading()
    for found in _TYPED.finditer(typed.translate(_SIGNS)):
        reading.take(found)
    query = reading.query(attributes, users)
    if not (query.wanted or query.attributes.wants() or query.users is not None or reading.asks):
        leaves_out = bool(query.excluded or query.impossible) or query.attributes.anything()
        raise Misuse(_nothing_wanted(typed, leaves_out), "Type at least one word to search for")
    return query


@define
class _Reading:
    """A query as far as it is read. Several values of a filter are a choice; several comparisons all hold."""

    _parts: list[Piece | _Mark] = field(factory=list)
    _excluded: list[Piece] = field(factory=list)
    _ext: list[str] = field(factory=list)
    _barred_ext: list[str] = field(factory=list)
    _kinds: list[FileKind] = field(factory=list)
    _barred_kinds: list[FileKind] = field(factory=list)
    _users: list[str] = field(factory=list)
    _measured: Attributes = ANY
    _impossible: str | None = None
    #: A filter was typed, be it one that any file passes.
    asks: bool = False

    def take(self, found: re.Match[str]) -> None:
        """The next word, phrase or filter."""
        excluded = bool(found["exclude"])
        values = [value for value in (found["values"] or "").lower().split(",") if value.strip(".@")]
        if found["measure"]:
            self._parts.append(_Mark.OTHER)
            self.asks = True
            self._measure(found["measure"].lower(), found["relation"], found["amount"], excluded)
        elif values:
            self._parts.append(_Mark.OTHER)
            self.asks = self.asks or not excluded
            self._filter(found["filter"].lower(), values, excluded)
        elif found["word"] == "OR" and not excluded:
            self._parts.append(_Mark.OR)
        else:
            self._piece(found["phrase"] if found["phrase"] is not None else found[0].lstrip("-"), excluded)

    def query(self, attributes: Attributes, users: tuple[str, ...] | None) -> Query:
        excluded = list(dict.fromkeys(self._excluded))[:MAX_PIECES]
        wanted = _choices(self._parts)
        attributes = attributes.and_also(self._attributes())
        if self._users:
            named = tuple(sorted(set(self._users)))
            users = named if users is None else tuple(user for user in named if user in users)
        possible = [_without(choice, excluded) for choice in wanted]
        impossible = self._impossible or attributes.contradiction()
        if not all(choice.pieces for choice in possible):
            gone = next(choice for choice, left in zip(wanted, possible, strict=True) if not left.pieces)
            impossible = f"{printable(gone.pieces[0].pattern.strip(), 40)} is both wanted and left out"
        elif users == ():
            impossible = "nobody is two users"
        return Query(tuple(possible), tuple(excluded), _order(possible), attributes, users, impossible)

    def _piece(self, typed: str, excluded: bool) -> None:
        found = piece(typed)
        if found is None:
            return
        if excluded:
            self._excluded.append(found)
        self._parts.append(_Mark.OTHER if excluded else found)

    def _filter(self, name: str, values: Sequence[str], excluded: bool) -> None:
        if name == "ext":
            into = self._barred_ext if excluded else self._ext
            into += [value.lstrip(".") for value in values]
        elif name == "type":
            known = [kind for kind in KINDS if kind in values]
            (self._barred_kinds if excluded else self._kinds).extend(known)
            if not known:
                self._cannot(f"{printable(values[0], 40)} is no type: it is {', '.join(KINDS)}")
        elif excluded:
            self._cannot("a user can be asked for, not left out")
        else:
            users = [value.lstrip("@") for value in values]
            self._users += [user for user in users if _USER.fullmatch(user)]
            if not self._users:
                self._cannot(f"{printable(users[0], 40)} is nobody's name")

    def _measure(self, measure: str, relation: str, amount: str, excluded: bool) -> None:
        try:
            value = parse_size(amount) if measure == "size" else _bitrate(amount)
        except Misuse as error:
            self._cannot(error.message)
            return
        if excluded and relation not in _OPPOSITE:
            self._cannot(f"one {measure} alone cannot be left out")
            return
        relation = _OPPOSITE[relation] if excluded else relation
        least = {">": value + 1, ">=": value, "=": value}.get(relation, 0)
        most = {"<": value - 1, "<=": value, "=": value}.get(relation)
        if measure == "bitrate":
            bounds = Attributes(min_bitrate=least, max_bitrate=most)
        else:
            bounds = Attributes(min_size=least) if most is None else Attributes(min_size=least, max_size=most)
        self._measured = self._measured.and_also(bounds)

    def _attributes(self) -> Attributes:
        return evolve(
            self._measured,
            ext=_values(self._ext) or None,
            kinds=_values(self._kinds) or None,
            barred_ext=_values(self._barred_ext),
            barred_kinds=_values(self._barred_kinds),
        )

    def _cannot(self, reason: str) -> None:
        """The first reason is told."""
        self._impossible = self._impossible or reason


def _choices(parts: Iterable[Piece | _Mark]) -> list[Choice]:
    """OR joins the pieces that it stands between. At either end it is a word; beside anything else it is nothing."""
    word = piece("OR")
    groups: list[list[Piece]] = []
    before: Piece | _Mark | None = None
    joins = False
    for part in parts:
        if part is _Mark.OR:
            joins = True
            continue
        if joins and before is None and word is not None:
            groups.append([word])
        if isinstance(part, Piece):
            if joins and isinstance(before, Piece):
                groups[-1].append(part)
            else:
                groups.append([part])
        before, joins = part, False
    if joins and word is not None:
        groups.append([word])
    return list(dict.fromkeys(_within_bounds(groups)))


def _within_bounds(groups: Iterable[Sequence[Piece]]) -> Iterable[Choice]:
    left = MAX_PIECES
    for group in groups:
        pieces = list(dict.fromkeys(group))[:left]
        if pieces:
            yield Choice(tuple(sorted(pieces, key=lambda one: -one.words)))
        left -= len(pieces)


def _without(choice: Choice, excluded: Sequence[Piece]) -> Choice:
    """What is left of a choice if nothing counts that has what is left out."""
    return Choice(tuple(one for one in choice.pieces if not any(one.needs(other) for other in excluded)))


def _order(wanted: Sequence[Choice]) -> str:
    if len(wanted) < 2 or any(len(choice.pieces) != 1 for choice in wanted):
        return ""
    return "".join(choice.pieces[0].pattern for choice in wanted).replace("  ", " ")


def _bitrate(text: str) -> int:
    """:raises Misuse: if it is none."""
    found = _BITRATE.fullmatch(text)
    if found is None:
        raise Misuse(f"{printable(text, 40)!r} is no bitrate")
    return int(found[1])


def _values(values: Iterable[V]) -> tuple[V, ...]:
    return tuple(dict.fromkeys(values))[:MAX_VALUES]


def _nothing_wanted(typed: str, leaves_out: bool) -> str:
    if leaves_out:
        return "the query only says what to leave out"
    return "the query has no letter or digit in it" if typed.strip() else "the query is empty"
