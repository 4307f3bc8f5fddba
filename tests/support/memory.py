"""A network in memory: real links (`SecureLink`) over transports that need no socket, no TLS and no time.

What one end writes the other reads in the next turn of the clock, in pieces of at most 16 KiB, as TLS would deliver
them. "TLS" is a pair of identities that is taken as proved. Everything happens in `clock.advance` (or `settle`), in a
fixed order, so a test that fails fails again.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field, frozen
from twisted.internet.address import IPv4Address
from twisted.internet.base import DelayedCall
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import ITransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from napd.errors import Unreachable
from napd.net.identity import Identity
from napd.net.link import SecureLink

#: TLS delivers at most this at once.
RECORD_BYTES = 16 * 1024
#: Bytes of a transport's backlog at which its producer is paused.
HIGH_WATER_BYTES = 64 * 1024


@frozen
class _Certificate:
    certificate: Any

    def to_cryptography(self) -> Any:
        return self.certificate


@implementer(ITransport)
@define(eq=False)
class MemoryTransport:
    """One end of a wire."""

    clock: Clock
    identity: Identity
    address: tuple[str, int]
    alpn: bytes | None
    piece: int = RECORD_BYTES
    other: MemoryTransport = field(init=False)
    link: SecureLink = field(init=False)
    written: bytearray = field(factory=bytearray, init=False)
    closing: bool = field(default=False, init=False)
    closed: bool = field(default=False, init=False)
    reading: bool = field(default=True, init=False)
    cut: bool = field(default=False, init=False)
    producer: Any = field(default=None, init=False)
    _streaming: bool = field(default=True, init=False)
    _producer_paused: bool = field(default=False, init=False)
    _turn: Any = field(default=None, init=False)

    # --- What links call -------------------------------------------------------------------------

    @property
    def negotiatedProtocol(self) -> bytes | None:
        return self.alpn

    @property
    def disconnecting(self) -> bool:
        """`LineReceiver` asks before it takes the next line."""
        return self.closing

    @property
    def unsent_bytes(self) -> int:
        return len(self.written)

    def getPeerCertificate(self) -> _Certificate:
        return _Certificate(self.other.identity.certificate)

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", *self.other.address)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", *self.address)

    def write(self, data: bytes) -> None:
        if self.closing or self.closed:
            return
        self.written += data
        if len(self.written) > HIGH_WATER_BYTES and self.producer is not None and not self._producer_paused:
            self._producer_paused = True
            self.producer.pauseProducing()
        self._wake()

    def writeSequence(self, iovec: Any) -> None:
        self.write(b"".join(iovec))

    def loseConnection(self) -> None:
        """Everything written is still delivered."""
        self.closing = True
        self._wake()

    def abortConnection(self) -> None:
        self.written.clear()
        self._close(ConnectionAborted())

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True
        if not self.closed:
            self.other._wake()

    def stopProducing(self) -> None:
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer
        self._streaming = streaming
        if not streaming:
            self._wake()

    def unregisterProducer(self) -> None:
        self.producer = None
        self._wake()

    # --- What tests call -------------------------------------------------------------------------

    def go_silent(self) -> None:
        """Deliver nothing any more, and tell nobody: a cable that was pulled."""
        self.cut = True

    # --- Inside ----------------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._turn is None and not self.closed:
            self._turn = self.clock.callLater(0, self._deliver)

    def _deliver(self) -> None:
        self._turn = None
        if self.closed or self.cut or not self.other.reading:
            return
        if self.written:
            piece = bytes(self.written[: self.piece])
            del self.written[: self.piece]
            if not self.other.closed:
                self.other.link.dataReceived(piece)
        if self.closed:
            return
        if self.producer is not None and len(self.written) < HIGH_WATER_BYTES:
            self._drained()
        if self.written:
            self._wake()
        elif self.closing and self.producer is None:
            self._close(ConnectionDone())

    def _drained(self) -> None:
        if self._streaming and self._producer_paused:
            self._producer_paused = False
            self.producer.resumeProducing()
        elif not self._streaming and not self.written:
            self.producer.resumeProducing()

    def _close(self, reason: Exception) -> None:
        for end in (self, self.other):
            if not end.closed:
                end.closed = True
                if end._turn is not None:
                    end._turn.cancel()
                    end._turn = None
                if not end.cut:
                    self.clock.callLater(0, end.link.connectionLost, Failure(reason))


def connect(
    clock: Clock,
    dialling: SecureLink,
    answering: SecureLink,
    dialling_identity: Identity,
    answering_identity: Identity,
    alpn: bytes | None,
    *,
    addresses: tuple[tuple[str, int], tuple[str, int]] = (("198.51.100.1", 50000), ("198.51.100.2", 6700)),
    piece: int = RECORD_BYTES,
) -> tuple[MemoryTransport, MemoryTransport]:
    """Join two links as if TLS had just connected them: both are secured in the next turn of the clock.

    :param alpn: what was negotiated; None for nothing.
    """
    left = MemoryTransport(clock, dialling_identity, addresses[0], alpn, piece)
    right = MemoryTransport(clock, answering_identity, addresses[1], alpn, piece)
    left.other, right.other = right, left
    left.link, right.link = dialling, answering
    for end in (left, right):
        end.link.makeConnection(end)
    for end in (left, right):
        clock.callLater(0, _handshake, end)
    return left, right


def _handshake(end: MemoryTransport) -> None:
    if not end.closed:
        end.link.handshakeCompleted()


def settle(clock: Clock, turns: int = 10_000) -> None:
    """Let everything happen that is due now, and what follows from it."""
    for _ in range(turns):
        if not any(call.getTime() <= clock.seconds() for call in clock.getDelayedCalls()):
            return
        clock.advance(0)
    raise AssertionError(f"it does not come to rest in {turns} turns")


@define
class MemoryNetwork:
    """Hosts that reach one another by HOST:PORT."""

    clock: Clock
    transports: list[MemoryTransport] = field(factory=list, init=False)
    _listeners: dict[str, tuple[Identity, Mapping[bytes, Callable[[], SecureLink]]]] = field(factory=dict, init=False)
    _next_port: int = field(default=50_000, init=False)

    def listen(self, address: str, identity: Identity, protocols: Mapping[bytes, Callable[[], SecureLink]]) -> None:
        """Answer at HOST:PORT; `protocols` are by ALPN name."""
        self._listeners[address] = (identity, protocols)

    def close(self, address: str) -> None:
        """Answer no more; connections that exist stay."""
        del self._listeners[address]

    def dialler(self, host: str, identity: Identity) -> MemoryDialler:
        return MemoryDialler(self, host, identity)

    def join(self, host: str, identity: Identity, address: str, alpn: bytes, build: Callable[[], SecureLink]) -> None:
        if address not in self._listeners:
            raise Unreachable(f"{address} does not answer")
        answering_identity, protocols = self._listeners[address]
        if alpn not in protocols:
            raise Unreachable(f"{address} does not speak {alpn.decode()}")
        self._next_port += 1
        answering_host, _, port = address.rpartition(":")
        self.transports += connect(
            self.clock,
            build(),
            protocols[alpn](),
            identity,
            answering_identity,
            alpn,
            addresses=((host, self._next_port), (answering_host, int(port))),
        )


@frozen
class MemoryDialler:
    """`napd.net.dial.Dialler` for one host of a `MemoryNetwork`."""

    network: MemoryNetwork
    host: str
    identity: Identity
    dialled: deque[str] = field(factory=lambda: deque(maxlen=1000))

    async def dial(self, address: str, alpn: bytes, build: Callable[[], SecureLink]) -> None:
        self.dialled.append(address)
        self.network.join(self.host, self.identity, address, alpn, build)


class QuickClock(Clock):
    """Twisted's clock sorts all calls with every new one; with hundreds of links that is most of the time."""

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> DelayedCall:
        call = DelayedCall(self.seconds() + delay, callable, args, kw, self.calls.remove, self._moved, self.seconds)
        insort(self.calls, call, key=DelayedCall.getTime)
        return call

    def advance(self, amount: float) -> None:
        self.rightNow += amount
        while self.calls and self.calls[0].getTime() <= self.rightNow:
            call = self.calls.pop(0)
            call.called = 1
            call.func(*call.args, **call.kw)

    def _moved(self, call: DelayedCall) -> None:
        self._sortCalls()
