"""For tests of the index: entries, an index on a virtual clock, and peers that are scripted message by message."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from attrs import define, field
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct, structs
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from napd.background import Background
from napd.errors import NapError, Unreachable
from napd.index.admission import Door
from napd.index.doorway import Doorway
from napd.index.limits import Limits
from napd.index.services import Services, assemble
from napd.index.store.interface import IndexStore
from napd.index.store.memory import MemoryStore
from napd.model import EVERYONE, PeerId
from napd.net.dial import TLSDialler
from napd.net.identity import Identity, PublicKey, load_identity
from napd.net.link import SecureLink
from napd.ops.events import Event, Events
from napd.wire import index as wire
from napd.wire.catalogue import CatalogueDigest, Entry, Media, entry_digest
from napd.wire.line import encode
from tests.support.waiting import Eventually

#: Index time when a test begins.
BEGIN = 1_800_000_000.0
EPOCH = "e" * 64

M = TypeVar("M", bound=Struct)


def content(seed: object) -> str:
    """A content id, the same for the same seed."""
    return hashlib.sha256(str(seed).encode()).hexdigest()


def entry(
    path: str, seed: object | None = None, size: int = 1000, audience: tuple[str, ...] = (EVERYONE,), **media: Any
) -> Entry:
    """An entry for ``share/folder/name``; the content is the seed's, or the path's."""
    folder, _, name = path.rpartition("/")
    return Entry(
        content=content(path if seed is None else seed),
        size=size,
        folder=folder or "share",
        name=name,
        audience=audience,
        media=Media(**media),
    )


@cache
def identity(seed: object) -> Identity:
    """A key that is the same for the same seed."""
    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"key {seed}".encode()).digest())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with TemporaryDirectory() as folder:
        path = Path(folder) / "identity.pem"
        path.write_bytes(pem)
        return load_identity(path)


class _Certificate:
    def __init__(self, owner: Identity) -> None:
        self._owner = owner

    def to_cryptography(self) -> Any:
        return self._owner.certificate


class SecureTransport(StringTransport):
    """A transport on which TLS has been spoken already: knows who the other end is and what ALPN chose."""

    def __init__(self, owner: Identity, alpn: bytes, address: IPv4Address | IPv6Address) -> None:
        super().__init__(peerAddress=address)
        self.negotiatedProtocol = alpn
        self._owner = owner
        self.link: SecureLink | None = None

    def getPeerCertificate(self) -> _Certificate:
        return _Certificate(self._owner)

    def loseConnection(self) -> None:
        super().loseConnection()
        if self.producer is None:
            self.lose(ConnectionDone())

    def unregisterProducer(self) -> None:
        super().unregisterProducer()
        if self.disconnecting:
            self.lose(ConnectionDone())

    def abortConnection(self) -> None:
        self.aborting = True
        self.lose(ConnectionAborted())

    def lose(self, why: Exception) -> None:
        """The connection is gone, as seen from the index."""
        link, self.link = self.link, None
        if link is not None:
            link.connectionLost(Failure(why))

    @property
    def lost(self) -> bool:
        return self.link is None


class Network:
    """Where peers listen, for the index's dial-back."""

    def __init__(self) -> None:
        self.listening: dict[str, Identity] = {}
        self.dialled: list[str] = []

    async def dial(self, address: str, alpn: bytes, build: Callable[[], SecureLink]) -> None:
        self.dialled.append(address)
        owner = self.listening.get(address)
        if owner is None:
            raise Unreachable(f"{address} does not answer")
        transport = SecureTransport(owner, alpn, IPv4Address("TCP", "192.0.2.99", 1))
        transport.link = build()
        transport.link.makeConnection(transport)
        transport.link.handshakeCompleted()


class IndexScript:
    """An index in memory, without TLS and on a virtual clock."""

    def __init__(
        self,
        store: IndexStore | None = None,
        limits: Limits | None = None,
        seed: str = "index",
        retention_days: float = 90,
    ) -> None:
        numbers = count(1)
        self.clock = Clock()
        self.network = Network()
        self.said: list[Event] = []
        self.identity = identity(seed)
        self.faults: list[Failure] = []
        self.store = store or MemoryStore(lambda: f"account-{next(numbers)}")
        events = Events(self.now)
        events.listen(self.said.append)
        self.background = Background(lambda name, failure: self.faults.append(failure))
        self.services: Services = assemble(
            clock=self.clock,
            now=self.now,
            events=events,
            background=self.background,
            identity=self.identity,
            store=self.store,
            dialler=self.network,
            random=Random(1),
            limits=limits or Limits(),
            retention_days=retention_days,
        )
        self.doorway = Doorway(self.services, Door(self.services))

    def now(self) -> float:
        return BEGIN + self.clock.seconds()

    def settle(self) -> None:
        """Let everything happen that takes no time."""
        self.clock.advance(0)

    def wait(self, seconds: float, step: float = 0.1) -> None:
        """Let time pass in small steps, as it does."""
        until = self.clock.seconds() + seconds
        while self.clock.seconds() < until - 1e-9:
            self.clock.advance(min(step, until - self.clock.seconds()))

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event.fields for event in self.said if event.event == name]

    def peer(self, user: str, host: str = "192.0.2.1", **how: Any) -> PeerScript:
        """A peer that is connected, and has not said anything."""
        peer = PeerScript(self, user, host, **how)
        peer.connect()
        return peer

    def online(self, user: str, *entries: Entry, **how: Any) -> PeerScript:
        """A peer that is logged in and has announced these."""
        peer = self.peer(user, **how)
        peer.login()
        if entries:
            peer.announce(*entries, reset=True)
        peer.heard()
        return peer


@define(eq=False)
class PeerScript:
    """One peer as a test drives it. `key` is whose key it has, its user's by default."""

    index: IndexScript
    user: str
    host: str
    key: str = ""
    listens: int = 0
    advertise: tuple[str, ...] = ()
    epoch: str = EPOCH
    revision: int = 0
    entries: set[Entry] = field(factory=set)
    transport: Any = None
    _read: int = 0
    _requests: Any = field(factory=lambda: count(1))

    @property
    def identity(self) -> Identity:
        return identity(self.key or self.user)

    @property
    def id(self) -> str:
        return self.identity.id

    @property
    def digest(self) -> str:
        total = CatalogueDigest()
        for one in self.entries:
            total.add(entry_digest(one))
        return total.hex()

    def connect(self) -> None:
        kind = IPv6Address if ip_address(self.host).version == 6 else IPv4Address
        address = kind("TCP", self.host, 40_000)
        self.transport = SecureTransport(self.identity, wire.ALPN, address)
        self._read = 0
        link = self.index.doorway.buildProtocol(address)
        self.transport.link = link
        link.makeConnection(self.transport)
        link.handshakeCompleted()
        self.index.settle()

    def leave(self) -> None:
        """The connection is lost, from the index's point of view."""
        self.transport.lose(ConnectionDone())

    # --- Saying ----------------------------------------------------------------------------------

    def say_bytes(self, data: bytes) -> None:
        if self.transport.link is not None:
            self.transport.link.dataReceived(data)
        self.index.settle()

    def say(self, *messages: Struct) -> None:
        self.say_bytes(b"".join(encode(message) for message in messages))

    def hello(self) -> None:
        self.say(wire.Hello((1,), "script/1"))

    def login_message(self, **changes: Any) -> wire.Login:
        values: dict[str, Any] = {
            "user": self.user,
            "epoch": self.epoch,
            "revision": self.revision,
            "digest": self.digest,
            "listings": len(self.entries),
            "bytes": sum(one.size for one in self.entries),
            "port": self.listens,
            "advertise": self.advertise,
        }
        return wire.Login(**(values | changes))

    def login(self, **changes: Any) -> wire.Welcome:
        """Hello and login; the welcome."""
        self.hello()
        self.say(self.login_message(**changes))
        return self.one(wire.Welcome)

    def step(self, *add: Entry, withdraw: tuple[Entry, ...] = (), reset: bool = False) -> wire.Announce:
        """The next announce, as the peer's catalogue changes by it."""
        self.entries = ((set() if reset else self.entries) - set(withdraw)) | set(add)
        base, self.revision = (0 if reset else self.revision), self.revision + 1
        return wire.Announce(self.epoch, base, self.revision, add, withdraw, reset, self.digest)

    def announce(self, *add: Entry, **how: Any) -> None:
        self.say(self.step(*add, **how))

    def search(self, query: str, **how: Any) -> wire.Results:
        """One page, its parts put together."""
        self.say(wire.Search(next(self._requests), query, **how))
        parts = self.all(wire.Results)
        assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
        last = parts[-1]
        rows = tuple(row for part in parts for row in part.results)
        return structs.replace(last, results=rows)

    def found(self, query: str, **how: Any) -> list[str]:
        """Names of the results."""
        return [result.name for result in self.search(query, **how).results]

    # --- Hearing ---------------------------------------------------------------------------------

    def heard(self) -> list[Any]:
        """What the index has said since this was asked last."""
        data = self.transport.value()[self._read :]
        self._read += len(data)
        return [wire.decode_from_index(line) for line in data.split(b"\n")[:-1]]

    def all(self, kind: type[M]) -> list[M]:
        return [message for message in self.heard() if isinstance(message, kind)]

    def one(self, kind: type[M]) -> M:
        """The only message of this kind since the last look."""
        messages = self.heard()
        found = [message for message in messages if isinstance(message, kind)]
        assert len(found) == 1, f"one {kind.__name__} expected among {messages}"
        return found[0]

    def is_gone(self) -> bool:
        """The index has closed the connection."""
        lost: bool = self.transport.lost
        return lost


class TLSScript:
    """A peer over a real connection: `say` what you like, `expect` what should come. Implements `LinkUser`."""

    def __init__(self, reactor: Any, key: Identity, eventually: Eventually) -> None:
        self._reactor = reactor
        self._identity = key
        self._eventually = eventually
        self.link: SecureLink | None = None
        self.said: list[Any] = []
        self.lost: NapError | None = None

    async def dial(self, address: str, index: str) -> None:
        """Connect to this index and nobody else, and say hello."""

        def build() -> SecureLink:
            self.link = SecureLink(self._reactor, self, wire.ALPN, PeerId(index))
            return self.link

        await TLSDialler(self._reactor, self._identity).dial(address, wire.ALPN, build)
        self.say(await self._hello())

    async def login(self, user: str, **changes: Any) -> wire.Welcome:
        values: dict[str, Any] = {
            "user": user,
            "epoch": EPOCH,
            "revision": 0,
            "digest": "0" * 64,
            "listings": 0,
            "bytes": 0,
            "port": 0,
        }
        self.say(wire.Login(**(values | changes)))
        return await self.expect(wire.Welcome)

    def say(self, *messages: Struct) -> None:
        assert self.link is not None
        for message in messages:
            self.link.say(message)

    async def expect(self, kind: type[M]) -> M:
        """The next message of this kind; those before it are dropped."""
        await self._eventually(lambda: any(isinstance(message, kind) for message in self.said))
        while not isinstance(message := self.said.pop(0), kind):
            pass
        return message

    async def leave(self) -> None:
        if self.link is not None:
            self.link.hang_up(wire.Bye("shutdown", "done"))
            await self._eventually(lambda: self.lost is not None)

    async def _hello(self) -> wire.Hello:
        await self.expect(wire.Hello)
        return wire.Hello((1,), "script/1")

    def link_secured(self, key: PublicKey) -> None:
        """Nothing is said before the index's hello."""

    def line_heard(self, line: bytes) -> None:
        self.said.append(wire.decode_from_index(line))

    def raw_heard(self, data: bytes) -> None:
        raise AssertionError("the index protocol has no raw bytes")

    def link_lost(self, reason: NapError) -> None:
        self.lost = reason
