"""What is committed becomes visible: table and engine, then presence, then those who seek or wish. In this order."""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence

import numpy as np
from pyroaring import BitMap
from twisted.internet.defer import Deferred

from .columns import Ids, bitmap, distinct
from .items import Item
from .presence import Online, Presence
from .search import SearchEngine
from .seeking import Seeking
from .store.interface import Account, Applied, IndexStore, Opened, Swept
from .table import ItemTable
from .wishing import Wishing

#: Items that the store is asked for at once; and how many new ones are taken in, or out, at a time: 3 ms.
STRIDE = 1_000
LEARNED = 100
#: Items that an account comes to hold before the reactor gets its turn: some milliseconds.
ADDED = 10_000


class Catalogues:
    """
    :param turn: fires when it is the turn of this one, whoever it is, to change something.
    :param settled: fires when what is under way now has been published.
    """

    def __init__(
        self,
        store: IndexStore,
        table: ItemTable,
        engine: SearchEngine,
        presence: Presence,
        seeking: Seeking,
        wishing: Wishing,
        turn: Callable[[Hashable], Awaitable[None]],
        settled: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._table = table
        self._engine = engine
        self._presence = presence
        self._seeking = seeking
        self._wishing = wishing
        self._turn = turn
        self._settled = settled
        #: All items that have been swept away: their numbers are never given again.
        self._swept = BitMap()
        self._held: list[Deferred[None]] | None = None
        #: Whether everything that the store knew at the start is known.
        self.is_loaded = False

    def hold(self) -> Callable[[], None]:
        """Let nobody come online until what this returns is called."""
        waiting: list[Deferred[None]] = []
        self._held = waiting

        def release() -> None:
            self._held = None
            for one in waiting:
                one.callback(None)

        return release

    async def load(self) -> int:
        """Take in everything of the store that is newer than what is known; how many items are known then.

        Nobody waits for it: what an account holds is loaded when it comes, if it is not there by then.
        """
        last = self._table.newest() or 0
        while items := await self._store.items_after(last, STRIDE):
            await self._learn(self, items)
            last = items[-1].id
        self.is_loaded = True
        return len(self._table)

    async def connect(self, account: Account, opened: Opened, since: float) -> Online:
        """Bring an account online with all that it holds. It may be gone again when this returns (`presence.get`)."""
        if self._held is not None:
            admitted: Deferred[None] = Deferred()
            self._held.append(admitted)
            await admitted
        earlier = self._presence.get(account.number)
        if earlier is not None and earlier.session > opened.session:
            # Of two logins, here and at another node, the later was quicker.
            return Online(account, opened.session, since)
        if earlier is not None:
            self.disconnect(earlier)
        online = self._presence.connect(account, opened.session, since)
        # It may offer them again, or to fewer: its list tells.
        self._seeking.swarms_changed(self._presence.took_back(opened.dropped))
        changed = self._presence.come_back(online, opened.share)
        if changed is None:
            await self._take_in(online, np.array(opened.share, np.uint32))
        else:
            self._seeking.changed(changed)
        return online

    async def room(self) -> None:
        """Wait until those who wish for something have been told enough of what was published before."""
        await self._wishing.room()

    async def publish(self, online: Online, applied: Applied) -> None:
        """Make a committed step visible, unless its session is over by then; piece by piece, all at once at the end."""
        await self._learn(online, applied.added)
        if self._presence.get(online.account.number) is not online:
            return
        added = bitmap(_ids(applied.added))
        if self._swept:
            added -= self._swept
        announced = added - online.items
        unseen = self._presence.unseen(announced)
        lost = self._presence.remove(online, applied.withdrawn)
        gained = self._presence.add(online, added)
        self._seeking.changed(distinct(np.concatenate((lost, gained))) if len(lost) else gained)
        self._wishing.announced(online.account.user, announced, unseen)

    def disconnect(self, online: Online) -> None:
        """Take an account offline, at once; nothing is written."""
        if self._presence.get(online.account.number) is online:
            parts = list(self._presence.swarms.of(online.account))
            self._seeking.changed(self._presence.disconnect(online))
            self._seeking.swarms_changed(parts)

    def parts_changed(self, online: Online, add: Sequence[str], drop: Sequence[str]) -> int:
        """The account has parts of other contents now; returns how many were too many."""
        if self._presence.get(online.account.number) is not online:
            return 0
        swarms = self._presence.swarms
        dropped = swarms.drop(online.account, drop)
        joined, too_many = swarms.join(online.account, add)
        self._seeking.swarms_changed({*dropped, *joined})
        return too_many

    def parts_told(self, online: Online, parts: Mapping[str, bool]) -> None:
        """All that an account at another node has parts of; whether each is open there."""
        if self._presence.get(online.account.number) is online:
            self._seeking.swarms_changed(self._presence.swarms.put(online.account, parts))

    def reached(self, online: Online, addresses: Sequence[str]) -> None:
        """These addresses of the account are proven."""
        online.addresses = tuple(addresses)
        if self._presence.get(online.account.number) is online:
            self._seeking.changed(self._presence.contents_of(online))
            self._seeking.swarms_changed(self._presence.swarms.of(online.account))

    async def swept(self, after: int, swept: Swept) -> None:
        """The store has looked at its items from this one on. What it does not have nobody holds.

        A snapshot may have more than it: what was swept before this process was killed.
        """
        until = max([*swept.removed[-1:], *swept.left[-1:]], default=after)
        await self.drop(np.setdiff1d(self._table.between(after, until), swept.left, assume_unique=True).tolist())

    async def drop(self, items: Sequence[int]) -> None:
        """The store has swept these away: nobody holds them, once what is committed by now is published."""
        await self._settled()
        self._swept.update(items)
        await self._turn(self)
        for done, _ in enumerate(self._engine.forget_each(items), 1):
            if done % LEARNED == 0:
                await self._turn(self)

    async def _take_in(self, online: Online, share: Ids) -> None:
        """Let it hold these, as far as the store has them, unless it goes meanwhile."""
        missing = self._table.missing(share)
        for at in range(0, len(missing), STRIDE):
            await self._learn(online, await self._store.items(missing[at : at + STRIDE].tolist()))
        for at in range(0, len(share), ADDED):
            await self._turn(online)
            if self._presence.get(online.account.number) is not online:
                return
            some = share[at : at + ADDED]
            gone = self._table.missing(some)
            held = np.setdiff1d(some, gone) if len(gone) else some
            self._seeking.changed(self._presence.add(online, array("I", held.tobytes())))

    async def _learn(self, owner: Hashable, items: Sequence[Item]) -> None:
        """Ends in the turn in which the last of them became known."""
        await self._turn(owner)
        left = self._unknown(items)
        while left:
            self._engine.learn(left[:LEARNED])
            left = left[LEARNED:]
            if left:
                await self._turn(owner)

    def _unknown(self, items: Sequence[Item]) -> Sequence[Item]:
        wanted = bitmap(self._table.missing(_ids(items))) - self._swept
        return [item for item in items if item.id in wanted] if wanted else ()


def _ids(items: Sequence[Item]) -> Ids:
    return np.array([item.id for item in items], np.uint32)
