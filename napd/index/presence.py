"""Who is online and what they hold, in memory only: connecting and leaving cost time in the size of one's own list.

Everything that a stranger may learn from here is counted from listings for `everyone`; restricted ones are kept apart
and count only for those who may see them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from attrs import define, field
from pyroaring import BitMap

from .bands import Bands
from .items import Asker
from .multimap import Multimap
from .store.interface import Account
from .table import ItemTable, Row


@define(eq=False)
class Online:
    """An account that is online.

    :param since: seconds since 1970.
    :param addresses: where others can dial it, proven, best first.
    :param listings: for everyone, as `bytes` are.
    """

    account: Account
    session: int
    since: float
    addresses: tuple[str, ...] = ()
    items: BitMap = field(factory=BitMap)
    restricted: BitMap = field(factory=BitMap)
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
        #: Item → accounts that hold it.
        self._holders = Multimap()
        #: Content → accounts that offer it to everyone.
        self._sources = Multimap()
        #: Content → restricted items of it.
        self._restricted = Multimap()
        self._by_token: dict[str, BitMap] = {}
        self.everyone = BitMap()
        self.bands = Bands()
        self.bytes = 0
        self.listings = 0

    # --- Coming and going ------------------------------------------------------------------------

    def connect(self, account: Account, session: int, since: float) -> Online:
        """Bring an account online, holding nothing yet: `add` follows. It must not be online."""
        online = Online(account, session, since)
        self._online[account.number] = online
        self._by_user[account.user] = online
        return online

    def disconnect(self, online: Online) -> Collection[int]:
        """Contents whose holders are fewer now."""
        changed = self.remove(online, online.items.copy())
        del self._online[online.account.number]
        del self._by_user[online.account.user]
        return changed

    def add(self, online: Online, items: Iterable[int]) -> Collection[int]:
        """Contents whose holders may have changed."""
        number = online.account.number
        changed: set[int] = set()
        for item in items:
            if item in online.items:
                continue
            row = self._table.row(item)
            online.items.add(item)
            self._holders.add(item, number)
            self.listings += 1
            self.bytes += row.size
            changed.add(row.content)
            if row.audience is None:
                self._add_public(online, item, row)
            else:
                self._add_restricted(online, item, row, row.audience)
        return changed

    def remove(self, online: Online, items: Iterable[int]) -> Collection[int]:
        """Contents whose holders may have changed."""
        number = online.account.number
        changed: set[int] = set()
        for item in items:
            if item not in online.items:
                continue
            row = self._table.row(item)
            online.items.discard(item)
            self._holders.discard(item, number)
            self.listings -= 1
            self.bytes -= row.size
            changed.add(row.content)
            if row.audience is None:
                self._remove_public(online, item, row)
            else:
                self._remove_restricted(online, item, row, row.audience)
        return changed

    def _add_public(self, online: Online, item: int, row: Row) -> None:
        online.listings += 1
        online.bytes += row.size
        if online.gains(row.content):
            before = self._sources.count(row.content)
            self._sources.add(row.content, online.account.number)
            self._count_changed(row.content, before, before + 1)
        if item not in self.everyone:
            self.everyone.add(item)
            self.bands.put(item, self._sources.count(row.content))

    def _remove_public(self, online: Online, item: int, row: Row) -> None:
        online.listings -= 1
        online.bytes -= row.size
        if item not in self._holders:
            self.everyone.discard(item)
            self.bands.take(item, self._sources.count(row.content))
        if online.loses(row.content):
            before = self._sources.count(row.content)
            self._sources.discard(row.content, online.account.number)
            self._count_changed(row.content, before, before - 1)

    def _count_changed(self, content: int, before: int, after: int) -> None:
        if self.bands.apart(before, after):
            items = [item for item in self._table.items_of(content) if item in self.everyone]
            self.bands.move(items, before, after)

    def _add_restricted(self, online: Online, item: int, row: Row, audience: Iterable[str]) -> None:
        online.restricted.add(item)
        self._restricted.add(row.content, item)
        for token in audience:
            self._by_token.setdefault(token, BitMap()).add(item)

    def _remove_restricted(self, online: Online, item: int, row: Row, audience: Iterable[str]) -> None:
        online.restricted.discard(item)
        if item in self._holders:
            return
        self._restricted.discard(row.content, item)
        for token in audience:
            having = self._by_token[token]
            having.discard(item)
            if not having:
                del self._by_token[token]

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

    def items_for(self, content: int, asker: Asker) -> Sequence[int]:
        """Items of a content that are online and that the asker may see."""
        found = [item for item in self._table.items_of(content) if item in self.everyone]
        return found + self._visible_restricted(content, asker)

    def holders_of_item(self, item: int) -> Collection[int]:
        return self._holders.of(item)

    def holders_for(self, content: int, asker: Asker) -> Collection[int]:
        """Accounts that offer this content to the asker, whatever they call it; the asker too, if it does."""
        public = self._sources.of(content)
        restricted = self._visible_restricted(content, asker)
        if not restricted:
            return public
        return set(public).union(*(self._holders.of(item) for item in restricted))

    def holds(self, account: int, content: int) -> bool:
        """Whether this account offers the content to anybody."""
        return account in self._sources.of(content) or any(
            account in self._holders.of(item) for item in self._restricted.of(content)
        )

    def contents_of(self, online: Online) -> Collection[int]:
        """All that an account offers to anybody."""
        restricted = {self._table.row(item).content for item in online.restricted}
        return restricted.union(online.contents)

    def figures_for(self, online: Online, asker: Asker) -> tuple[int, int]:
        """Listings and bytes of an account, as far as the asker may see them."""
        listings, size = online.listings, online.bytes
        for item in online.restricted:
            row = self._table.row(item)
            if online.account.number == asker.number or asker.may_see(row.audience or ()):
                listings += 1
                size += row.size
        return listings, size

    @property
    def contents(self) -> int:
        """Distinct contents that anybody online holds."""
        restricted = sum(1 for content in self._restricted if content not in self._sources)
        return len(self._sources) + restricted

    def _visible_restricted(self, content: int, asker: Asker) -> list[int]:
        return [item for item in self._restricted.of(content) if asker.may_see(self._table.row(item).audience or ())]
