"""The order of results: what makes one better, and cursors that stay right while peers come and go.

A result's place is computed from itself alone; equal ones go by content id. A cursor is the place of the last result of
a page: the next page has what comes after it then, whoever has come or gone meanwhile.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from math import log2

import msgspec
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..errors import Misuse
from ..wire.index import SortOrder
from .query import Query
from .table import MAX_WORDS
from .words import BOUNDARY, fold

#: Bytes of a folded name that its place goes by: as much as fits into a cursor.
MAX_NAME_KEY = 120

# Points of a result in the order `best`. Twice as many sources are worth POINTS.
POINTS = 1_000
#: A file name that consists of the words asked for; fewer if it has others, none if only its folders match.
FULL_NAME_POINTS = 2_000
#: The words stand in the file name as one phrase.
PHRASE_POINTS = 1_000
#: Some source has a free upload slot, or does not say that it has none.
FREE_SLOT_POINTS = 200


#: A result's place: the smaller the better. A number, or a name's bytes in hex; then the content id.
Place = tuple[int | str, str]


@frozen
class Cursor:
    """The place after which a page begins, and the order that it is of."""

    place: Place
    sort: SortOrder


#: Points for so many sources; beyond this table they are computed.
_SOURCE_POINTS = [round(POINTS * log2(1 + sources)) for sources in range(1024)]
_POINTS = np.array(_SOURCE_POINTS, np.int64)


def text_points(query: Query, text: str) -> int:
    """How well a searchable text fits, as far as words go."""
    name = text[text.rfind(BOUNDARY) + 1 :]
    asked = 0
    for choice in query.wanted:
        for piece in choice.pieces:
            if piece.pattern in name:
                asked += piece.words
                break
    if not asked:
        return 0
    words = name.count(" ") - 1
    points = FULL_NAME_POINTS * min(asked, words) // words
    return points + PHRASE_POINTS if query.order and query.order in name else points


def source_points(sources: int) -> int:
    return _SOURCE_POINTS[sources] if sources < len(_SOURCE_POINTS) else round(POINTS * log2(1 + sources))


def points_of(sources: NDArray[np.int64]) -> NDArray[np.int64]:
    """`source_points` of each."""
    points = _POINTS[np.minimum(sources, len(_POINTS) - 1)]
    for number in np.flatnonzero(sources >= len(_POINTS)).tolist():
        points[number] = source_points(int(sources[number]))
    return points


def text_bounds(query: Query) -> NDArray[np.int64]:
    """By the number of words of a file name, up to `MAX_WORDS`: what `text_points` can be at most."""
    asked = sum(choice.pieces[0].words for choice in query.wanted)
    words = np.arange(MAX_WORDS + 1)
    bounds = FULL_NAME_POINTS * np.minimum(asked, words) // np.maximum(words, 1)
    return bounds + PHRASE_POINTS * (words >= asked) if query.order else bounds


def name_key(name: str) -> str:
    return fold(name).encode("utf-8", "replace")[:MAX_NAME_KEY].hex()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[SortOrder, int | bytes, bytes]).decode


def write_cursor(cursor: Cursor) -> str:
    key, content = cursor.place
    packed = _encode((cursor.sort, bytes.fromhex(key) if isinstance(key, str) else key, bytes.fromhex(content)))
    return urlsafe_b64encode(packed).rstrip(b"=").decode("ascii")


def read_cursor(text: str, sort: SortOrder) -> Cursor:
    """:raises Misuse: if it is no cursor of a search in this order."""
    try:
        made_for, key, content = _decode(urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)))
    except (UnicodeEncodeError, binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise Misuse("the page is none that a search named", "Use `next` of the page before") from error
    if made_for != sort or isinstance(key, bytes) != (sort == "name"):
        raise Misuse(f"the page is of a search in another order than {sort}", "Repeat the search with the same --sort")
    return Cursor((key.hex() if isinstance(key, bytes) else key, content.hex()), sort)
