"""What becomes of the catalogue of a peer that left: kept for a while, so that it is back at once, or not at all."""

from __future__ import annotations

from attrs import frozen

from ..background import Background
from ..errors import NapError
from .presence import Online
from .store.interface import IndexStore

DAY_S = 86_400.0
#: Kept so long where nobody says otherwise.
RETENTION_DAYS = 90


@frozen
class Retention:
    """:ivar days: that it is kept; 0: it is forgotten when its session ends."""

    days: float
    _store: IndexStore
    _background: Background

    @property
    def seconds(self) -> float:
        return self.days * DAY_S

    def left(self, online: Online) -> None:
        """A session is over. What cannot be forgotten now is, by the next round of housekeeping."""
        if self.days == 0:
            self._background.start("forget", self._forget(online.account.number, online.session))

    async def _forget(self, account: int, session: int) -> None:
        try:
            await self._store.forget(account, session)
        except NapError:
            # It is back already, with another session; or the store cannot work now, which shows where somebody waits.
            return
