"""What the index found, in the words of the wire: as many lines as it takes, each within the limit of a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from ..wire import index as wire
from ..wire.kinds import kind_of
from ..wire.line import MAX_LINE_BYTES
from .items import Asker
from .presence import Online, Presence
from .search import Found, Page
from .words import fold

#: Bytes of a line left for what is not a row.
_FRAME_BYTES = 1024

_encode = msgspec.json.Encoder().encode


def results(request: int, page: Page, took_ms: float) -> Iterator[wire.Results]:
    """A page of a search, its parts in order."""
    for part, last in _in_lines(map(_row, page.results)):
        if last:
            yield wire.Results(request, part, True, page.truncated, page.next, took_ms, page.reason)
        else:
            yield wire.Results(request, part, last=False)


def wished(number: int, founds: Iterable[Found], *, more: bool) -> Iterator[wire.Wished]:
    """What was announced and matches a wish."""
    for part, last in _in_lines(map(_row, founds)):
        yield wire.Wished(number, part, more=more and last)


def users(request: int, words: str, presence: Presence, asker: Asker) -> Iterator[wire.UserList]:
    """Who is online, by name; with words, those whose names have all of them."""
    rows = (msgspec.Raw(_encode(row)) for row in user_rows(words, presence, asker))
    for part, last in _in_lines(rows):
        yield wire.UserList(request, part, last)


def user_rows(words: str, presence: Presence, asker: Asker) -> Iterator[wire.UserRow]:
    wanted = set(fold(words).split())
    found = [online for online in presence.all() if all(word in online.account.user for word in wanted)]
    for online in sorted(found, key=lambda online: online.account.user):
        # Long lists take their time, and somebody may go meanwhile.
        if presence.get(online.account.number) is not online:
            continue
        listings, size = presence.figures_for(online, asker)
        yield _user_row(online, listings, size)


def _user_row(online: Online, listings: int, size: int) -> wire.UserRow:
    return wire.UserRow(online.account.user, online.account.key, listings, size, online.since)


def _row(found: Found) -> msgspec.Raw:
    """Encoded once, however often it is told."""
    if found.line is None:
        found.line = _encode(_result(found))
    return msgspec.Raw(found.line)


def _result(found: Found) -> wire.Result:
    media = {} if found.shown.media is None else msgspec.structs.asdict(found.shown.media)
    return wire.Result(
        content=found.content,
        name=found.shown.name,
        folder=found.shown.folder,
        size=found.shown.size,
        sources=found.sources,
        users=tuple(found.users),
        type=kind_of(found.shown.name),
        media={field: float(value) for field, value in media.items() if value is not None},
        names=found.names,
    )


def _in_lines(rows: Iterable[msgspec.Raw]) -> Iterator[tuple[Any, bool]]:
    """Encoded rows in groups that fit into a line each, and whether that is the last. Without rows, an empty group."""
    part: list[msgspec.Raw] = []
    left = MAX_LINE_BYTES - _FRAME_BYTES
    for row in rows:
        size = len(row) + 1
        if part and size > left:
            yield tuple(part), False
            part, left = [], MAX_LINE_BYTES - _FRAME_BYTES
        part.append(row)
        left -= size
    yield tuple(part), True
