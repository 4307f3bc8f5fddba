"""Where other peers' connections come in: a session for each, and not more than can be served."""

from __future__ import annotations

from collections import Counter

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from ...background import Background
from ...errors import NapError
from ...net.identity import PublicKey
from ...net.link import SecureLink
from ...ops.events import Events
from ...wire import peer as wire
from .serving import ServeSession
from .uploads import Uploads

#: Connections at once from one address, and in all unless descriptors are scarcer: a peer needs one.
MAX_LINKS_PER_HOST = 64
MAX_LINKS = 500


class Reception:
    """Builds the link and the session of each connection that comes in.

    :param most: connections at once in all; each takes a descriptor, from the first packet on.
    """

    def __init__(
        self,
        *,
        clock: IReactorTime,
        agent: str,
        uploads: Uploads,
        background: Background,
        events: Events,
        most: int = MAX_LINKS,
    ) -> None:
        self._clock = clock
        self._agent = agent
        self._uploads = uploads
        self._background = background
        self._events = events
        self._most = most
        self._links = 0
        self._hosts: Counter[str] = Counter()

    def link(self, host: str) -> SecureLink | None:
        """For one connection from this address, before anything is read of it; None: there is no room."""
        if self._links >= self._most or self._hosts[host] >= MAX_LINKS_PER_HOST:
            self._events.emit("limit.hit", f"Too many connections, the last from {host}.", limit="peer.links")
            return None
        self._links += 1
        self._hosts[host] += 1
        session = ServeSession(self._clock, self._agent, self._uploads, self._background)
        link = SecureLink(self._clock, _Visitor(self, host, session), wire.ALPN)
        session.attach(link)
        return link

    def leave(self, host: str) -> None:
        """A connection is gone."""
        self._links -= 1
        self._hosts[host] -= 1
        if not self._hosts[host]:
            del self._hosts[host]


@frozen
class _Visitor:
    """A `LinkUser` that gives its place back at the end, and is the session otherwise."""

    reception: Reception
    host: str
    session: ServeSession

    def link_secured(self, key: PublicKey) -> None:
        self.session.link_secured(key)

    def line_heard(self, line: bytes) -> None:
        self.session.line_heard(line)

    def raw_heard(self, data: bytes | memoryview) -> None:
        self.session.raw_heard(data)

    def link_lost(self, reason: NapError) -> None:
        self.reception.leave(self.host)
        self.session.link_lost(reason)
