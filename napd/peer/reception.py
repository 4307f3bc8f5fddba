"""Where other peers' connections come in: a session for each, and not more than can be served."""

from __future__ import annotations

from collections import Counter

from twisted.internet.interfaces import IReactorTime

from ..background import Background
from ..errors import NapError
from ..net.identity import PublicKey
from ..net.link import SecureLink
from ..ops.events import Events
from ..wire import peer as wire
from .serving import ServeSession
from .uploads import Uploads

#: Connections at once, in all and from one address: a peer needs one.
MAX_LINKS = 500
MAX_LINKS_PER_HOST = 32


class Reception:
    """Builds the link and the session of each connection that comes in."""

    def __init__(
        self, clock: IReactorTime, agent: str, uploads: Uploads, background: Background, events: Events
    ) -> None:
        self._clock = clock
        self._agent = agent
        self._uploads = uploads
        self._background = background
        self._events = events
        self._links = 0
        self._hosts: Counter[str] = Counter()

    def link(self) -> SecureLink:
        """For one connection; the listening factory calls it."""
        session = ServeSession(self._clock, self._agent, self._uploads, self._background)
        visitor = _Visitor(self, session)
        link = SecureLink(self._clock, visitor, wire.ALPN)
        session.attach(link)
        visitor.attach(link)
        return link

    def enter(self, host: str) -> bool:
        """Whether there is room for one more from this address."""
        if self._links >= MAX_LINKS or self._hosts[host] >= MAX_LINKS_PER_HOST:
            self._events.emit("limit.hit", f"Too many connections, the last from {host}.", limit="peer.links")
            return False
        self._links += 1
        self._hosts[host] += 1
        return True

    def leave(self, host: str) -> None:
        self._links -= 1
        self._hosts[host] -= 1
        if not self._hosts[host]:
            del self._hosts[host]


class _Visitor:
    """A `LinkUser` that asks for room before the session hears of the link."""

    def __init__(self, reception: Reception, session: ServeSession) -> None:
        self._reception = reception
        self._session = session
        self._link: SecureLink | None = None
        self._host: str | None = None

    def attach(self, link: SecureLink) -> None:
        self._link = link

    def link_secured(self, key: PublicKey) -> None:
        link = self._link
        if link is None:
            return
        if self._reception.enter(link.remote_host):
            self._host = link.remote_host
            self._session.link_secured(key)
        else:
            link.hang_up(wire.Bye("limit", "too many connections"))

    def line_heard(self, line: bytes) -> None:
        if self._host is not None:
            self._session.line_heard(line)

    def raw_heard(self, data: bytes) -> None:
        self._session.raw_heard(data)

    def link_lost(self, reason: NapError) -> None:
        if self._host is not None:
            self._reception.leave(self._host)
            self._session.link_lost(reason)
