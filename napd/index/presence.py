"""Who is online and what they hold, in memory only: connecting and leaving cost time in the size of one's own list.

Everything that a stranger may learn from here is counted from listings for `everyone`; restricted ones are kept apart
and count only for those who may see them.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable

import numpy as np
from attrs import define, field
from pyroaring import BitMap

from .absent import Absent, Absentees
from .bands import Bands, falls, rises
from .columns import Column, Ids, bitmap, distinct, ids_in, with_these
from .holders import Holders
from .items import Asker
from .multimap import Multimap
from .networks import MOST, Networks
from .store.interface import Account
from .swarms import Swarms
from .table import ItemTable, Row

#: Contents whose items may be in a wrong band before that is put right, if nobody searches: a millisecond's work.
MAX_STALE = 10_000
#: Sources of a content up to which it matters of which networks they are; of more, some networks' are few.
MAX_WEIGHED = 2_000
#: Contents of which is remembered what they are called.
MAX_SHOWN = 50_000
_NOTHING = BitMap()


@define(eq=False)
class Online:
    """An account that is online.

    :param since: seconds since 1970.
    :param addresses: where others can dial it, proven, best first.
    :param items: all that it holds; `listings` and `bytes` are of those for everyone.
    """

    account: Account
    session: int
    since: float
    addresses: tuple[str, ...] = ()
    items: BitMap = field(factory=BitMap)
    listings: int = 0
    bytes: int = 0


class Presence:
    """Every id that is added must be in the table, and stay there as long as somebody online holds it."""

    def __init__(self, table: ItemTable) -> None:
        self._table = table
        self._online: dict[int, Online] = {}
        self._by_user: dict[str, Online] = {}
        #: By item, by content: accounts online that offer it to everyone.
        self._offers = Column(np.uint32)
        self._sources = Column(np.uint32)
        self._contents = 0
        self._holders = Holders()
        #: Accounts that are linked as holders of what they offer now, and those that left.
        self._offering: set[int] = set()
        self._absent = Absentees(self._holders)
        #: Content → restricted items of it that somebody holds; such an item → accounts; audience member → items.
        self._restricted = Multimap()
        self._restricted_holders = Multimap()
        self._by_token: dict[str, BitMap] = {}
        #: Items that anybody online offers to everyone.
        self.everyone = BitMap()
        self._bands = Bands()
        #: Contents whose items may be in a wrong band.
        self._stale: list[Ids] = []
        self._stale_contents = 0
        #: What contents are called, as `claims` found it; each is dropped when its holders change.
        self._shown: dict[int, Row] = {}
        self._is_shown = Column(np.uint8)
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
        self._online[account.number] = online
        self._by_user[account.user] = online
        return online

    def disconnect(self, online: Online) -> Ids:
        """Contents whose holders are fewer now, sorted."""
        changed = self._remove(online, online.items, withdrawn=False)
        self.swarms.drop(online.account, list(self.swarms.of(online.account)))
        self._offering.discard(online.account.number)
        self.networks.leave(online.account.number)
        self.busy.discard(online.account.number)
        del self._online[online.account.number]
        del self._by_user[online.account.user]
        return changed

    def add(self, online: Online, items: Iterable[int]) -> Ids:
        """Contents whose holders may have changed, sorted."""
        absent = None if online.items else self._absent.take(online.account.number, items)
        if absent is not None:
            added, restricted = BitMap(absent.items), _NOTHING
            changed = self._come_back(online, absent)
        else:
            added = BitMap(items) - online.items
            restricted = added & self._table.restricted
            changed = self._add_public(online, ids_in(added - restricted))
        online.items |= added
        if self.swarms:
            self.swarms.offered(self.swarms.watched.among(changed, self._table))
        return with_these(changed, [self._add_restricted(online, item) for item in restricted])

    def remove(self, online: Online, items: Iterable[int]) -> Ids:
        """The account takes these back. Contents whose holders may have changed, sorted."""
        return self._remove(online, items, withdrawn=True)

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
        gone = [self._table.content_id(content) for content in contents if not self._count_of(content)]
        self.swarms.withdrawn(gone)
        return gone

    def _remove(self, online: Online, items: Iterable[int], *, withdrawn: bool) -> Ids:
        removed = online.items & (items if isinstance(items, BitMap) else BitMap(items))
        online.items = online.items - removed
        restricted = removed & self._table.restricted
        changed = self._remove_public(online, ids_in(removed - restricted), withdrawn=withdrawn)
        if withdrawn and self.swarms:
            gone = changed[self._sources.all[changed] == 0]
            self.swarms.withdrawn(self.swarms.watched.among(gone, self._table))
        return with_these(changed, [self._remove_restricted(online, item) for item in restricted])

    def _add_public(self, online: Online, items: Ids) -> Ids:
        """:param items: sorted, none of which the account offers yet."""
        if not len(items):
            return items
        self._reach()
        changed = distinct(self._table.content.all[items])
        gained = self._not_offered(online, changed)
        self._offer(items, gained)
        self._link(online.account.number, gained)
        self._note(online, changed, len(items), int(self._table.size.all[items].sum()))
        return changed

    def _come_back(self, online: Online, absent: Absent) -> Ids:
        """With the same items as before: all that is to be known of them is known."""
        self._reach()
        self._offering.add(online.account.number)
        self._offer(np.frombuffer(absent.items, np.uint32), absent.contents)
        self._note(online, absent.contents, len(absent.items), absent.bytes)
        return absent.contents

    def _offer(self, items: Ids, gained: Ids) -> None:
        """One more account offers these items, and of these contents its first."""
        before = self._sources.all[gained]
        self._sources.all[gained] = before + 1
        offered = self._offers.all[items]
        self._offers.all[items] = offered + 1
        new = items[offered == 0]
        self.everyone.update(bitmap(new))
        self._unsettle(gained[rises(before)], self._table.content.all[new])
        self._contents += int(np.count_nonzero(before == 0))

    def _remove_public(self, online: Online, items: Ids, *, withdrawn: bool) -> Ids:
        """:param items: sorted, no longer among the account's."""
        if not len(items):
            return items
        self._reach()
        contents = self._table.content.all[items]
        changed = distinct(contents)
        lost = self._not_offered(online, changed)
        before = self._sources.all[lost]
        self._sources.all[lost] = before - 1
        left = self._offers.all[items] - 1
        self._offers.all[items] = left
        is_gone = left == 0
        self.everyone.difference_update(bitmap(items[is_gone]))
        self._unsettle(lost[falls(before)], contents[is_gone])
        self._contents -= int(np.count_nonzero(before == 1))
        # All of them are as many bytes as were counted.
        size = online.bytes if len(items) == online.listings else int(self._table.size.all[items].sum())
        if withdrawn:
            self._holders.remove(online.account.number, lost)
        else:
            self._absent.add(online.account.number, Absent(array("I", items.tobytes()), lost, size))
        self._note(online, changed, -len(items), -size)
        return changed

    def _not_offered(self, online: Online, contents: Ids) -> Ids:
        """Those of these contents of which the account offers no item to everyone."""
        if not online.items:
            return contents
        held = online.items & bitmap(self._table.items_of_all(contents))
        held -= self._table.restricted
        if not held:
            return contents
        return np.setdiff1d(contents, self._table.content.all[ids_in(held)])

    def _unsettle(self, *contents: Ids) -> None:
        """Items of these have to go to another band before anybody looks."""
        self._stale += contents
        self._stale_contents += sum(map(len, contents))
        if self._stale_contents > MAX_STALE:
            self._settle()

    def _settle(self) -> None:
        contents = distinct(np.concatenate(self._stale))
        self._stale, self._stale_contents = [], 0
        items = self._table.items_of_all(contents)
        sources = self._sources.all[self._table.content.all[items]]
        sources[self._offers.all[items] == 0] = 0
        self._bands.put(items, sources)

    def _link(self, account: int, gained: Ids) -> None:
        absent = self._absent.take(account)
        self._offering.add(account)
        if absent is None:
            self._holders.add(account, gained)
        else:
            self._holders.remove(account, np.setdiff1d(absent.contents, gained, assume_unique=True))
            self._holders.add(account, np.setdiff1d(gained, absent.contents, assume_unique=True))

    def _reach(self) -> None:
        """Have room for all that the table knows."""
        self._offers.reach(len(self._table.content.all) - 1)
        self._sources.reach(len(self._table.first.all) - 1)
        self._is_shown.reach(len(self._table.first.all) - 1)

    def _note(self, online: Online, changed: Ids, listings: int, size: int) -> None:
        for content in changed[self._is_shown.all[changed] != 0].tolist():
            self._is_shown.one[content] = 0
            self._shown.pop(content, None)
        online.listings += listings
        online.bytes += size
        self.listings += listings
        self.bytes += size

    def _count_of(self, content: int) -> int:
        """Accounts online that offer this content to everyone."""
        count: int = self._sources.one[content] if content < len(self._sources.all) else 0
        return count

    def _is_offered(self, content: str) -> bool:
        """Whether anybody online offers this content to everyone."""
        number = self._table.number_of(content)
        return number is not None and self._count_of(number) > 0

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

    @property
    def bands(self) -> Bands:
        """As everything is now. Whoever comes and goes unseen in between moves nothing."""
        if self._stale:
            self._reach()
            self._settle()
        return self._bands

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
        public = [account for account in self._holders.of(content) if account in self._offering]
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
        return self._count_of(content)

    def excess_for(self, content: int, asker: Asker) -> int:
        """How many of those that `count_for` counts are beyond what counts of one network."""
        if not self.networks.crowded or not MOST < self.count_for(content, asker) <= MAX_WEIGHED:
            return 0
        return self.networks.excess(self.holders_for(content, asker))

    def is_all_busy(self, content: int, asker: Asker) -> bool:
        """Whether none of those that `count_for` counts has a free upload slot."""
        if not 0 < self.count_for(content, asker) <= min(MAX_WEIGHED, len(self.busy)):
            return False
        return all(account in self.busy for account in self.holders_for(content, asker))

    def is_offered_by_others(self, content: int, asker: Asker) -> bool:
        """Whether anybody but the asker offers it to the asker."""
        count = self.count_for(content, asker)
        return count > 1 or (count == 1 and asker.number not in self.holders_for(content, asker))

    def holds(self, online: Online, content: int) -> bool:
        """Whether this account offers the content to anybody."""
        return any(item in online.items for item in self._table.items_of(content))

    def contents_of(self, online: Online) -> Ids:
        """All that an account offers to anybody, sorted."""
        return distinct(self._table.content.all[ids_in(online.items)])

    def shown(self, content: int) -> Row | None:
        """What a content is called, if nothing of its holders has changed since that was found."""
        return self._shown.get(content)

    def show(self, content: int, row: Row) -> None:
        """Remember what it is called."""
        if len(self._shown) >= MAX_SHOWN:
            self._shown.clear()
        self._is_shown.reach(content)
        self._is_shown.one[content] = 1
        self._shown[content] = row

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
        return self._contents + sum(1 for content in self._restricted if not self._count_of(content))

    def _visible_restricted(self, content: int, asker: Asker) -> list[int]:
        if content not in self._restricted:
            return []
        return [item for item in self._restricted.of(content) if asker.may_see(self._table.row(item).audience or ())]
