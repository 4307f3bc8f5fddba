"""What a content is called: names, sizes and media are claims, and what most distinct online accounts say is shown.

How many accounts offer an item is known, so most elections are decided by these counts alone. Where they are not (one
account may offer a content in several folders, and has one vote all the same) accounts are asked. What was found for a
content without restricted items is kept (`views`) until its holders change. It never matters who came first. Ties are
broken by the values themselves, so that every node shows the same.
"""

from __future__ import annotations

from binascii import crc32
from collections.abc import Callable, Collection, Iterable, Sequence
from heapq import nsmallest
from itertools import islice
from typing import Any, TypeVar

from attrs import frozen
from msgspec.structs import replace
from pyroaring import BitMap

from ..wire.catalogue import Media
from .elections import elected
from .items import Asker
from .presence import Presence
from .search import Found
from .table import ItemTable, Row, media_of
from .views import View

#: Accounts that are asked what they call a content; of more, a part that has nothing to do with when they came.
MAX_ASKED = 256
#: Names of one content that one account is asked for (it may share the empty file under thousands).
MAX_NAMES = 8
#: Items of one content that are compared with a search.
MAX_JUDGED = 256
#: Items of one content whose names are counted; the empty file may have thousands.
MAX_COUNTED = 1_000
#: The most offered items of a content that are counted, as long as these do not decide what it is called.
COUNTED = (8, 64, MAX_COUNTED)
#: Holders of a content that are told by name.
MAX_USERS = 20

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

    def of(self, items: Iterable[int], table: ItemTable) -> Sequence[int]:
        fits, matching = self.fits, self.items
        found = [item for item in items if item in matching]
        return tuple(found if fits is None else (item for item in found[:MAX_JUDGED] if fits(table.row(item))))


def shown(table: ItemTable, presence: Presence, content: int, asker: Asker, among: Among | None = None) -> Row | None:
    """What the accounts online say of a content, the asker left out; None if nobody else offers it to the asker.

    :param among: what was searched for: who calls it something else is not asked.
    """
    own = presence.get(asker.number)
    if presence.has_restricted(content) or (own is not None and presence.holds(own, content)):
        return _shown_apart(table, presence, content, asker, among)
    view = _view(table, presence, content, asker, among)
    return None if view is None else view.row


def found(table: ItemTable, presence: Presence, contents: Iterable[int], asker: Asker, among: Among) -> Sequence[Found]:
    """Contents that match, as they are told to the asker, who has none of them. What nobody offers him is left out."""
    told: list[Found | None] = []
    new: list[tuple[int, int, View]] = []
    for content in contents:
        if presence.has_restricted(content):
            told.append(_found_apart(table, presence, content, asker, among))
            continue
        view = _view(table, presence, content, asker, among)
        if view is not None and view.found is None:
            new.append((len(told), content, view))
        told.append(None if view is None else view.found)
    users = presence.some_users([content for _, content, _ in new], MAX_USERS)
    for (at, content, view), names in zip(new, users, strict=True):
        sources = presence.count_for(content, asker)
        told[at] = view.found = Found(table.content_id(content), view.row, sources, tuple(sorted(names)), view.names)
    return [one for one in told if one is not None]


def _found_apart(table: ItemTable, presence: Presence, content: int, asker: Asker, among: Among) -> Found | None:
    """The same where not everybody sees the same."""
    row = _shown_apart(table, presence, content, asker, among)
    if row is None:
        return None
    holders = sorted(presence.holders_for(content, asker))
    told = (presence.get(holder) for holder in holders[:MAX_USERS])
    users = sorted(online.account.user for online in told if online is not None)
    names = {table.row(item).name for item in islice(presence.items_for(content, asker), MAX_COUNTED)}
    return Found(table.content_id(content), row, len(holders), users, len(names))


# --- What everybody sees -------------------------------------------------------------------------


def _view(table: ItemTable, presence: Presence, content: int, asker: Asker, among: Among | None) -> View | None:
    """Of a content that nobody restricts and the asker does not offer."""
    view = presence.views.get(content)
    if view is None:
        items = presence.offered_items(content)
        row = _claimed(table, presence, content, items, asker)
        if row is None:
            return None
        names = 1 if len(items) == 1 else len({table.said(item)[0] for item in items[:MAX_COUNTED]})
        view = View(tuple(items), row, names)
        presence.views.put(content, view)
    if among is None or len(view.items) == 1:
        return view
    matching = among.of(view.items, table)
    if not 0 < len(matching) < len(view.items):
        return view
    if view.narrowed is None or view.narrowed.items != matching:
        row = _claimed(table, presence, content, matching, asker)
        if row is None:
            return view
        view.narrowed = View(matching, row, view.names)
    return view.narrowed


def _claimed(table: ItemTable, presence: Presence, content: int, items: Sequence[int], asker: Asker) -> Row | None:
    """What those say who offer one of these items."""
    if len(items) <= 1:
        return table.row(items[0]) if items else None
    by_votes = sorted(((presence.offers(item), item) for item in items), reverse=True)
    for counted in COUNTED:
        row = _elected(table, by_votes[:counted], sum(votes for votes, _ in by_votes[counted:]))
        if row is not None:
            return row
        if counted >= len(items):
            break
    return _ask(table, presence, content, BitMap(items), asker)


def _elected(table: ItemTable, by_votes: Sequence[tuple[int, int]], uncounted: int) -> Row | None:
    """The same by numbers of accounts alone; None if these do not tell.

    :param by_votes: how many accounts offer each item; so many more offer others.
    """
    votes, items = zip(*by_votes, strict=True)
    if votes[0] > sum(votes[1:]) + uncounted and table.said(items[0])[1]:
        # More than all others together.
        return table.row(items[0])
    # Bytes of UTF-8 are in the order of their characters.
    names, medias = zip(*map(table.said, items), strict=True)
    name = elected(names, votes, uncounted)
    size = elected([table.sizes.one(item) for item in items], votes, uncounted)
    described = [at for at, media in enumerate(medias) if media]
    if name is None or size is None or (uncounted and not described):
        return None
    media: bytes | None = b""
    if described:
        media = elected([medias[at] for at in described], [votes[at] for at in described], uncounted, _media_order)
    named = [at for at, one in enumerate(names) if one == name]
    folders = [table.folder_of(items[at]) for at in named]
    folder = elected(folders, [votes[at] for at in named], uncounted)
    if folder is None or media is None:
        return None
    first = named[folders.index(folder)]
    row = table.row(items[first])
    same = row.size == size and medias[first] == media
    return row if same else replace(row, size=size, media=media_of(media))


# --- Asking accounts -----------------------------------------------------------------------------


def _shown_apart(table: ItemTable, presence: Presence, content: int, asker: Asker, among: Among | None) -> Row | None:
    """`shown` where this asker sees something else than everybody does."""
    items = presence.items_for(content, asker)
    if among is not None:
        matching = among.of(items, table)
        if 0 < len(matching) < len(items):
            row = _ask(table, presence, content, BitMap(matching), asker)
            if row is not None:
                return row
    return _ask(table, presence, content, items, asker)


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
    return replace(
        next(row for row, _ in named if row.folder == folder),
        size=_most(said, lambda row: row.size),
        media=_most(described, lambda row: row.media, _figures_order) if described else None,
    )


def _most(said: Said, claim: Callable[[Row], V], order: Callable[[V], Any] = lambda value: value) -> V:
    votes: dict[V, set[int]] = {}
    for row, accounts in said:
        votes.setdefault(claim(row), set()).update(accounts)
    return min(votes, key=lambda value: (-len(votes[value]), order(value)))


def _media_order(media: bytes) -> tuple[float, ...]:
    return _figures_order(media_of(media))


def _figures_order(media: Media | None) -> tuple[float, ...]:
    if media is None:
        return ()
    return tuple(v or 0.0 for v in (media.duration_s, media.bitrate_kbps, media.width, media.height))
