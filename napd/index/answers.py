"""What the index found, in the words of the wire: as many lines as it takes, each within the limit of a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec
from msgspec import Struct

from ..wire import index as wire
from ..wire.kinds import kind_of
from ..wire.line import MAX_LINE_BYTES
from .items import Asker
from .presence import Online, Presence
from .search import Found, Page
from .words import fold

#: Bytes of a line left for what is not a row.
_FRAME_BYTES = 1024

Row = TypeVar("Row", bound=Struct)
_encode = msgspec.json.Encoder().encode


def results(request: int, page: Page, presence: Presence, took_ms: float) -> Iterator[wire.Results]:
    """A page of a search, its parts in order."""
    rows = (_result(found, presence) for found in page.results)
    for part, last in _in_lines(rows):
        if last:
            yield wire.Results(request, part, True, page.truncated, page.next, took_ms, page.reason)
        else:
            yield wire.Results(request, part, last=False)


def wished(number: int, founds: Iterable[Found], presence: Presence, *, more: bool) -> Iterator[wire.Wished]:
    """What was announced and matches a wish."""
    for part, last in _in_lines(_result(found, presence) for found in founds):
        yield wire.Wished(number, part, more=more and last)


def users(request: int, words: str, presence: Presence, asker: Asker) -> Iterator[wire.UserList]:
    """Who is online, by name; with words, those whose names have all of them."""
    for part, last in _in_lines(user_rows(words, presence, asker)):
        yield wire.UserList(request, part, last)


def user_rows(words: str, presence: Presence, asker: Asker) -> Iterator[wire.UserRow]:
    wanted = fold(words).split()
    found = [online for online in presence.all() if all(word in online.account.user for word in wanted)]
    for online in sorted(found, key=lambda online: online.account.user):
        listings, size = presence.figures_for(online, asker)
        yield _user_row(online, listings, size)


def _user_row(online: Online, listings: int, size: int) -> wire.UserRow:
    return wire.UserRow(online.account.user, online.account.key, listings, size, online.since)


def _result(found: Found, presence: Presence) -> wire.Result:
    holders = (presence.get(number) for number in found.holders)
    names = sorted(online.account.user for online in holders if online is not None)
    media = {} if found.shown.media is None else msgspec.structs.asdict(found.shown.media)
    return wire.Result(
        content=found.content,
        name=found.shown.name,
        folder=found.shown.folder,
        size=found.shown.size,
        sources=found.sources,
        users=tuple(names[: wire.MAX_USERS_TOLD]),
        type=kind_of(found.shown.name),
        media={field: float(value) for field, value in media.items() if value is not None},
        names=found.names,
    )


def _in_lines(rows: Iterable[Row]) -> Iterator[tuple[tuple[Row, ...], bool]]:
    """Rows in groups that fit into a line each, and whether that is the last; one empty group if there are none."""
    part: list[Row] = []
    left = MAX_LINE_BYTES - _FRAME_BYTES
    for row in rows:
        size = len(_encode(row)) + 1
        if part and size > left:
            yield tuple(part), False
            part, left = [], MAX_LINE_BYTES - _FRAME_BYTES
        part.append(row)
        left -= size
    yield tuple(part), True
