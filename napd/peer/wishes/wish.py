"""A wish: words and filters that somebody wants to hear of, and what was found for it. Pure."""

from __future__ import annotations

from attrs import define, frozen
from msgspec import Struct

from ...errors import Misuse
from ...model import ContentId
from ...wire.control import SearchParams, WishAddParams
from ...wire.index import MAX_PAGE, FileKind
from ..asking import check_extensions, check_words, user_named


class Query(Struct, frozen=True, omit_defaults=True):
    """What is wished for, as a search takes it; two that are equal are one wish."""

    query: str
    ext: tuple[str, ...] = ()
    type: FileKind | None = None
    min_size: int | None = None
    max_size: int | None = None
    min_bitrate: int | None = None
    user: str | None = None

    @classmethod
    def of(cls, params: WishAddParams) -> Query:
        """:raises Misuse: there is nothing to wish for, or more than can be asked."""
        check_words(params.query)
        check_extensions(params.ext)
        if not params.query.strip():
            raise Misuse("there is nothing to wish for", "Give at least one word")
        return cls(
            query=" ".join(params.query.split()),
            ext=tuple(dict.fromkeys(ext.lower() for ext in params.ext)),
            type=params.type,
            min_size=params.min_size,
            max_size=params.max_size,
            min_bitrate=params.min_bitrate,
            user=user_named(params.user),
        )

    def search(self) -> SearchParams:
        """The search that finds what is there already: one page, as long as pages may be."""
        return SearchParams(
            query=self.query,
            ext=self.ext,
            type=self.type,
            min_size=self.min_size,
            max_size=self.max_size,
            min_bitrate=self.min_bitrate,
            user=self.user,
            limit=MAX_PAGE,
        )


@define
class Wish:
    """`get`: what is found is queued. `found`: contents so far; `last`: when, in seconds since 1970."""

    id: int
    query: Query
    get: bool
    added: float
    found: int = 0
    last: float | None = None


@frozen
class Find:
    """A content that was found for a wish; claims of others but for the content id. `at`: seconds since 1970.

    `download`: under which id it was queued.
    """

    wish: int
    content: ContentId
    name: str
    size: int
    at: float
    download: int | None = None
