"""What is committed becomes visible: table and engine, then presence, then those who seek. Always in this order."""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from .presence import Online, Presence
from .search import SearchEngine
from .seeking import Seeking
from .store.interface import Account, Applied, IndexStore, Opened
from .table import ItemTable

#: Items dealt with before the reactor gets its turn: some 10 ms.
STRIDE = 1_000


class Catalogues:
    """:param turn: fires when the reactor has done what else there was to do."""

    def __init__(
        self,
        store: IndexStore,
        table: ItemTable,
        engine: SearchEngine,
        presence: Presence,
        seeking: Seeking,
        turn: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._table = table
        self._engine = engine
        self._presence = presence
        self._seeking = seeking
        self._turn = turn

    async def load(self) -> int:
        """Take in everything that the store knows, a little at a time; how many items that is.

        Nobody waits for it: what an account holds is loaded when it comes, if it is not there by then.
        """
        last = 0
        while items := await self._store.items_after(last, STRIDE):
            self._engine.learn(items)
            last = items[-1].id
            await self._turn()
        return len(self._table)

    async def connect(self, account: Account, opened: Opened, since: float) -> Online:
        """Bring an account online with all that it holds. It may be gone again when this returns (`presence.get`)."""
        earlier = self._presence.get(account.number)
        if earlier is not None:
            self.disconnect(earlier)
        online = self._presence.connect(account, opened.session, since)
        # It may offer them again, or to fewer: its list tells.
        self._seeking.swarms_changed(self._presence.took_back(opened.dropped))
        share = np.array(opened.share, np.uint32)
        missing = self._table.missing(share)
        for at in range(0, len(missing), STRIDE):
            if at:
                await self._turn()
            self._engine.learn(await self._store.items(missing[at : at + STRIDE].tolist()))
        if self._presence.get(account.number) is online:
            gone = self._table.missing(share)
            held = np.setdiff1d(share, gone) if len(gone) else share
            self._seeking.changed(self._presence.add(online, array("I", held.tobytes())))
        return online

    def publish(self, online: Online, applied: Applied) -> None:
        """Make a committed step visible, unless its session is over."""
        self._engine.learn(applied.added)
        if self._presence.get(online.account.number) is not online:
            return
        withdrawn = self._presence.remove(online, applied.withdrawn)
        added = self._presence.add(online, (item.id for item in applied.added))
        self._seeking.changed(np.union1d(withdrawn, added))

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

    def reached(self, online: Online, addresses: Sequence[str]) -> None:
        """These addresses of the account are proven."""
        online.addresses = tuple(addresses)
        if self._presence.get(online.account.number) is online:
            self._seeking.changed(self._presence.contents_of(online))
            self._seeking.swarms_changed(self._presence.swarms.of(online.account))

    def drop(self, items: Sequence[int]) -> None:
        """The store has swept these away: nobody holds them."""
        self._engine.forget(items)
