"""Where connections come in: counted, in all and by address, and each given a session of its own."""

from __future__ import annotations

from collections import Counter

from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from zope.interface import implementer

from ..errors import NapError
from ..net.identity import Identity, PublicKey
from ..net.link import SecureLink
from ..net.tls import server_factory
from ..wire.index import ALPN
from .addresses import is_loopback, plain_host
from .services import Services
from .session import Admission, Session

#: Seconds between two log lines about connections that were turned away.
LOGGED_S = 60.0


class Doorway(Factory):
    """Makes a session for each connection, and knows all that there are.

    A `SecureLink`'s user hears of the link's loss in any case, so what is counted in is counted out.
    """

    noisy = False

    def __init__(self, services: Services, admission: Admission) -> None:
        self._services = services
        self._admission = admission
        self._sessions: dict[Session, str] = {}
        self._by_host: Counter[str] = Counter()
        self._logged_at = -LOGGED_S

    def buildProtocol(self, addr: IAddress | None) -> SecureLink:
        host, port = host_and_port(addr)
        session = _Counted(self._services, self._admission, host, port, self)
        self._sessions[session] = host
        self._by_host[host] += 1
        link = SecureLink(self._services.clock, session, ALPN)
        session.use(link)
        return link

    def admits(self, host: str) -> bool:
        """Whether one more connection from there is within the limits."""
        limits = self._services.limits
        if len(self._sessions) >= limits.connections:
            self._refused("index.connections")
            return False
        if self._by_host[host] >= limits.connections_per_address and not is_loopback(host):
            self._refused("index.connections_per_address")
            return False
        return True

    def gone(self, session: Session) -> None:
        host = self._sessions.pop(session)
        self._by_host[host] -= 1
        if not self._by_host[host]:
            del self._by_host[host]

    def end_all(self, code: str, message: str) -> None:
        for session in list(self._sessions):
            session.end(code, message)

    def __len__(self) -> int:
        return len(self._sessions)
