"""Byzantine peers: sources that answer wrongly, late, too much or not at all, and fetchers that only cost.

They speak for themselves, from the protocol's page and not from the product's serving side. Each liar has one *vice*
and is honest otherwise, so that it is chosen as often as others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from attrs import define, field

from napd.background import Background
from napd.content.digest import CHUNK_BYTES
from napd.errors import NapError
from napd.net.identity import PublicKey
from napd.net.link import SecureLink
from napd.wire import peer as wire
from tests.simulation.clock import ProcessClock
from tests.simulation.contents import Content, by_id
from tests.simulation.network import HostDialler
from tests.simulation.peers import PORT, SimPeer

#: What a source may be guilty of.
VICES = (
    "flips a byte",
    "flips a byte now and then",
    "lies about the outline",
    "lies about a group",
    "sends short chunks",
    "sends long chunks",
    "sends other chunks",
    "talks nonsense",
    "is mute",
    "stops in the middle",
    "crawls",
    "hangs up at once",
    "hangs up in the middle",
    "has nothing",
    "is always busy",
    "makes everybody wait",
    "floods",
    "admits nobody",
    "drops requests",
    "claims to have everything",
    "never says what it has",
    "has less and less",
)
#: Bytes at once of a source that crawls, and seconds between them.
CRAWL_BYTES, CRAWL_S = 4_000, 1.0


class Liar(SimPeer):
    """Announces contents like everybody; `vice` is how it serves them."""

    vice: str = "is mute"

    def _come_in(self, host: str, port: int) -> SecureLink | None:
        session = LyingSession(self.process, self.vice, self.make_chance())
        session.link = SecureLink(self.process, session, wire.ALPN)
        return session.link


@define(eq=False, repr=False)
class LyingSession:
    """A `LinkUser` in the role ``serve``."""

    clock: ProcessClock
    vice: str
    chance: Random
    link: SecureLink = field(init=False)
    _answers: deque[tuple[int, int]] = field(factory=deque)
    _gets: dict[int, wire.Get] = field(factory=dict)
    _sending: bool = False
    _gone: bool = False
    _outgoing: bytes = b""
    _sent: int = 0

    def link_secured(self, key: PublicKey) -> None:
        if self.vice == "hangs up at once" and self.chance.random() < 0.5:
            self.link.hang_up()

    def line_heard(self, line: bytes) -> None:
        message = wire.decode_from_fetcher(line)
        match message:
            case wire.Hello():
                self._say(wire.Hello((1,), "liar", "serve", (wire.FEATURE_HAVE,)))
            case wire.Ticket():
                self._admit()
            case wire.Ping():
                if self.vice != "admits nobody":
                    self._say(wire.Pong(message.n))
            case wire.Cancel():
                if message.id in self._gets:
                    del self._gets[message.id]
                    self._answers = deque(answer for answer in self._answers if answer[0] != message.id)
                    self._say(wire.Cancelled(message.id))
            case wire.GetOutline() | wire.GetGroup():
                self._manifest(message)
            case wire.GetHave():
                self._tell_have(message.id)
            case wire.Get():
                self._get(message)

    def raw_heard(self, data: bytes) -> None:
        raise AssertionError("a fetcher sends no bulk")

    def link_lost(self, reason: NapError) -> None:
        self._gone = True

    # --- Answers ---------------------------------------------------------------------------------

    def _say(self, *messages: Any) -> None:
        """A line, never into the middle of raw bytes."""
        if not self._gone and not self._outgoing:
            for message in messages:
                self.link.say(message)

    def _admit(self) -> None:
        if self.vice == "hangs up at once":
            self.link.hang_up(wire.Bye("busy", "not now"))
        elif self.vice != "admits nobody":
            self._say(wire.Admitted())
        if self.vice == "floods":
            self._flood()

    def _flood(self) -> None:
        for number in range(200):
            self._say(wire.Pong(number), wire.Queued("0" * 64, number), wire.Error("flood", "x" * 500, None))
        if not self._gone and self.chance.random() < 0.9:
            self.clock.callLater(0.2, self._flood)

    def _manifest(self, asked: wire.GetOutline | wire.GetGroup) -> None:
        content = by_id().get(asked.content)
        if self.vice in ("is mute",):
            return
        if content is None or self.vice == "has nothing":
            self._say(wire.Gone(asked.id))
            return
        if isinstance(asked, wire.GetOutline):
            outline = content.manifest.outline
            size, digests = outline.size, outline.group_digests
            if self.vice == "lies about the outline":
                size, digests = self.chance.choice([(size + 1, digests), (size, digests[::-1]), (1 << 40, digests)])
            self._say(wire.Outline(asked.id, size, len(digests)))
        else:
            try:
                digests = content.manifest.group(asked.group)
            except (LookupError, NapError):
                self._say(wire.Gone(asked.id))
                return
            if self.vice == "lies about a group":
                digests = self.chance.choice([digests[::-1], digests[:-32] or digests[::-1], digests + digests[:32]])
            self._say(wire.Group(asked.id, len(digests)))
        if not self._gone and not self._outgoing:
            self.link.send_raw(digests)

    def _tell_have(self, number: int) -> None:
        if self.vice in ("never says what it has", "is mute"):
            return
        if self.vice == "has less and less":
            self._say(wire.Have(number, 0, self.chance.randbytes(2)))
            if not self._gone and self.chance.random() < 0.95:
                self.clock.callLater(0.3, self._tell_have, number)
            return
        self._say(wire.Have(number, whole=True))
        if self.vice == "floods":
            for _ in range(100):
                self._say(wire.Have(number, self.chance.choice([0, 1, 60_000]), b"\xff" * 128))

    def _get(self, asked: wire.Get) -> None:
        content = by_id().get(asked.content)
        if content is None or self.vice in ("has nothing", "claims to have everything"):
            self._say(wire.Gone(asked.id))
        elif self.vice == "is mute":
            return
        elif self.vice == "is always busy":
            self._say(wire.Busy(asked.id, 1.0))
        elif self.vice == "makes everybody wait":
            self._say(wire.Queued(asked.content, 1))
        elif self.vice == "drops requests" and self.chance.random() < 0.5:
            self._say(wire.Cancelled(asked.id))
        else:
            self._gets[asked.id] = asked
            self._answers.extend((asked.id, chunk) for chunk in range(asked.first, asked.first + asked.count))
            self._go_on()

    def _go_on(self) -> None:
        if not self._sending:
            self._sending = True
            self.clock.callLater(0, self._next)

    def _next(self) -> None:
        """The next chunk, or a piece of it."""
        self._sending = False
        if self._gone:
            return
        if self._outgoing:
            self._send_some()
        elif self._answers:
            number, chunk = self._answers.popleft()
            self._chunk(self._gets[number], by_id()[self._gets[number].content], chunk)
        if self._outgoing or self._answers:
            self._sending = True
            self.clock.callLater(CRAWL_S if self.vice == "crawls" else 0.005, self._next)

    def _chunk(self, asked: wire.Get, content: Content, chunk: int) -> None:
        data = content.data[chunk * CHUNK_BYTES : (chunk + 1) * CHUNK_BYTES]
        self._sent += 1
        announced = chunk
        if self.vice == "flips a byte" or (self.vice == "flips a byte now and then" and self.chance.random() < 0.3):
            at = self.chance.randrange(len(data)) if data else 0
            data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] if data else b"?"
        elif self.vice == "sends short chunks":
            data = data[: self.chance.randrange(len(data) + 1)]
        elif self.vice == "sends long chunks":
            data = (data + b"more")[:CHUNK_BYTES]
        elif self.vice == "sends other chunks" and self.chance.random() < 0.5:
            announced = self.chance.choice([chunk + 1, chunk + 7, 0])
        elif self.vice == "talks nonsense" and self.chance.random() < 0.5:
            nonsense = self.chance.choice([b"\n", b"{}\n", b"[" * 5000 + b"\n", b"\xff\xfe\n", b"x" * 70_000, b"{\n"])
            self.link.transport.write(nonsense)
        elif self.vice == "hangs up in the middle" and self._sent > 1:
            self.link.hang_up()
            return
        self._say(wire.Chunk(asked.id, announced, len(data)))
        self._outgoing = data
        if not self._outgoing:
            return
        self._send_some()

    def _send_some(self) -> None:
        if self.vice == "crawls":
            size = CRAWL_BYTES
        elif self.vice == "stops in the middle" and self._sent > 1:
            self._outgoing, self._answers = b"", deque()
            return
        else:
            size = len(self._outgoing)
        if self.vice == "stops in the middle":
            size = max(1, size // 2)
            self._sent += 1
        self.link.send_raw(self._outgoing[:size])
        self._outgoing = self._outgoing[size:]


@define(eq=False, repr=False)
class Leech:
    """A fetcher that only costs: asks and does not read, asks and cancels, asks for nonsense, or just stays."""

    peer: SimPeer
    chance: Random
    background: Background
    _links: list[SecureLink] = field(factory=list)

    def visit(self, address: str) -> None:
        habit = self.chance.choice(["does not read", "cancels", "talks nonsense", "stays", "leaves"])
        self.background.start("a leech", self._visit(address, habit))

    async def _visit(self, address: str, habit: str) -> None:
        process = self.peer.process
        session = _LeechSession(process, self.chance, habit, self.peer.discovery.ticket)
        session.link = SecureLink(process, session, wire.ALPN)
        self._links.append(session.link)
        dialler = HostDialler(self.peer.network, self.peer.host, process, self.peer.key)
        try:
            await dialler.dial(address, wire.ALPN, lambda: session.link)
        except NapError:
            return

    def stop(self) -> None:
        for link in self._links:
            if link.transport is not None:
                link.transport.abortConnection()


@define(eq=False, repr=False)
class _LeechSession:
    """A `LinkUser` in the role ``fetch``."""

    clock: ProcessClock
    chance: Random
    habit: str
    ticket: Callable[[], str | None]
    link: SecureLink = field(init=False)
    _number: int = 0

    def link_secured(self, key: PublicKey) -> None:
        self.link.say(wire.Hello((1,), "leech", "fetch"))
        self.link.say(wire.Ticket(self.ticket() or "none"))

    def line_heard(self, line: bytes) -> None:
        message = wire.decode_from_server(line)
        if isinstance(message, wire.Admitted):
            self._work()
        raw = message.bytes if isinstance(message, wire.Outline | wire.Group | wire.Chunk) else 0
        self.link.expect_raw(raw)

    def raw_heard(self, data: bytes) -> None:
        """It was never interested."""

    def link_lost(self, reason: NapError) -> None:
        self.habit = "is gone"

    def _work(self) -> None:
        contents = list(by_id().values())
        for _ in range(self.chance.choice([1, 10, 200])):
            content = self.chance.choice(contents)
            self._number += 1
            if self.habit == "talks nonsense":
                self.link.transport.write(self.chance.choice([b"{}\n", b'{"t":"get","id":-1}\n', b"\xff\n", b"[]\n"]))
            elif self.habit in ("does not read", "cancels", "leaves"):
                self.link.say(wire.Get(self._number, content.id, 0, 1, "leech"))
            if self.habit == "cancels":
                self.link.say(wire.Cancel(self._number))
        if self.habit == "does not read":
            self.link.pause_reading()
        elif self.habit == "leaves":
            self.clock.callLater(self.chance.uniform(0, 2), self.link.transport.abortConnection)


def address_of(peer: SimPeer) -> str:
    return f"{peer.host.address}:{PORT}"
