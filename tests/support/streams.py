"""Links over real TLS on loopback, by either of the two ways to carry them, and a user that remembers what it hears."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from attrs import define, field, frozen
from twisted.internet import reactor as global_reactor
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Factory

from napd.errors import NapError, RemoteProtocolError, Unreachable
from napd.model import PeerId
from napd.net.dial import TLSDialler, split_address
from napd.net.identity import Identity, PublicKey, new_identity
from napd.net.link import SecureLink
from napd.net.records import Records
from napd.net.tls import client_factory, server_context, server_factory
from napd.net.tls_factory import TLSStreamFactory, read_buffer, stream_server_factory
from napd.wire import peer as wire


@frozen
class Carrier:
    """One of them. Both ends of a test need not have the same."""

    name: str
    #: (identity, protocols, factory of links) to a factory for a port.
    server: Callable[[Identity, list[bytes], Factory], Any]
    dialler: Callable[[Any, Identity], Any]


@frozen
class StockDialler:
    """`TLSDialler` over Twisted's TLS."""

    reactor: Any
    identity: Identity

    async def dial(self, address: str, alpn: bytes, build: Callable[[], SecureLink]) -> None:
        host, port = split_address(address)
        factory = client_factory(self.identity, alpn, Factory.forProtocol(build))
        try:
            await HostnameEndpoint(self.reactor, host, port).connect(factory)
        except ConnectError as error:
            raise Unreachable(f"{address} does not answer: {error}") from error


OWN = Carrier(
    "own",
    lambda identity, protocols, links: stream_server_factory(identity, protocols, links, read_buffer()),
    TLSDialler,
)


def _documented_server(identity: Identity, protocols: list[bytes], links: Factory) -> TLSStreamFactory:
    context = server_context(identity, protocols)

    def connect() -> Records:
        connection = Records(context)
        connection.set_accept_state()
        return connection

    return TLSStreamFactory(connect, links, read_buffer())


#: The own way, as it is where pyOpenSSL does not let `QuickRecords` in.
DOCUMENTED = Carrier("documented", _documented_server, TLSDialler)
STOCK = Carrier("stock", server_factory, StockDialler)


reactor: Any = global_reactor

ALPN = wire.ALPN
SERVER, CLIENT, STRANGER = new_identity(), new_identity(), new_identity()


@define(eq=False)
class User:
    """A `LinkUser` that greets as soon as it may, and remembers."""

    greets: bool = True
    link: SecureLink = field(init=False)
    keys: list[PublicKey] = field(factory=list)
    lines: list[bytes] = field(factory=list)
    raw: bytearray = field(factory=bytearray)
    lost: list[NapError] = field(factory=list)
    #: Have raw bytes put into a buffer.
    buffered: bool = False
    buffer: bytearray = field(factory=bytearray)
    #: Pause reading whenever raw bytes are heard.
    pauses: bool = False

    def link_secured(self, key: PublicKey) -> None:
        self.keys.append(key)
        if self.greets:
            self.link.say(wire.Ping(7))

    def line_heard(self, line: bytes) -> None:
        self.lines.append(line)
        if line.startswith(b"raw "):
            self.buffer = bytearray(int(line[4:]))
            self.link.expect_raw(len(self.buffer), memoryview(self.buffer) if self.buffered else None)
        if line == b"wrong":
            raise RemoteProtocolError("wrong")

    def raw_heard(self, data: bytes | memoryview) -> None:
        self.raw += data
        if self.pauses:
            self.link.pause_reading()

    def link_lost(self, reason: NapError) -> None:
        self.lost.append(reason)


@define
class Carriers:
    """Who listens over what, and who dials over what, in this test (tests/contract/streams/conftest.py)."""

    server: Carrier = OWN
    dialler: Carrier = OWN


carriers = Carriers()


@define(eq=False)
class Server:
    port: int
    users: list[User] = field(factory=list)

    @property
    def user(self) -> User:
        return self.users[-1]


@asynccontextmanager
async def serving(
    *, clock: Any = reactor, expected: PeerId | None = None, greets: bool = True
) -> AsyncIterator[Server]:
    """One of our ends listens."""
    server = Server(0)

    def build() -> SecureLink:
        user = User(greets)
        user.link = SecureLink(clock, user, ALPN, expected)
        server.users.append(user)
        return user.link

    bound = reactor.listenTCP(
        0, carriers.server.server(SERVER, [ALPN], Factory.forProtocol(build)), interface="127.0.0.1"
    )
    server.port = bound.getHost().port
    try:
        yield server
    finally:
        for user in server.users:
            if not user.lost:
                user.link.transport.abortConnection()
        await bound.stopListening()


async def dial(
    port: int, *, identity: Identity = CLIENT, expected: PeerId | None = None, clock: Any = reactor, greets: bool = True
) -> User:
    """One of our ends dials."""
    user = User(greets)
    user.link = SecureLink(clock, user, ALPN, expected)
    await carriers.dialler.dialler(reactor, identity).dial(f"127.0.0.1:{port}", ALPN, lambda: user.link)
    return user
