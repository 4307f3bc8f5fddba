"""What is done now and then: catalogues of peers that never came back are forgotten, items without a holder swept."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ..errors import NapError
from .catalogues import Catalogues
from .presence import Presence
from .store.interface import IndexStore, StaleSession

#: Seconds from the start to the first round, and between rounds.
FIRST_S = 600.0
ROUND_S = 6 * 3600.0
#: Seconds between two pieces of a round: others use the store too.
PAUSE_S = 1.0
#: Seconds for which the catalogue of a peer that left is kept, so that it is back at once.
RETENTION_S = 90 * 86_400.0
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
    _retention_s: float = RETENTION_S

    async def run(self) -> None:
        """For ever. A store that does not work now is tried again in the next round."""
        wait_s = FIRST_S
        while True:
            await deferLater(self._clock, wait_s)
            wait_s = ROUND_S
            try:
                await self.round()
            except NapError:
                # The store's trouble shows where somebody waits for it.
                continue

    async def round(self) -> None:
        await self._store.saw([online.account.number for online in self._presence.all()], self._now())
        await self._forget_lapsed()
        await self._sweep()

    async def _forget_lapsed(self) -> None:
        while lapsed := await self._store.unseen(self._now() - self._retention_s, _PIECE):
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
            self._catalogues.drop(swept.removed)
            after = swept.next
            await deferLater(self._clock, PAUSE_S)
