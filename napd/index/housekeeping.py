"""What is done now and then: catalogues of peers that did not come back are forgotten, items without a holder swept."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ..errors import NapError
from .catalogues import Catalogues
from .presence import Presence
from .retention import Retention
from .store.interface import IndexStore, StaleSession

#: Seconds from the start to the first round, and between rounds.
FIRST_S = 600.0
ROUND_S = 6 * 3600.0
#: Seconds between two pieces of a round: others use the store too.
PAUSE_S = 1.0
#: Accounts dealt with in one piece.
_PIECE = 100


@frozen
class Housekeeping:
    """:param now: seconds since 1970."""

    _clock: IReactorTime
    _now: Callable[[], float]
    _store: IndexStore
    _presence: Presence
    _catalogues: Catalogues
    _retention: Retention

    async def run(self) -> None:
        """For ever. A store that does not work now is tried again in the next round."""
        # This index may have been killed.
        await self.forget_left()
        wait_s = FIRST_S
        while True:
            await deferLater(self._clock, wait_s)
            # Where nothing is kept, what has no holder goes soon, too.
            wait_s = ROUND_S if self._retention.days else FIRST_S
            await self._try(self.round())

    async def forget_left(self) -> None:
        """A process is gone, and had no time to forget those who were at it, if that is what is wanted."""
        if self._retention.days == 0:
            await self._try(self._forget_lapsed(self._now()))

    async def round(self) -> None:
        now = self._now()
        await self._store.saw([online.account.number for online in self._presence.all()], now)
        await self._forget_lapsed(now)
        await self._sweep()

    async def _try(self, work: Coroutine[Deferred[Any], Any, None]) -> None:
        try:
            await work
        except NapError:
            # The store's trouble shows where somebody waits for it.
            return

    async def _forget_lapsed(self, now: float) -> None:
        """Those that are online were seen now, so they are none of these, however short the retention."""
        while lapsed := await self._store.unseen(now - self._retention.seconds, _PIECE):
            for one in lapsed:
                try:
                    await self._store.forget(one.account, one.session)
                except StaleSession:
                    # It is back: no longer one of those.
                    continue
            await deferLater(self._clock, PAUSE_S)

    async def _sweep(self) -> None:
        after: int | None = 0
        while after is not None:
            swept = await self._store.sweep(after)
            await self._catalogues.swept(after, swept)
            after = swept.next
            await deferLater(self._clock, PAUSE_S)
