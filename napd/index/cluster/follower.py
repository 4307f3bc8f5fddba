"""What happens at other nodes becomes visible here: the log, row by row, or all of it anew."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from attrs import define
from pyroaring import BitMap

from ...background import Background
from ...errors import NapError
from ...ops.events import Events
from ..catalogues import Catalogues
from ..presence import Online, Presence
from ..store.interface import NOWHERE, Applied, Opened
from .interface import Arrival, Condition, Consequences, Happening, Present, SharedStore, Standing

#: Rows of the log read at once.
PAGE = 200
#: Accounts that are read, and looked at before the reactor gets its turn: 5 ms.
ACCOUNTS = 50


@define
class _Remote:
    """An account that is online at another node."""

    online: Online
    node: int


class Follower:
    """Keeps to the order of the log. Each row may come twice: what it says is compared with what is known.

    :param is_mine: whether this process is, or was, the node of this number.
    """

    def __init__(
        self,
        store: SharedStore,
        catalogues: Catalogues,
        presence: Presence,
        events: Events,
        background: Background,
        is_mine: Callable[[int], bool],
        consequences: Consequences,
    ) -> None:
        self._store = store
        self._catalogues = catalogues
        self._presence = presence
        self._events = events
        self._background = background
        self._is_mine = is_mine
        self._consequences = consequences
        self._remote: dict[int, _Remote] = {}
        #: The last change that is known here; `_stale`: everything has to be read.
        self._at = 0
        self._stale = True
        #: The last row that was read.
        self._last: Happening | None = None
        self._asked = False
        self._running = False

    def wake(self) -> None:
        """Something may have happened."""
        self._asked = True
        if not self._running:
            self._running = True
            self._background.start("following other nodes", self._follow())

    def start_over(self) -> None:
        """What is known may be wrong."""
        self._stale = True
        self.wake()

    def here(self, among: Collection[int] | None = None) -> Sequence[Online]:
        """Accounts that are online at this node; of these (by number) only, if any are named."""
        if among is None:
            return [online for online in self._presence.all() if not self._is_remote(online)]
        found = (self._presence.get(account) for account in among)
        return [online for online in found if online is not None and not self._is_remote(online)]

    async def _follow(self) -> None:
        try:
            while self._asked:
                self._asked = False
                try:
                    await self._catch_up()
                except NapError:
                    # The store is away; whoever keeps the lease wakes us when it is back.
                    return
        finally:
            self._running = False

    async def _catch_up(self) -> None:
        if self._stale:
            await self._read_all()
        while not self._stale:
            try:
                rows = await self._store.log_since(self._at, PAGE)
            except LookupError as error:
                self._events.emit("index.node_resync", error=str(error))
                self.start_over()
                return
            if not rows:
                return
            for row in rows:
                await self._take(row)
                self._at = row.number
                self._last = row

    async def _read_all(self) -> None:
        self._stale = False
        try:
            if self._last is not None and not await self._store.remembers(self._last):
                self._events.emit("index.node_outdated", change=self._last.number)
                self._consequences.store_went_back()
            standing = await self._store.standing()
            await self._compare(standing)
        except BaseException:
            self._stale = True
            raise
        self._at = standing.change
        await self._note_last()

    async def _note_last(self) -> None:
        """The row that what has been read ends with."""
        self._last = None
        if self._at:
            try:
                for row in await self._store.log_since(self._at - 1, 1):
                    self._last = row
            except LookupError:
                # It has been cut off already.
                return

    async def _compare(self, standing: Standing) -> None:
        present = {one.account: one for one in standing.present if not self._is_mine(one.node)}
        for account, remote in list(self._remote.items()):
            one = present.get(account)
            if one is None or one.session != remote.online.session:
                self._gone(account)
        left = sorted(present)
        while left:
            arrived = await self._store.arrivals(left[:ACCOUNTS], standing.change)
            for arrival in arrived:
                one = present[arrival.account.number]
                known = self._remote.get(one.account)
                if known is not None and self._presence.get(one.account) is known.online:
                    await self._refresh(known, one, arrival)
                else:
                    await self._came(one, arrival)
            left = left[len(arrived) :]

    async def _refresh(self, remote: _Remote, one: Present, arrival: Arrival) -> None:
        remote.node = one.node
        online = remote.online
        held, known = BitMap(arrival.share), BitMap(online.items)
        await self._publish(online, 0, (held - known).to_array(), (known - held).to_array())
        if tuple(one.addresses) != online.addresses:
            self._catalogues.reached(online, one.addresses)
        self._conditioned(online, one.condition)

    async def _take(self, row: Happening) -> None:
        if self._is_mine(row.node):
            return
        match row.kind:
            case "up":
                one = Present(row.account, row.session, row.node, row.at, row.addresses)
                if not self._is_known(one):
                    [arrival] = await self._store.arrivals([row.account], row.number)
                    await self._came(one, arrival)
            case "node_down":
                for account in [account for account, remote in self._remote.items() if remote.node == row.node]:
                    self._gone(account)
            case "condition":
                for one in await self._store.conditions(row.added):
                    known = self._remote.get(one.account)
                    if known is not None and known.online.session == one.session:
                        self._conditioned(known.online, one.condition)
            case "swept":
                await self._catalogues.drop(row.withdrawn)
            case _:
                remote = self._remote.get(row.account)
                if remote is not None and remote.online.session == row.session:
                    await self._changed(remote.online, row)

    async def _changed(self, online: Online, row: Happening) -> None:
        match row.kind:
            case "announce":
                await self._publish(online, row.number, row.added, row.withdrawn)
            case "reached":
                self._catalogues.reached(online, row.addresses)
            case _:
                self._gone(row.account)

    async def _came(self, one: Present, arrival: Arrival) -> None:
        # Of those who logged in here meanwhile, too.
        self._consequences.replaced(one.account, one.session)
        if self._is_known(one):
            return
        opened = Opened(one.session, NOWHERE, arrival.share)
        online = await self._catalogues.connect(arrival.account, opened, one.since)
        if self._presence.get(one.account) is online:
            self._remote[one.account] = _Remote(online, one.node)
            self._catalogues.reached(online, one.addresses)
            self._conditioned(online, one.condition)

    def _is_known(self, one: Present) -> bool:
        """Whether this session is online here already, or a later one is."""
        known = self._presence.get(one.account)
        if known is None or known.session < one.session:
            return False
        remote = self._remote.get(one.account)
        if remote is not None and remote.online is known and known.session == one.session:
            remote.node = one.node
        return True

    async def _publish(self, online: Online, change: int, added: Sequence[int], withdrawn: Sequence[int]) -> None:
        items = await self._store.items(added) if len(added) else ()
        await self._catalogues.room()
        await self._catalogues.publish(online, Applied(change, NOWHERE, items, withdrawn))

    def _conditioned(self, online: Online, condition: Condition) -> None:
        self._presence.slots_told(online, not condition.busy)
        self._presence.connects_from(online, condition.network)
        self._catalogues.parts_told(online, condition.parts)

    def _gone(self, account: int) -> None:
        self._catalogues.disconnect(self._remote.pop(account).online)

    def _is_remote(self, online: Online) -> bool:
        remote = self._remote.get(online.account.number)
        return remote is not None and remote.online is online
