"""This process as a node among others: its lease, its sessions in the shared store, and its ear for the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from random import Random

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from ...background import Background
from ...errors import NapError
from ...ops.events import Events
from ..catalogues import Catalogues
from ..presence import Online, Presence
from .follower import Follower
from .interface import CUT_OFF_S, LEASE_S, RENEW_S, Consequences, NodeState, SharedStore
from .telling import Telling, present

#: Seconds between two looks at the leases of the others.
JUDGE_S = 1.0
#: Seconds until a store that is away is tried again, jittered.
RETRY_S = 1.0
#: Seconds that the good end of a node may take.
LEAVE_S = 2.0
#: Accounts that are written at once when a node comes back under another number.
_STRIDE = 200


class Node:
    """Implements `Cluster` over a store that is shared.

    :param monotonic: seconds that no change of the clock moves; called on any thread.
    :param random: jitter.
    """

    def __init__(
        self,
        store: SharedStore,
        catalogues: Catalogues,
        presence: Presence,
        *,
        clock: IReactorTime,
        monotonic: Callable[[], float],
        random: Random,
        events: Events,
    ) -> None:
        self._store = store
        self._catalogues = catalogues
        self._presence = presence
        self._clock = clock
        self._monotonic = monotonic
        self._random = random
        self._events = events
        self._background: Background | None = None
        self._follower: Follower | None = None
        self._telling: Telling | None = None
        self._name = ""
        self._numbers: list[int] = []
        #: When the lease was last asked for with success; and since when without a gap.
        self._renewed_at: float | None = None
        self._steady_since: float | None = None
        self._cut_off = False
        #: Sessions that are over and that the store could not be told of.
        self._owed: dict[int, int] = {}
        store.write_while(self._may_write)

    # --- Cluster ---------------------------------------------------------------------------------

    @property
    def node(self) -> int:
        return self._numbers[-1] if self._numbers else 0

    def start(self, background: Background, name: str, consequences: Consequences) -> None:
        self._background = background
        self._name = name
        self._follower = Follower(
            self._store,
            self._catalogues,
            self._presence,
            self._events,
            background,
            lambda node: node in self._numbers,
            consequences,
        )
        self._telling = Telling(self._store, self._presence, self._clock, background)
        self._presence.swarms.turned = self._turned
        background.start("the node's lease", self._live(self._follower, self._telling, consequences))

    def may_admit(self) -> bool:
        # Until the first lease logins wait for it.
        return self._renewed_at is None or self._may_write()

    def arrived(self, online: Online, node: int) -> None:
        if node != self.node:
            self._tell(self._store.stand([present(self._presence, online)]))
        if self._telling is not None:
            self._telling.came(online)

    def left(self, account: int, session: int) -> None:
        self._owed[account] = session
        self._tell(self._store.left(account, session).addCallback(lambda _: self._settled(account, session)))

    def reached(self, online: Online, addresses: Sequence[str]) -> None:
        self._tell(self._store.reached(online.account.number, online.session, addresses))

    def said(self, online: Online) -> None:
        if self._telling is not None:
            self._telling.said(online)

    async def nodes(self) -> Sequence[NodeState]:
        return await self._store.nodes()

    async def stop(self) -> None:
        if self._may_write():
            leaving = self._store.leave()
            try:
                await leaving.addTimeout(LEAVE_S, self._clock)
            except (NapError, defer.TimeoutError):
                # The others see it by the lease.
                return

    # --- The lease -------------------------------------------------------------------------------

    async def _live(self, follower: Follower, telling: Telling, consequences: Consequences) -> None:
        """For ever: renew, judge, listen."""
        while True:
            try:
                await self._renew(follower, telling, consequences)
                await self._listen(follower, consequences)
            except NapError as error:
                self._note_loss(error)
                await deferLater(self._clock, RETRY_S * self._random.uniform(0.5, 1.0))

    async def _renew(self, follower: Follower, telling: Telling, consequences: Consequences) -> None:
        began = self._monotonic()
        renewal = await self._store.renew() if self._numbers else "lost"
        if renewal == "lost":
            if self._numbers:
                consequences.was_lost()
            await self._enter(follower, telling)
        gap = renewal == "late" or self._renewed_at is None or began - self._renewed_at > CUT_OFF_S
        if gap or self._steady_since is None:
            # The store was away, or we were: the log may have gone on without us, or be another one.
            self._steady_since = began
            follower.start_over()
        self._renewed_at = began
        self._cut_off = False
        for account, session in list(self._owed.items()):
            self.left(account, session)
        telling.go_on()

    async def _enter(self, follower: Follower, telling: Telling) -> None:
        """The first time, or after having been found dead: all that is online here is told again."""
        self._numbers.append(await self._store.enter(self._name))
        self._owed.clear()
        self._steady_since = None
        self._events.emit("index.node_up", node=self.node)
        here = follower.here()
        for at in range(0, len(here), _STRIDE):
            self._tell(self._store.stand([present(self._presence, online) for online in here[at : at + _STRIDE]]))
        for online in here:
            telling.came(online)

    async def _listen(self, follower: Follower, consequences: Consequences) -> None:
        """Until it is time to renew."""
        until = self._monotonic() + RENEW_S
        judged_at = self._monotonic()
        while (left_s := until - self._monotonic()) > 0:
            await self._store.wait(min(left_s, JUDGE_S))
            # Whether or not something was heard: what woke nobody is seen a second later.
            follower.wake()
            now = self._monotonic()
            if now - judged_at >= JUDGE_S and self._may_judge(now):
                judged_at = now
                for node in await self._store.judge():
                    self._events.emit("index.node_lost", node=node)
                    consequences.node_lost()

    def _may_judge(self, now: float) -> bool:
        """Who was away for a while itself knows nothing of the others yet."""
        return self._may_write() and self._steady_since is not None and now - self._steady_since >= LEASE_S

    def _may_write(self) -> bool:
        return self._renewed_at is not None and self._monotonic() - self._renewed_at < CUT_OFF_S

    def _note_loss(self, error: NapError) -> None:
        self._steady_since = None
        if self._renewed_at is not None and not self._cut_off and not self._may_write():
            self._cut_off = True
            self._events.emit("index.node_cut_off", error=error.message)

    # --- What the store is told ------------------------------------------------------------------

    def _turned(self, accounts: Collection[int]) -> None:
        """What these have parts of has become open, or is so no more."""
        if self._follower is not None and self._telling is not None:
            for online in self._follower.here(accounts):
                self._telling.said(online)

    def _settled(self, account: int, session: int) -> None:
        if self._owed.get(account) == session:
            del self._owed[account]

    def _tell(self, told: Deferred[None]) -> None:
        """What cannot be told now is told with the next lease, or is nobody's matter any more."""
        told.addErrback(self._untold)

    def _untold(self, failure: Failure) -> None:
        if not failure.check(NapError):
            self._events.fault("telling other nodes", failure)
