"""How connections get a `TLSStream`: factories for Twisted's ports and endpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from .handshakes import Handshakes
from .identity import Identity
from .next_turn import NextTurn
from .records import Records, records_of
from .tls import client_context, server_context
from .tls_stream import LAST_READ_BYTES, TAKEN_BYTES, TLSStream


class _Connected(Protocol):
    """Twisted's side of a connection: there, then gone."""

    def __init__(self, open_stream: Callable[[Any], TLSStream]) -> None:
        self._open = open_stream
        self._stream: TLSStream | None = None

    def connectionMade(self) -> None:
        self._stream = self._open(self.transport)
        self._stream.begin()

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        if self._stream is not None:
            self._stream.tcp_lost(reason)


@implementer(IProtocolFactory)
class TLSStreamFactory:
    """TLS around a factory whose protocols are `StreamUser`s.

    :param connect: makes the OpenSSL end of one connection.
    :param kept: see `TLSStream`.
    """

    noisy = False

    def __init__(self, connect: Callable[[], Records], wrapped: Factory, kept: memoryview) -> None:
        self._connect = connect
        self._wrapped = wrapped
        self._kept = kept
        self._shared: tuple[NextTurn, Handshakes] | None = None
        # One that is made for each link that is dialled has no news when it starts and stops.
        wrapped.noisy = False

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:
        user: Any = self._wrapped.buildProtocol(addr)
        return None if user is None else _Connected(lambda tcp: self._stream(user, tcp))

    def _stream(self, user: Any, tcp: Any) -> TLSStream:
        if self._shared is None:
            self._shared = NextTurn(tcp.reactor), Handshakes(tcp.reactor)
        return TLSStream(self._connect(), user, tcp, self._kept, *self._shared)

    def doStart(self) -> None:
        self._wrapped.doStart()

    def doStop(self) -> None:
        self._wrapped.doStop()


def read_buffer(read_bytes: int = LAST_READ_BYTES) -> memoryview:
    """What all streams of one thread may share. :param read_bytes: the most that one reads at once."""
    return memoryview(bytearray(read_bytes + TAKEN_BYTES))


def stream_server_factory(
    identity: Identity, protocols: Sequence[bytes], wrapped: Factory, kept: memoryview
) -> TLSStreamFactory:
    """Streams around a server's factory. `protocols`: what ALPN may choose, best first."""
    context = server_context(identity, protocols)

    def connect() -> Records:
        connection = records_of(context)
        connection.set_accept_state()
        return connection

    return TLSStreamFactory(connect, wrapped, kept)


def client_connections(identity: Identity, protocol: bytes) -> Callable[[], Records]:
    """Makes the OpenSSL ends of a client's connections, which offer this one protocol."""
    context = client_context(identity, protocol)

    def connect() -> Records:
        connection = records_of(context)
        connection.set_connect_state()
        return connection

    return connect
