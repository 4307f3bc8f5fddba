"""Whether all sources of a download make it wait: its active place may be another's then, its places in line stay."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IReactorTime

#: Seconds in which nothing may come before a download gives its active place to another.
YIELD_S = 2.0


class StandstillOwner(Protocol):
    """The download; implemented by `peer.fetch.download`."""

    def nothing_comes(self) -> None:
        """All its sources make it wait; told again and again while that is so."""

    def something_comes(self) -> None:
        """The contrary; told once."""


class Standstill:
    """:ivar told: whether the owner was told last that nothing comes."""

    def __init__(self, clock: IReactorTime, owner: StandstillOwner) -> None:
        self.told = False
        self._clock = clock
        self._owner = owner
        self._moved_at = clock.seconds()

    def look(self, waits: bool) -> None:
        """Every now and then, and when a source has moved: whether all make us wait."""
        now = self._clock.seconds()
        if not waits:
            self._moved_at = now
            if self.told:
                self.told = False
                self._owner.something_comes()
        elif now - self._moved_at >= YIELD_S:
            self.told = True
            self._owner.nothing_comes()
