"""What a content is called: names, sizes and media are claims, and what most distinct online accounts say is shown.

What was found for a content without restricted items is kept (`Presence.shown`) until its holders change. It never
matters who came first. Ties are broken by the values themselves, so that every node shows the same.
"""

from __future__ import annotations

from binascii import crc32
from collections.abc import Callable, Collection, Iterable, Sequence
from heapq import nsmallest
from itertools import islice
from typing import Any, TypeVar

from attrs import evolve, frozen
from pyroaring import BitMap

from ..wire.catalogue import Media
from .items import Asker
from .presence import Presence
from .search import Found
from .table import ItemTable, Row

#: Accounts that are asked what they call a content; of more, a part that has nothing to do with when they came.
MAX_ASKED = 256
#: Names of one content that one account is asked for (it may share the empty file under thousands).
MAX_NAMES = 8
#: Items of one content that are compared with a search.
MAX_JUDGED = 256
#: Items of one content whose names are counted; the empty file may have thousands.
MAX_COUNTED = 1_000

V = TypeVar("V")
#: Items of one content, with the accounts that say so.
Said = Sequence[tuple[Row, Iterable[int]]]


@frozen
class Among:
    """Items that answer a search: only they have a say in what a content is called in its results.

    :param fits: what a look tells besides; None: nothing.
    """

    items: BitMap
    fits: Callable[[Row], bool] | None

    def of(self, items: BitMap, table: ItemTable) -> BitMap:
        fits = self.fits
        if fits is None:
            return items & self.items
        return BitMap(item for item in islice(items & self.items, MAX_JUDGED) if fits(table.row(item)))


def shown(table: ItemTable, presence: Presence, content: int, asker: Asker, among: Among | None = None) -> Row | None:
    """What the accounts online say of a content, the asker left out; None if nobody else offers it to the asker.

    :param among: what was searched for: who calls it something else is not asked.
    """
    only = table.only_item_of(content)
    if only is not None:
        # By far the most contents have one name only, so whoever offers them says that.
        return table.row(only) if presence.is_offered_by_others(content, asker) else None
    items = presence.items_for(content, asker)
    if among is not None:
        matching = among.of(items, table)
        # Where all match, what everybody says is right, and may be known already.
        if 0 < len(matching) < len(items) and (found := _ask(table, presence, content, matching, asker)) is not None:
            return found
    own = presence.get(asker.number)
    if presence.has_restricted(content) or (own is not None and presence.holds(own, content)):
        return _ask(table, presence, content, items, asker)
    found = presence.shown(content)
    if found is None:
        found = _ask(table, presence, content, items, asker)
        if found is not None:
            presence.show(content, found)
    return found


def found(table: ItemTable, presence: Presence, content: int, asker: Asker, among: Among) -> Found | None:
    """A content that matches, as it is told to the asker; None if nobody else offers it to him."""
    seen = shown(table, presence, content, asker, among)
    if seen is None:
        return None
    holders = sorted(presence.holders_for(content, asker))
    return Found(table.content_id(content), seen, holders, names(table, presence, content, asker))


def names(table: ItemTable, presence: Presence, content: int, asker: Asker) -> int:
    """How many different names a content is offered under to the asker, by anybody online."""
    if len(table.items_of(content)) == 1:
        return 1
    return len({table.row(item).name for item in islice(presence.items_for(content, asker), MAX_COUNTED)})


def _ask(table: ItemTable, presence: Presence, content: int, items: BitMap, asker: Asker) -> Row | None:
    """What those say who hold one of these items."""
    holders = presence.holders_for(content, asker)
    asked = [
        (account, online.items)
        for account in _asked(table.content_id(content), holders, asker)
        if (online := presence.get(account)) is not None
    ]
    said: dict[int, list[int]] = {}
    if len(items) <= MAX_NAMES:
        for item in items:
            said[item] = [account for account, held in asked if item in held]
    else:
        for account, held in asked:
            for item in islice(held & items, MAX_NAMES):
                said.setdefault(item, []).append(account)
    return _majority([(table.row(item), accounts) for item, accounts in said.items() if accounts])


def _asked(content: str, holders: Collection[int], asker: Asker) -> Iterable[int]:
    if len(holders) > MAX_ASKED:
        seed = crc32(content.encode())
        # Knuth's multiplicative hash: a part that no account can choose to be in.
        holders = nsmallest(MAX_ASKED, holders, key=lambda account: (account * 2654435761 + seed) & 0xFFFFFFFF)
    return (account for account in holders if account != asker.number)


def _majority(said: Said) -> Row | None:
    if len(said) <= 1:
        return said[0][0] if said else None
    name = _most(said, lambda row: row.name)
    named = [(row, accounts) for row, accounts in said if row.name == name]
    folder = _most(named, lambda row: row.folder)
    described = [(row, accounts) for row, accounts in said if row.media is not None]
    return evolve(
        next(row for row, _ in named if row.folder == folder),
        size=_most(said, lambda row: row.size),
        media=_most(described, lambda row: row.media, _media_order) if described else None,
    )


def _most(said: Said, claim: Callable[[Row], V], order: Callable[[V], Any] = lambda value: value) -> V:
    votes: dict[V, set[int]] = {}
    for row, accounts in said:
        votes.setdefault(claim(row), set()).update(accounts)
    return min(votes, key=lambda value: (-len(votes[value]), order(value)))


def _media_order(media: Media | None) -> tuple[float, ...]:
    if media is None:
        return ()
    return tuple(v or 0.0 for v in (media.duration_s, media.bitrate_kbps, media.width, media.height))
