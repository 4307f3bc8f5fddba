"""One other peer as a source: in which state its link is, who wants it, and who is at work with it."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall

from ...errors import SourceFailed
from ...model import PeerId
from ..fetch.fetching import FetchSession
from ..rates import RateMeter
from .workers import Workers


class SourceState(StrEnum):
    IDLE = "idle"
    CONNECTING = "connecting"
    READY = "ready"
    BACKING_OFF = "backing_off"
    UNREACHABLE = "unreachable"


class SourceUser(Protocol):
    """Who wants a source; implemented by `peer.fetch.crew` and `peer.fetch.ahead`."""

    def source_ready(self, source: Source) -> None:
        """Its session can be asked now."""

    def source_lost(self, source: Source, failure: SourceFailed) -> None:
        """It cannot be asked any more; it is dialled again after its back-off as long as it is wanted."""


@define(eq=False)
class Source:
    """One other peer. `retry_at` is on the clock's scale; `address`: where it was met last."""

    peer: PeerId
    user: str
    addresses: tuple[str, ...]
    state: SourceState = SourceState.IDLE
    session: FetchSession | None = None
    failure: SourceFailed | None = None
    address: str | None = None
    retry_at: float = 0.0
    meter: RateMeter = field(factory=RateMeter)
    users: list[SourceUser] = field(factory=list)
    workers: Workers = field(factory=Workers)
    timer: IDelayedCall | None = None
    #: Bytes and busy seconds of the session that were taken down already.
    learnt: tuple[int, float] = (0, 0.0)

    @property
    def rtt_s(self) -> float | None:
        return None if self.session is None else self.session.rtt_s
