"""Where connections come in: counted, in all and by address, and each given a session of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.internet.protocol import Factory
from zope.interface import implementer

from ..errors import NapError
from ..net.link import SecureLink
from ..wire.index import ALPN
from .addresses import is_loopback, origin, plain_host
from .arrivals import Arrivals
from .services import Services
from .session import Admission, Session

#: Seconds between two log lines about connections that were turned away.
LOGGED_S = 60.0
#: Connections over a limit that are told so at a time, which takes a handshake; those beyond are closed without.
MAX_TOLD = 16
#: New connections from one address in the long run, a second, for each that it may have open.
ANEW_PER_S = 1 / 40


class Doorway(Factory):
    """Makes a session for each connection, and knows all that there are. TLS goes between this and the `Gate`."""

    noisy = False

    def __init__(self, services: Services, admission: Admission) -> None:
        self._services = services
        self._admission = admission
        self._sessions: dict[Session, str] = {}
        self._by_origin: Counter[str] = Counter()
        most = services.limits.connections_per_address
        self._arrivals = Arrivals(services.clock, most + MAX_TOLD, max(1.0, most * ANEW_PER_S))
        self._refused: set[Session] = set()
        self._logged_at = -LOGGED_S
        self._waiting_empty: list[Deferred[None]] = []

    def buildProtocol(self, addr: IAddress | None) -> SecureLink:
        host, port = _host_and_port(addr)
        came_from = origin(host)
        refusal = self._refusal(host, came_from)
        session = Session(self._services, self._admission, host, port, self._link, self._gone, refusal)
        self._sessions[session] = came_from
        if refusal is None:
            self._by_origin[came_from] += 1
        else:
            self._refused.add(session)
        return session.link

    def _link(self, session: Session) -> SecureLink:
        return SecureLink(self._services.clock, session, ALPN)

    def admits(self, addr: IAddress | None) -> bool:
        """Whether one more connection from there is worth a handshake: within the limits, or to be told of them."""
        host, _ = _host_and_port(addr)
        came_from = origin(host)
        if not is_loopback(host) and not self._arrivals.one_more(came_from):
            self._turned_away("index.arrivals")
            return False
        if self._is_full():
            self._turned_away("index.connections")
        elif self._is_crowded(host, came_from):
            self._turned_away("index.connections_per_address")
        else:
            return True
        return len(self._refused) < MAX_TOLD

    def end_all(self, code: str, message: str) -> None:
        for session in list(self._sessions):
            session.end(code, message)

    def abort_all(self, why: NapError) -> None:
        for session in list(self._sessions):
            session.abort(why)

    def when_empty(self) -> Deferred[None]:
        """Fires when the last session's link is gone."""
        empty: Deferred[None] = Deferred()
        if self._sessions:
            self._waiting_empty.append(empty)
        else:
            empty.callback(None)
        return empty

    def __len__(self) -> int:
        return len(self._sessions)

    def _gone(self, session: Session) -> None:
        """A link's user hears of its loss in any case, so what was counted in is counted out."""
        came_from = self._sessions.pop(session)
        if session in self._refused:
            self._refused.remove(session)
        else:
            self._by_origin[came_from] -= 1
            if not self._by_origin[came_from]:
                del self._by_origin[came_from]
        if not self._sessions:
            waiting, self._waiting_empty = self._waiting_empty, []
            for empty in waiting:
                empty.callback(None)

    def _is_full(self) -> bool:
        return len(self._sessions) - len(self._refused) >= self._services.limits.connections

    def _is_crowded(self, host: str, came_from: str) -> bool:
        return self._by_origin[came_from] >= self._services.limits.connections_per_address and not is_loopback(host)

    def _refusal(self, host: str, came_from: str) -> str | None:
        """Why one more connection from there is one too many."""
        limits = self._services.limits
        if self._is_full():
            return f"over {limits.connections} connections"
        if self._is_crowded(host, came_from):
            return f"over {limits.connections_per_address} connections from {came_from}"
        return None

    def _turned_away(self, limit: str) -> None:
        now = self._services.clock.seconds()
        if now - self._logged_at >= LOGGED_S:
            self._logged_at = now
            self._services.events.emit("limit.hit", limit=limit)


@implementer(IProtocolFactory)
class Gate:
    """Before TLS: a connection over the limits is closed without costing a handshake."""

    def __init__(self, admits: Callable[[IAddress | None], bool], wrapped: IProtocolFactory) -> None:
        self._admits = admits
        self._wrapped = wrapped

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:
        return self._wrapped.buildProtocol(addr) if self._admits(addr) else None

    def doStart(self) -> None:
        self._wrapped.doStart()

    def doStop(self) -> None:
        self._wrapped.doStop()


def _host_and_port(addr: IAddress | None) -> tuple[str, int]:
    # Ports are TCP ports (napd.ops.listening); anything else has no host to count by.
    return plain_host(str(getattr(addr, "host", ""))), int(getattr(addr, "port", 0))
