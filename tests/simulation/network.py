"""A network with distance, width and bad weather, between hosts that may be down, cut off or slow.

Real links (`SecureLink`) over connections that behave like TLS over TCP: bytes come in order or not at all, both ends
have buffers of a limited size, and what is lost is noticed late or never:

- a *partition* delays everything between two sets of hosts until it is over;
- a *cut* ends a connection, each end hearing of it in its time;
- a *silenced* end delivers nothing any more, and nobody is told (half-open);
- a host without power says nothing; once it is back, it does not know the connections that it had.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum, auto
from random import Random

from attrs import define, field, frozen
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import ITransport
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from napd.errors import Unreachable
from napd.net.dial import CONNECT_S, split_address
from napd.net.identity import Identity
from napd.net.link import SecureLink
from napd.wire import peer as peer_wire
from tests.simulation.clock import ProcessClock, World
from tests.support.memory import HIGH_WATER_BYTES, MemoryTransport

#: Bytes under way or unread on one connection, in one direction, at which the sending end has to wait.
WINDOW_BYTES = 256 * 1024
#: How many bytes are delivered at once, by connection: large ones are cheap, small ones find what splits badly.
PIECES = (65_536, 65_536, 65_536, 16_384, 16_384, 1_999)
#: Seconds until a sender hears that the other host does not know the connection (a retransmission is due).
STRANGER_S = 1.0

_GET = b'{"t":"get",'

#: Makes the answering end of a connection from (host, port); None hangs up at once.
Answering = Callable[[str, int], SecureLink | None]


class _Kind(Enum):
    DATA = auto()
    #: The three steps of a handshake: there, back, there.
    FIRST = auto()
    SECOND = auto()
    THIRD = auto()
    #: The end, in good order and not.
    DONE = auto()
    LOST = auto()


@define(eq=False, repr=False)
class Host:
    """Where one process at a time runs. `rate` is in bytes per second, in and out each; `free_at`: its wire is idle."""

    name: str
    address: str
    rate: float
    up: bool = True
    free_at: float = 0.0
    _kept: float | None = None

    def slow_down(self, factor: float) -> None:
        if self._kept is None:
            self._kept = self.rate
            self.rate *= factor

    def recover(self) -> None:
        if self._kept is not None:
            self.rate, self._kept = self._kept, None


@implementer(ITransport)
@define(eq=False, repr=False)
class Wire(MemoryTransport):
    """One end of a connection, as a link sees it."""

    network: Network = field(kw_only=True)
    host: Host = field(kw_only=True)
    process: ProcessClock = field(kw_only=True)
    secured: bool = field(default=False, init=False)
    _under_way: int = field(default=0, init=False)
    #: What has come and is not read; None is the end, in good order.
    _inbox: deque[bytes | None] = field(factory=deque, init=False)
    _last_arrival: float = field(default=0.0, init=False)
    _held: deque[tuple[_Kind, bytes]] = field(factory=deque, init=False)
    _fin_sent: bool = field(default=False, init=False)

    def write(self, data: bytes) -> None:
        if data.startswith(_GET):
            self.network.heard_get(self.host.name, peer_wire.decode_from_fetcher(data.rstrip(b"\n")))
        super().write(data)

    def abortConnection(self) -> None:
        self.written.clear()
        if not self.closed:
            self._transmit(_Kind.LOST, b"")
            self.lose(ConnectionLost("aborted"))

    def resumeProducing(self) -> None:
        self.reading = True
        if not self.closed:
            self.network.kernel.callLater(0, self._read)

    # --- Sending ---------------------------------------------------------------------------------

    def begin_handshake(self) -> None:
        self._transmit(_Kind.FIRST, b"")

    def _wake(self) -> None:
        if self._turn is None and not self.closed:
            wait = max(0.0, self.host.free_at - self.network.world.seconds())
            self._turn = self.network.kernel.callLater(wait, self._deliver)

    def _deliver(self) -> None:
        """Put one piece on the wire, if there is room on the way."""
        self._turn = None
        if self.closed or self._fin_sent:
            return
        if self.written and self._under_way < WINDOW_BYTES:
            piece = bytes(self.written[: self.piece])
            del self.written[: self.piece]
            self._under_way += len(piece)
            self._transmit(_Kind.DATA, piece)
        if self.producer is not None and len(self.written) < HIGH_WATER_BYTES:
            self._drained()
        if self.written:
            if self._under_way < WINDOW_BYTES:
                self._wake()
        elif self.closing and self.producer is None and not self.closed:
            self._fin_sent = True
            self._transmit(_Kind.DONE, b"")
            self.lose(ConnectionDone())

    def _transmit(self, kind: _Kind, data: bytes) -> None:
        """Leaves through this host's wire and arrives, in order, after the way."""
        if self.cut:
            return
        now = self.network.world.seconds()
        width = min(self.host.rate, self.other.host.rate)
        leaves = max(now, self.host.free_at if data else now)
        sent = leaves + len(data) / width
        if data:
            self.host.free_at = sent
        arrives = max(self._last_arrival, sent + self.network.way_s(self.host, self.other.host))
        self._last_arrival = arrives
        self.network.kernel.callLater(arrives - now, self.other._arrived, kind, data)

    # --- Receiving -------------------------------------------------------------------------------

    def _arrived(self, kind: _Kind, data: bytes) -> None:
        if self.other.cut:
            return
        if self._held or self.network.is_parted(self.host, self.other.host):
            self._held.append((kind, data))
            return
        self._take(kind, data)

    def go_on(self) -> None:
        """The way is free again: what was held back comes now."""
        while self._held and not self.network.is_parted(self.host, self.other.host):
            self._take(*self._held.popleft())

    def _take(self, kind: _Kind, data: bytes) -> None:
        if self.closed or self.process.dead:
            if kind in (_Kind.DATA, _Kind.FIRST, _Kind.SECOND, _Kind.THIRD):
                self._be_a_stranger()
            return
        match kind:
            case _Kind.DATA:
                self._inbox.append(data)
                self._read()
            case _Kind.FIRST:
                self._transmit(_Kind.SECOND, b"")
            case _Kind.SECOND:
                self._transmit(_Kind.THIRD, b"")
                self._secure()
            case _Kind.THIRD:
                self._secure()
            case _Kind.DONE:
                self._inbox.append(None)
                self._read()
            case _Kind.LOST:
                self.lose(ConnectionLost("reset by the other end"))

    def _be_a_stranger(self) -> None:
        """This host does not know the connection; the other end hears so, if this host has power."""
        if self.host.up and not self.other.closed:
            self.network.kernel.callLater(STRANGER_S, self.other._refused)

    def _refused(self) -> None:
        if not self.cut and not self.other.cut:
            self.lose(ConnectionLost("the other end does not know the connection"))

    def _secure(self) -> None:
        self.secured = True
        self.network.said(self, "secured")
        self.link.handshakeCompleted()

    def _read(self) -> None:
        while self._inbox and self.reading and not self.closed and not self.process.dead:
            data = self._inbox.popleft()
            if data is None:
                self.lose(ConnectionDone())
                return
            self.other._under_way -= len(data)
            self.other._wake()
            self.link.dataReceived(data)

    # --- The end ---------------------------------------------------------------------------------

    def lose(self, reason: Exception) -> None:
        """This end is gone; its link hears of it in the next turn."""
        if self.closed:
            return
        self.closed = True
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self.network.forget(self)
        self._inbox.clear()
        self.process.callLater(0, self.link.connectionLost, Failure(reason))


@define(eq=False, repr=False)
class Network:
    """:param chance: decides distances, sizes of pieces, and nothing that tests decide."""

    world: World
    chance: Random
    #: Told what happens on the wires, for the trace; and each `get` that a host says.
    heard: Callable[[str, str, str], None] = lambda host, what, other: None
    heard_get: Callable[[str, peer_wire.Get], None] = lambda host, asked: None
    kernel: ProcessClock = field(init=False)
    hosts: dict[str, Host] = field(factory=dict, init=False)
    #: Open ends, in the order in which they were made.
    wires: dict[Wire, None] = field(factory=dict, init=False)
    _answering: dict[tuple[str, int], tuple[ProcessClock, Identity, Mapping[bytes, Answering]]] = field(factory=dict)
    _distance: dict[tuple[str, str], float] = field(factory=dict)
    apart: list[frozenset[str]] = field(factory=list)
    _next_port: int = 50_000

    def __attrs_post_init__(self) -> None:
        self.kernel = self.world.process("network")

    def host(self, name: str, rate: float) -> Host:
        host = self.hosts[name] = Host(name, f"10.0.0.{len(self.hosts) + 1}", rate)
        return host

    # --- Ways ------------------------------------------------------------------------------------

    def way_s(self, one: Host, other: Host) -> float:
        """Seconds from one host to another: some distance, the same both ways, and a little jitter."""
        key = (min(one.name, other.name), max(one.name, other.name))
        if key not in self._distance:
            self._distance[key] = 0.0005 if one is other else self.chance.choice((0.001, 0.005, 0.02, 0.05, 0.15))
        return self._distance[key] * self.chance.uniform(1.0, 1.2)

    def part(self, names: frozenset[str]) -> None:
        """These hosts on one side, all others on the other."""
        self.apart.append(names)

    def join(self, names: frozenset[str]) -> None:
        self.apart.remove(names)
        for wire in list(self.wires):
            self.kernel.callLater(self.way_s(wire.host, wire.other.host), wire.go_on)

    def is_parted(self, one: Host, other: Host) -> bool:
        return any((one.name in side) != (other.name in side) for side in self.apart)

    # --- Connections -----------------------------------------------------------------------------

    def listen(
        self, process: ProcessClock, host: Host, port: int, identity: Identity, protocols: Mapping[bytes, Answering]
    ) -> None:
        self._answering[host.address, port] = process, identity, protocols

    def deaf(self, host: Host, port: int) -> None:
        """Nobody answers there any more; connections that exist stay."""
        self._answering.pop((host.address, port), None)

    def wires_of(self, process: ProcessClock) -> list[Wire]:
        return [wire for wire in self.wires if wire.process is process]

    def die(self, process: ProcessClock, *, silently: bool) -> None:
        """Its connections are reset by the kernel, or nobody is left to do that."""
        for wire in self.wires_of(process):
            if not silently:
                wire._transmit(_Kind.LOST, b"")
            wire.lose(ConnectionLost("the process died"))

    def forget(self, wire: Wire) -> None:
        self.wires.pop(wire, None)
        self.said(wire, "closed")

    def said(self, wire: Wire, what: str) -> None:
        self.heard(wire.host.name, what, wire.other.host.name)

    async def connect(self, dialler: HostDialler, address: str, alpn: bytes, build: Callable[[], SecureLink]) -> None:
        here = dialler.host
        host_text, port = split_address(address)
        there = next((host for host in self.hosts.values() if host.address == host_text), None)
        self.heard(here.name, "dials", address)
        if there is None or not there.up or self.is_parted(here, there):
            await deferLater(dialler.process, CONNECT_S)
            raise Unreachable(f"{address} does not answer: timed out")
        await deferLater(dialler.process, 2 * self.way_s(here, there))
        process, identity, protocols = self._answering.get((there.address, port), (None, None, {}))
        if process is None or identity is None or process.dead or alpn not in protocols:
            raise Unreachable(f"{address} does not answer: refused")
        self._next_port += 1
        answering = protocols[alpn](here.address, self._next_port)
        if answering is None:
            raise Unreachable(f"{address} does not answer: it has no room")
        piece = self.chance.choice(PIECES)
        near = Wire(
            self.kernel, dialler.identity, (here.address, self._next_port), alpn, piece,
            network=self, host=here, process=dialler.process,
        )  # fmt: skip
        far = Wire(self.kernel, identity, (there.address, port), alpn, piece, network=self, host=there, process=process)
        near.other, far.other = far, near
        near.link, far.link = build(), answering
        for end in (near, far):
            self.wires[end] = None
            end.link.makeConnection(end)
        if not near.closed:
            near.begin_handshake()


@frozen
class HostDialler:
    """`napd.net.dial.Dialler` for one process on one host."""

    network: Network
    host: Host
    process: ProcessClock
    identity: Identity

    async def dial(self, address: str, alpn: bytes, build: Callable[[], SecureLink]) -> None:
        await self.network.connect(self, address, alpn, build)
