"""What a search is asked and answers, whatever engine is behind it (docs/explanation/index.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import msgspec
from attrs import frozen

from ..model import ContentId
from ..wire import index as wire
from .attributes import ANY, Attributes
from .items import Asker, Item
from .language import understand
from .order import Cursor, read_cursor
from .query import Query
from .table import Row


@frozen
class Wanted:
    """One page of a search. `after`: where the page before ended."""

    query: Query
    sort: wire.SortOrder = "best"
    limit: int = 100
    after: Cursor | None = None


class Found(msgspec.Struct, eq=False, gc=False):
    """One content that matches, as it is told.

    :param sources: accounts that offer it to the asker; `users` names some of them.
    :param names: different ones that they give it.
    :ivar line: the same, as a row of an answer, once it was one.
    """

    content: ContentId
    shown: Row
    sources: int
    users: Sequence[str]
    names: int = 1
    line: bytes | None = None


@frozen
class Page:
    """`truncated`: there is more than this; `next` is the cursor to it, None when it cannot be paged to.

    :param reason: why nothing can match (`Query.impossible`).
    """

    results: Sequence[Found]
    truncated: bool
    next: str | None
    reason: str | None = None


class SearchEngine(Protocol):
    """Finds contents by the names of items, online ones only. In memory, derived from the store, this process's own.

    An item that the asker may not see changes nothing in any answer. A content that the asker offers is no result.
    """

    def learn(self, items: Iterable[Item]) -> None:
        """Take in items of the store; known ones are passed over."""

    def forget(self, items: Iterable[int]) -> None:
        """These are gone from the store; nobody online holds them."""

    def forget_each(self, items: Iterable[int]) -> Iterator[int]:
        """The same as far as it is asked for: one item that was known after the other."""

    def size(self) -> tuple[int, int]:
        """Items and distinct terms in memory."""

    def frequency(self, term: str) -> int:
        """How many items there are with this term, online or not."""

    def search(self, wanted: Wanted, asker: Asker) -> Page:
        """One page, its work bounded whatever is asked."""


def query_of(message: wire.Search | wire.Wish) -> Query:
    """What is typed and what is chosen besides, together.

    :raises Misuse: nothing to search for."""
    ext = tuple(sorted({cleaned for ext in message.ext if (cleaned := ext.strip().lstrip(".").lower())}))
    chosen = Attributes(
        ext=ext or None,
        kinds=None if message.type is None else (message.type,),
        min_size=message.min_size or 0,
        max_size=ANY.max_size if message.max_size is None else message.max_size,
        min_bitrate=message.min_bitrate or 0,
    )
    return understand(message.query, chosen, None if message.user is None else (message.user,))


def wanted_of(message: wire.Search, most: int) -> Wanted:
    """:param most: results that a page may have.
    :raises Misuse: nothing to search for, or a cursor that is none of this order."""
    return Wanted(
        query=query_of(message),
        sort=message.sort,
        limit=min(message.limit, most),
        after=None if message.cursor is None else read_cursor(message.cursor, message.sort),
    )
