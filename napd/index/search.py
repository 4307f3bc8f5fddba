"""What a search is asked and answers, whatever engine is behind it (docs/explanation/index.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from attrs import frozen

from ..model import ContentId
from ..wire import index as wire
from .filters import NO_WISH, Wished
from .items import Asker, Item
from .order import Cursor, read_cursor
from .query import Query, understand
from .table import Row


@frozen
class Wanted:
    """A search, understood.

    :param user: only what this user offers.
    :param after: where the page before ended.
    """

    query: Query
    wished: Wished = NO_WISH
    user: str | None = None
    sort: wire.SortOrder = "best"
    limit: int = 100
    after: Cursor | None = None


@frozen
class Found:
    """One content that matches. `sources` counts the accounts that offer it to the asker; `holders` are they.

    :param names: different ones that they give it.
    """

    content: ContentId
    shown: Row
    holders: Sequence[int]
    names: int = 1

    @property
    def sources(self) -> int:
        return len(self.holders)


@frozen
class Page:
    """`truncated`: there is more than this; `next` is the cursor to it, None when it cannot be paged to."""

    results: Sequence[Found]
    truncated: bool
    next: str | None


class SearchEngine(Protocol):
    """Finds contents by the names of items, online ones only. In memory, derived from the store, this process's own.

    An item that the asker may not see changes nothing in any answer. A content that the asker offers is no result.
    """

    def learn(self, items: Iterable[Item]) -> None:
        """Take in items of the store; known ones are passed over."""

    def forget(self, items: Iterable[int]) -> None:
        """These are gone from the store; nobody online holds them."""

    def search(self, wanted: Wanted, asker: Asker) -> Page:
        """One page, its work bounded whatever is asked."""


def wished_of(message: wire.Search | wire.Wish) -> Wished:
    ext = tuple(sorted({cleaned for ext in message.ext if (cleaned := ext.strip().lstrip(".").lower())}))
    return Wished(ext, message.type, message.min_size, message.max_size, message.min_bitrate)


def wanted_of(message: wire.Search, most: int) -> Wanted:
    """:param most: results that a page may have.
    :raises Misuse: nothing to search for, or a cursor that is none of this order."""
    return Wanted(
        query=understand(message.query),
        wished=wished_of(message),
        user=message.user,
        sort=message.sort,
        limit=min(message.limit, most),
        after=None if message.cursor is None else read_cursor(message.cursor, message.sort),
    )
