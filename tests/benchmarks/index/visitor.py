"""One who announces and searches at an index in the same process: a session whose transport is a function call."""

from __future__ import annotations

from collections import deque
from time import perf_counter
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred

from napd.index.doorway import Doorway
from napd.wire import index as wire
from napd.wire.line import encode
from tests.support.index_script import SecureTransport, identity

_LAST = b'"last":true'


class _Transport(SecureTransport):
    """Tells what is written, and keeps none of it."""

    told: Any = None

    def write(self, data: bytes) -> None:
        self.told(data)


class Visitor:
    def __init__(self, reactor: Any, doorway: Doorway, user: str) -> None:
        self._reactor = reactor
        self._user = user
        self._numbers = 0
        self._waiting: tuple[bytes, Deferred[None]] | None = None
        self._unacknowledged: deque[Deferred[None]] = deque()
        address = IPv4Address("TCP", "127.0.0.1", 40_000)
        self._transport = _Transport(identity(user), wire.ALPN, address)
        self._transport.told = self._told
        link = doorway.buildProtocol(address)
        self._transport.link = link
        link.makeConnection(self._transport)
        link.handshakeCompleted()

    async def login(self) -> None:
        self._hear(wire.Hello((wire.VERSION,), "bench/1"))
        welcome = self._wait_for(b'{"t":"welcome"')
        zeros = "0" * 64
        self._hear(wire.Login(self._user, zeros, 0, zeros, 0, 0, 0))
        await welcome

    async def search(self, text: str, options: dict[str, Any]) -> float:
        """Milliseconds to the end of the answer. :raises RuntimeError: it is an error."""
        self._numbers += 1
        line = encode(wire.Search(self._numbers, text, **options))
        answered = self._wait_for(b'{"t":"results"')
        began = perf_counter()
        self._link.dataReceived(line)
        await answered
        return (perf_counter() - began) * 1000

    def announce(self, line: bytes) -> Deferred[None]:
        """Fires when it is acknowledged: everybody can find what it says."""
        acknowledged: Deferred[None] = Deferred()
        self._unacknowledged.append(acknowledged)
        self._link.dataReceived(line)
        return acknowledged

    def leave(self) -> None:
        self._transport.abortConnection()

    @property
    def _link(self) -> Any:
        return self._transport.link

    def _hear(self, message: Any) -> None:
        self._link.dataReceived(encode(message))

    def _wait_for(self, beginning: bytes) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self._waiting = beginning, done
        return done

    def _told(self, data: bytes) -> None:
        if data.startswith(b'{"t":"ping"'):
            self._reactor.callLater(0, self._hear, wire.Pong())
        elif data.startswith(b'{"t":"ack"'):
            self._reactor.callLater(0, self._unacknowledged.popleft().callback, None)
        elif data.startswith((b'{"t":"error"', b'{"t":"bye"', b'{"t":"resync"')):
            raise RuntimeError(data.decode())
        elif self._waiting is not None and data.startswith(self._waiting[0]):
            # Only results come in parts.
            if self._waiting[0] == b'{"t":"results"' and _LAST not in data:
                return
            _, done = self._waiting
            self._waiting = None
            done.callback(None)
