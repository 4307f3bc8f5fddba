"""What sessions here say of themselves, told to the other nodes: what is so now, not each change."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ...background import Background
from ...errors import NapError
from ..presence import Online, Presence
from .interface import Condition, Present, SharedStore

#: Seconds between two writes.
SPACING_S = 1.0
#: Accounts that are written at once.
_STRIDE = 1_000


class Telling:
    """The first change is written at once, those that come within the next second together at its end."""

    def __init__(self, store: SharedStore, presence: Presence, clock: IReactorTime, background: Background) -> None:
        self._store = store
        self._presence = presence
        self._clock = clock
        self._background = background
        self._changed: dict[int, Online] = {}
        self._running = False

    def said(self, online: Online) -> None:
        """Something of its condition may be different."""
        self._changed[online.account.number] = online
        self.go_on()

    def came(self, online: Online) -> None:
        """Nobody has been told anything of this session."""
        if condition_of(self._presence, online) != Condition():
            self.said(online)

    def go_on(self) -> None:
        """The store may be back."""
        if self._changed and not self._running:
            self._running = True
            self._background.start("telling other nodes", self._tell())

    async def _tell(self) -> None:
        try:
            while self._changed:
                told = dict(islice(self._changed.items(), _STRIDE))
                for account in told:
                    del self._changed[account]
                try:
                    await self._describe(told.values())
                except NapError:
                    # The store is away; whoever keeps the lease lets us go on.
                    self._changed = told | self._changed
                    return
                await deferLater(self._clock, SPACING_S)
        finally:
            self._running = False

    async def _describe(self, told: Iterable[Online]) -> None:
        here = [online for online in told if self._presence.get(online.account.number) is online]
        if here:
            await self._store.describe([present(self._presence, online) for online in here])


def condition_of(presence: Presence, online: Online) -> Condition:
    account = online.account
    parts = {content: presence.swarms.is_open(content) for content in presence.swarms.of(account)}
    return Condition(account.number in presence.busy, presence.networks.of(account.number), parts)


def present(presence: Presence, online: Online) -> Present:
    return Present(
        online.account.number, online.session, 0, online.since, online.addresses, condition_of(presence, online)
    )
