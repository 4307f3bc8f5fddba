"""What a content is called: names, sizes and media are claims, and what most distinct online accounts say is shown.

It never matters who came first. Ties are broken by the values themselves, so that every node shows the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from heapq import nlargest
from typing import Any, TypeVar

from attrs import frozen

from ..wire.catalogue import Media
from .items import Asker
from .presence import Presence
from .table import ItemTable, Row

#: Items weighed for one content; of more (the empty file, say), those with the most holders.
MAX_WEIGHED = 200

V = TypeVar("V")


@frozen
class Shown:
    """A content as one asker sees it."""

    name: str
    folder: str
    size: int
    media: Media | None
    text: str


def shown(table: ItemTable, presence: Presence, content: int, asker: Asker) -> Shown | None:
    """What the accounts online say of a content, the asker left out; None if nobody else offers it to him."""
    items = presence.items_for(content, asker)
    if len(items) > MAX_WEIGHED:
        items = nlargest(MAX_WEIGHED, items, key=lambda item: (len(presence.holders_of_item(item)), -item))
    said = [(table.row(item), voters) for item in items if (voters := _voters(presence, item, asker))]
    if not said:
        return None
    if len(said) == 1:
        return _shown(said[0][0])
    name = _most(said, lambda row: row.name)
    named = [(row, voters) for row, voters in said if row.name == name]
    folder = _most(named, lambda row: row.folder)
    chosen = next(row for row, _ in named if row.folder == folder)
    with_media = [(row, voters) for row, voters in said if row.media is not None]
    return Shown(
        name=name,
        folder=folder,
        size=_most(said, lambda row: row.size),
        media=_most(with_media, lambda row: row.media, _media_order) if with_media else None,
        text=chosen.text,
    )


def _voters(presence: Presence, item: int, asker: Asker) -> Collection[int]:
    holders = presence.holders_of_item(item)
    return [number for number in holders if number != asker.number] if asker.number in holders else holders


def _shown(row: Row) -> Shown:
    return Shown(row.name, row.folder, row.size, row.media, row.text)


def _most(
    said: Sequence[tuple[Row, Iterable[int]]],
    claim: Callable[[Row], V],
    order: Callable[[V], Any] = lambda value: value,
) -> V:
    votes: dict[V, set[int]] = {}
    for row, voters in said:
        votes.setdefault(claim(row), set()).update(voters)
    return min(votes, key=lambda value: (-len(votes[value]), order(value)))


def _media_order(media: Media | None) -> tuple[float, ...]:
    if media is None:
        return ()
    return tuple(v or 0.0 for v in (media.duration_s, media.bitrate_kbps, media.width, media.height))
