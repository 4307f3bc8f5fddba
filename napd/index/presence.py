"""Who is online and what they hold, in memory only: connecting and leaving cost time in the size of one's own list.

Everything that a stranger may learn from here is counted from listings for `everyone`; restricted ones are kept apart
and count only for those who may see them.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Sequence

import numpy as np
from attrs import define, field
from numpy.typing import NDArray
from pyroaring import BitMap

from .absent import Absent, Absentees
from .bands import Bands
from .columns import Column, Ids, bitmap, distinct, ids_in, with_these
from .holders import Holders
from .items import Asker
from .networks import MOST, Networks
from .popularity import Popularity
from .restricted import Restricted
from .store.interface import Account
from .swarms import Swarms
from .table import ItemTable
from .views import Views

#: Contents whose holders are looked up one by one.
FEW = 8
#: Sources of a content up to which it matters of which networks they are; of more, some networks' are few.
MAX_WEIGHED = 2_000


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


class Presence:
    """Every id that is added must be in the table, and stay there as long as somebody online holds it."""

    def __init__(self, table: ItemTable) -> None:
        self._table = table
        self._online: dict[int, Online] = {}
        self._by_user: dict[str, Online] = {}
        self._popularity = Popularity(table)
        self._holders = Holders()
        #: Marked: accounts that are linked as holders of what they offer now. And those that left.
        self._offering = Column(np.uint8)
        self._absent = Absentees(self._holders)
        self._restricted = Restricted(table)
        #: What contents are called, as `claims` found it.
        self.views = Views()
        self.bytes = 0
        self.listings = 0
        self.swarms = Swarms(self._is_offered)
        self.networks = Networks()
        #: Accounts without a free upload slot, as they say.
        self.busy: set[int] = set()

    # --- Coming and going ------------------------------------------------------------------------

    def connect(self, account: Account, session: int, since: float) -> Online:
        """Bring an account online, holding nothing yet: `add` follows. It must not be online."""
        online = Online(account, session, since)
        self._offering.reach(account.number)
        self._online[account.number] = online
        self._by_user[account.user] = online
        return online

    def disconnect(self, online: Online) -> Ids:
        """Contents whose holders are fewer now, sorted."""
        account = online.account.number
        restricted = self._restricted_of(online)
        items, contents = online.items - restricted if restricted else online.items, online.contents
        online.items, online.contents = BitMap(), BitMap()
        changed = ids_in(contents)
        if items:
            self._popularity.fewer(ids_in(items), changed)
            self._absent.add(account, Absent(items, contents, online.bytes))
            self._note(online, changed, -online.listings, -online.bytes)
        self.swarms.drop(online.account, list(self.swarms.of(online.account)))
        self._offering.one[account] = 0
        self.networks.leave(account)
        self.busy.discard(account)
        del self._online[account]
        del self._by_user[online.account.user]
        return with_these(changed, [self._remove_restricted(online, item) for item in restricted])

    def add(self, online: Online, items: Iterable[int]) -> Ids:
        """Contents whose holders may have changed, sorted."""
        if isinstance(items, array) and (changed := self.come_back(online, items)) is not None:
            return changed
        added = BitMap(items) - online.items
        restricted = added & self._table.restricted
        changed = self._add_public(online, ids_in(added - restricted if restricted else added))
        online.items |= added
        self._tell_swarms(changed)
        return with_these(changed, [self._add_restricted(online, item) for item in restricted])

    def come_back(self, online: Online, items: array[int]) -> Ids | None:
        """`add` for one that holds nothing yet, and offered these (sorted) when it left: all of them are known.

        None, and nothing is done, if that is not so.
        """
        absent = None if online.items else self._absent.take_same(online.account.number, items)
        if absent is None:
            return None
        online.items, online.contents = absent.items, absent.contents
        self._offering.one[online.account.number] = 1
        changed = ids_in(absent.contents)
        self._popularity.more(ids_in(absent.items), changed)
        self._note(online, changed, len(absent.items), absent.bytes)
        self._tell_swarms(changed)
        return changed

    def remove(self, online: Online, items: Iterable[int]) -> Ids:
        """The account takes these back. Contents whose holders may have changed, sorted."""
        removed = online.items & BitMap(items)
        online.items -= removed
        restricted = removed & self._table.restricted
        changed = self._remove_public(online, ids_in(removed - restricted))
        if self.swarms:
            gone = self._popularity.none_of(changed)
            self.swarms.withdrawn(self.swarms.watched.among(gone, self._table))
        return with_these(changed, [self._remove_restricted(online, item) for item in restricted])

    def connects_from(self, online: Online, network: str | None) -> None:
        """Its public network (`network_of`); that may be said again."""
        account = online.account.number
        if self._online.get(account) is online and self.networks.of(account) != network:
            self.networks.put(account, network)
            self.networks.changed(self.contents_of(online))

    def slots_told(self, online: Online, free: int) -> None:
        """So many uploads of this account could begin now."""
        if self._online.get(online.account.number) is online:
            (self.busy.discard if free else self.busy.add)(online.account.number)

    def took_back(self, items: Iterable[int]) -> Collection[str]:
        """Somebody who was not online offers these no more; ids of contents that may not be served on any longer."""
        if not self.swarms:
            return ()
        rows = [self._table.get(item) for item in items if item not in self._table.restricted]
        contents = {row.content for row in rows if row is not None}
        gone = [self._table.content_id(content) for content in contents if not self._popularity.of(content)]
        self.swarms.withdrawn(gone)
        return gone

    def _add_public(self, online: Online, items: Ids) -> Ids:
        """:param items: sorted, none of which the account offers yet."""
        if not len(items):
            return items
        changed = distinct(self._table.content.all[items])
        gained = bitmap(changed) - online.contents
        online.contents |= gained
        self._popularity.more(items, ids_in(gained))
        self._link(online.account.number, ids_in(gained))
        self._note(online, changed, len(items), int(self._table.sizes.of(items).sum()))
        return changed

    def _remove_public(self, online: Online, items: Ids) -> Ids:
        """:param items: sorted, no longer among the account's."""
        if not len(items):
            return items
        changed = distinct(self._table.content.all[items])
        lost = bitmap(changed) - self._still_offered(online, changed)
        online.contents -= lost
        self._popularity.fewer(items, ids_in(lost))
        self._holders.remove(online.account.number, ids_in(lost))
        self._note(online, changed, -len(items), -int(self._table.sizes.of(items).sum()))
        return changed

    def _still_offered(self, online: Online, contents: Ids) -> BitMap:
        """Contents, at least those of these, of which the account offers any item to everyone."""
        held = online.items & bitmap(self._table.items_of_all(contents))
        return bitmap(self._table.content.all[ids_in(held - self._table.restricted)])

    def _tell_swarms(self, offered: Ids) -> None:
        if self.swarms:
            self.swarms.offered(self.swarms.watched.among(offered, self._table))

    def _link(self, account: int, gained: Ids) -> None:
        absent = self._absent.take(account)
        self._offering.one[account] = 1
        if absent is None:
            self._holders.add(account, gained)
        else:
            linked = ids_in(absent.contents)
            self._holders.remove(account, np.setdiff1d(linked, gained, assume_unique=True))
            self._holders.add(account, np.setdiff1d(gained, linked, assume_unique=True))

    def _note(self, online: Online, changed: Ids, listings: int, size: int) -> None:
        self.views.drop(changed, len(self._table.first.all) - 1)
        self.networks.changed(changed)
        online.listings += listings
        online.bytes += size
        self.listings += listings
        self.bytes += size

    def _is_offered(self, content: str) -> bool:
        """Whether anybody online offers this content to everyone."""
        number = self._table.number_of(content)
        return number is not None and self._popularity.of(number) > 0

    def _add_restricted(self, online: Online, item: int) -> int:
        row = self._restricted.add(online.account.number, item)
        self.listings += 1
        self.bytes += row.size
        return row.content

    def _remove_restricted(self, online: Online, item: int) -> int:
        row = self._restricted.remove(online.account.number, item)
        self.listings -= 1
        self.bytes -= row.size
        return row.content

    def _restricted_of(self, online: Online) -> BitMap:
        if len(online.items) == online.listings:
            return BitMap()
        return online.items & self._table.restricted

    # --- Looking ---------------------------------------------------------------------------------

    @property
    def bands(self) -> Bands:
        """Of what anybody online offers to everyone."""
        return self._popularity.bands

    @property
    def everyone(self) -> BitMap:
        """Items that anybody online offers to everyone. Not to be changed."""
        return self._popularity.everyone

    def unseen(self, items: BitMap) -> BitMap:
        """Those of these that nobody online offers to everyone."""
        return bitmap(self._popularity.not_offered(ids_in(items)))

    def get(self, account: int) -> Online | None:
        return self._online.get(account)

    def by_user(self, user: str) -> Online | None:
        return self._by_user.get(user)

    def all(self) -> Collection[Online]:
        return self._online.values()

    def restricted_for(self, asker: Asker) -> BitMap:
        """Items online that are not for everyone and that the asker may see."""
        return self._restricted.items_for(asker)

    def items_for(self, content: int, asker: Asker) -> BitMap:
        """Items of a content that are online and that the asker may see."""
        found = BitMap(self.offered_items(content))
        found.update(self._restricted.of(content, asker))
        return found

    def offered_items(self, content: int) -> Sequence[int]:
        """Items of a content that anybody online offers to everyone."""
        return [item for item in self._table.items_of(content) if self._popularity.is_offered(item)]

    def offers(self, item: int) -> int:
        """How many accounts online offer this very item to everyone."""
        return self._popularity.offers(item)

    def some_users(self, contents: Sequence[int], most: int) -> Sequence[list[str]]:
        """Of each content, which may not be restricted, at most so many of the users who offer it."""
        if len(contents) < FEW:
            holders = [self._holders.some_of(content, self._offering, most) for content in contents]
        else:
            holders = self._holders.some_of_each(np.array(contents, np.uint32), self._offering, most)
        online = self._online
        return [[online[account].account.user for account in of_it] for of_it in holders]

    def holders_for(self, content: int, asker: Asker) -> Collection[int]:
        """Accounts that offer this content to the asker, whatever they call it; the asker too, if it does."""
        is_offering = self._offering.one
        public = [account for account in self._holders.of(content) if is_offering[account]]
        restricted = self._restricted.of(content, asker)
        return self._restricted.holders_of(restricted).union(public) if restricted else public

    def has_restricted(self, content: int) -> bool:
        """Whether anybody online offers it to some only, so that askers may see different things."""
        return content in self._restricted

    def count_for(self, content: int, asker: Asker) -> int:
        """How many `holders_for` has."""
        if content in self._restricted:
            return len(self.holders_for(content, asker))
        return self._popularity.of(content)

    def counts(self, contents: Ids) -> NDArray[np.int64]:
        """Of each, how many accounts offer it to everyone."""
        return self._popularity.of_each(contents)

    @property
    def is_uneven(self) -> bool:
        """Whether any source may count for less than another in the ranking."""
        return self.networks.crowded or bool(self.busy)

    def excess_for(self, content: int, asker: Asker) -> int:
        """How many of those that `count_for` counts are beyond what counts of one network."""
        if not self.networks.crowded or not MOST < self.count_for(content, asker) <= MAX_WEIGHED:
            return 0
        if content in self._restricted:
            return self.networks.excess(self.holders_for(content, asker))
        return self.networks.excess_of(content, lambda: self.holders_for(content, asker))

    def is_all_busy(self, content: int, asker: Asker) -> bool:
        """Whether none of those that `count_for` counts has a free upload slot."""
        if not 0 < self.count_for(content, asker) <= min(MAX_WEIGHED, len(self.busy)):
            return False
        return all(account in self.busy for account in self.holders_for(content, asker))

    def holds(self, online: Online, content: int) -> bool:
        """Whether this account offers the content to anybody."""
        return content in online.contents or self._restricted.is_held(content, online.items)

    def contents_of(self, online: Online) -> Ids:
        """All that an account offers to anybody, sorted."""
        restricted = self._table.content.all[ids_in(self._restricted_of(online))]
        return with_these(ids_in(online.contents), restricted.tolist())

    def figures_for(self, online: Online, asker: Asker) -> tuple[int, int]:
        """Listings and bytes of an account, as far as the asker may see them."""
        listings, size = online.listings, online.bytes
        for item in self._restricted_of(online):
            row = self._table.row(item)
            if online.account.number == asker.number or asker.may_see(row.audience or ()):
                listings += 1
                size += row.size
        return listings, size

    @property
    def contents(self) -> int:
        """Distinct contents that anybody online holds."""
        hidden = sum(1 for content in self._restricted if not self._popularity.of(content))
        return self._popularity.contents + hidden
