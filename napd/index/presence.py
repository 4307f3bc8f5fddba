"""Who is online and what they hold, in memory only: connecting and leaving cost time in the size of one's own list.

Everything that a stranger may learn from here is counted from listings for `everyone`; restricted ones are kept apart
and count only for those who may see them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from attrs import define, field
from pyroaring import BitMap

from .bands import Bands
from .items import Asker
from .multimap import Multimap
from .store.interface import Account
from .swarms import Swarms
from .table import ItemTable, Row


@define(eq=False)
class Online:
    """An account that is online.

    :param since: seconds since 1970.
    :param addresses: where others can dial it, proven, best first.
    :param items: all that it holds; `contents`, `listings` and `bytes` are of those for everyone.
    """

    account: Account
    session: int
    since: float
    addresses: tuple[str, ...] = ()
    items: BitMap = field(factory=BitMap)
    contents: BitMap = field(factory=BitMap)
    listings: int = 0
    bytes: int = 0
    #: Contents that it offers to everyone under more than one item, and how many more.
    _more: dict[int, int] = field(factory=dict)

    def gains(self, content: int) -> bool:
        """One more item of this content; whether it is the first."""
        if content in self.contents:
            self._more[content] = self._more.get(content, 0) + 1
            return False
        self.contents.add(content)
        return True

    def loses(self, content: int) -> bool:
        """One item less of this content; whether it was the last."""
        more = self._more.get(content, 0)
        if more == 0:
            self.contents.discard(content)
            return True
        if more == 1:
            del self._more[content]
        else:
            self._more[content] = more - 1
        return False


class Presence:
    """Every id that is added must be in the table, and stay there as long as somebody online holds it."""

    def __init__(self, table: ItemTable) -> None:
        self._table = table
        self._online: dict[int, Online] = {}
        self._by_user: dict[str, Online] = {}
        #: Content → accounts that offer it to everyone.
        self._sources = Multimap()
        #: Content → restricted items of it that somebody holds; such an item → accounts; audience member → items.
        self._restricted = Multimap()
        self._restricted_holders = Multimap()
        self._by_token: dict[str, BitMap] = {}
        #: Items that anybody online offers to everyone.
        self.everyone = BitMap()
        self.bands = Bands()
        #: What contents are called, as `claims` found it; each is dropped when its holders change.
        self.shown: dict[int, Row] = {}
        self.bytes = 0
        self.listings = 0
        self.swarms = Swarms(self._is_offered)

    # --- Coming and going ------------------------------------------------------------------------

    def connect(self, account: Account, session: int, since: float) -> Online:
        """Bring an account online, holding nothing yet: `add` follows. It must not be online."""
        online = Online(account, session, since)
        self._online[account.number] = online
        self._by_user[account.user] = online
        return online

    def disconnect(self, online: Online) -> Collection[int]:
        """Contents whose holders are fewer now."""
        changed = self._remove(online, online.items, withdrawn=False)
        self.swarms.drop(online.account, list(self.swarms.of(online.account)))
        del self._online[online.account.number]
        del self._by_user[online.account.user]
        return changed

    def add(self, online: Online, items: Iterable[int]) -> Collection[int]:
        """Contents whose holders may have changed."""
        added = BitMap(items) - online.items
        online.items |= added
        restricted = added & self._table.restricted
        changed = self._add_public(online, added - restricted)
        if self.swarms:
            self.swarms.offered(self._table.content_id(content) for content in changed)
        for item in restricted:
            changed.add(self._add_restricted(online, item))
        return changed

    def remove(self, online: Online, items: Iterable[int]) -> Collection[int]:
        """The account takes these back. Contents whose holders may have changed."""
        return self._remove(online, items, withdrawn=True)

    def took_back(self, items: Iterable[int]) -> Collection[str]:
        """Somebody who was not online offers these no more; ids of contents that may not be served on any longer."""
        if not self.swarms:
            return ()
        rows = [self._table.get(item) for item in items if item not in self._table.restricted]
        contents = {row.content for row in rows if row is not None}
        gone = [self._table.content_id(content) for content in contents if content not in self._sources]
        self.swarms.withdrawn(gone)
        return gone

    def _remove(self, online: Online, items: Iterable[int], *, withdrawn: bool) -> Collection[int]:
        removed = BitMap(items) & online.items
        online.items -= removed
        restricted = removed & self._table.restricted
        changed = self._remove_public(online, removed - restricted)
        if withdrawn and self.swarms:
            gone = (content for content in changed if content not in self._sources)
            self.swarms.withdrawn(self._table.content_id(content) for content in gone)
        for item in restricted:
            changed.add(self._remove_restricted(online, item))
        return changed

    def _add_public(self, online: Online, items: BitMap) -> set[int]:
        number, sources, everyone, row_of = online.account.number, self._sources, self.everyone, self._table.row
        shown = self.shown
        changed: set[int] = set()
        size = 0
        for item in items:
            row = row_of(item)
            size += row.size
            content = row.content
            changed.add(content)
            if content in shown:
                del shown[content]
            if online.gains(content):
                before = sources.count(content)
                sources.add(content, number)
                if before and self.bands.apart(before, before + 1):
                    self.bands.move(self._items_online(content), before, before + 1)
            if item not in everyone:
                everyone.add(item)
                self.bands.put(item, sources.count(content))
        self._count(online, len(items), size)
        return changed

    def _remove_public(self, online: Online, items: BitMap) -> set[int]:
        number, sources, row_of = online.account.number, self._sources, self._table.row
        changed: set[int] = set()
        size = 0
        for item in items:
            row = row_of(item)
            size += row.size
            content = row.content
            changed.add(content)
            self.shown.pop(content, None)
            before = sources.count(content)
            gone = online.loses(content)
            if gone:
                sources.discard(content, number)
            if not self._is_held(item, content):
                self.everyone.discard(item)
                self.bands.take(item, before)
            if gone and before > 1 and self.bands.apart(before, before - 1):
                self.bands.move(self._items_online(content), before, before - 1)
        self._count(online, -len(items), -size)
        return changed

    def _count(self, online: Online, listings: int, size: int) -> None:
        online.listings += listings
        online.bytes += size
        self.listings += listings
        self.bytes += size

    def _is_offered(self, content: str) -> bool:
        """Whether anybody online offers this content to everyone."""
        number = self._table.number_of(content)
        return number is not None and number in self._sources

    def _is_held(self, item: int, content: int) -> bool:
        """Whether anybody online offers this item to everyone."""
        return any(item in self._online[account].items for account in self._sources.of(content))

    def _items_online(self, content: int) -> BitMap:
        """Items of a content that anybody online offers to everyone."""
        return BitMap(self._table.items_of(content)) & self.everyone

    def _add_restricted(self, online: Online, item: int) -> int:
        row = self._table.row(item)
        self.listings += 1
        self.bytes += row.size
        self._restricted_holders.add(item, online.account.number)
        self._restricted.add(row.content, item)
        for token in row.audience or ():
            self._by_token.setdefault(token, BitMap()).add(item)
        return row.content

    def _remove_restricted(self, online: Online, item: int) -> int:
        row = self._table.row(item)
        self.listings -= 1
        self.bytes -= row.size
        self._restricted_holders.discard(item, online.account.number)
        if item not in self._restricted_holders:
            self._restricted.discard(row.content, item)
            # What was stored by others may name one of them twice.
            for token in set(row.audience or ()):
                having = self._by_token[token]
                having.discard(item)
                if not having:
                    del self._by_token[token]
        return row.content

    # --- Looking ---------------------------------------------------------------------------------

    def get(self, account: int) -> Online | None:
        return self._online.get(account)

    def by_user(self, user: str) -> Online | None:
        return self._by_user.get(user)

    def all(self) -> Collection[Online]:
        return self._online.values()

    def restricted_for(self, asker: Asker) -> BitMap:
        """Items online that are not for everyone and that the asker may see."""
        return BitMap.union(BitMap(), *(self._by_token[t] for t in asker.tokens() if t in self._by_token))

    def items_for(self, content: int, asker: Asker) -> BitMap:
        """Items of a content that are online and that the asker may see."""
        found = self._items_online(content)
        found.update(self._visible_restricted(content, asker))
        return found

    def holders_for(self, content: int, asker: Asker) -> Collection[int]:
        """Accounts that offer this content to the asker, whatever they call it; the asker too, if it does."""
        public = self._sources.of(content)
        restricted = self._visible_restricted(content, asker)
        if not restricted:
            return public
        return set(public).union(*(self._restricted_holders.of(item) for item in restricted))

    def has_restricted(self, content: int) -> bool:
        """Whether anybody online offers it to some only, so that askers may see different things."""
        return content in self._restricted

    def count_for(self, content: int, asker: Asker) -> int:
        """How many `holders_for` has."""
        if content in self._restricted:
            return len(self.holders_for(content, asker))
        return self._sources.count(content)

    def holds(self, online: Online, content: int) -> bool:
        """Whether this account offers the content to anybody."""
        return content in online.contents or any(item in online.items for item in self._restricted.of(content))

    def contents_of(self, online: Online) -> Collection[int]:
        """All that an account offers to anybody."""
        restricted = {self._table.row(item).content for item in online.items & self._table.restricted}
        return restricted.union(online.contents)

    def figures_for(self, online: Online, asker: Asker) -> tuple[int, int]:
        """Listings and bytes of an account, as far as the asker may see them."""
        listings, size = online.listings, online.bytes
        for item in online.items & self._table.restricted:
            row = self._table.row(item)
            if online.account.number == asker.number or asker.may_see(row.audience or ()):
                listings += 1
                size += row.size
        return listings, size

    @property
    def contents(self) -> int:
        """Distinct contents that anybody online holds."""
        return len(self._sources) + sum(1 for content in self._restricted if content not in self._sources)

    def _visible_restricted(self, content: int, asker: Asker) -> list[int]:
        if content not in self._restricted:
            return []
        return [item for item in self._restricted.of(content) if asker.may_see(self._table.row(item).audience or ())]
