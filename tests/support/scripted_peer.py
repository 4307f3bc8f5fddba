"""The other end of a peer link, as a test wants it: fetching from real sources, or serving real fetchers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from attrs import define, field
from msgspec import Struct
from twisted.internet.task import Clock

from napd.errors import NapError
from napd.model import ContentId
from napd.net.identity import Identity, PublicKey, new_identity
from napd.net.link import SecureLink
from napd.wire import peer as wire
from tests.support.memory import settle

M = TypeVar("M", bound=Struct)

HELLO = {"fetch": wire.Hello((1,), "script", "fetch"), "serve": wire.Hello((1,), "script", "serve")}


@define(eq=False)
class ScriptedPeer:
    """A `LinkUser`: `heard` is every message in order, each with the raw bytes that came with it.

    `greeting` is said as soon as the link is secured.
    """

    clock: Clock
    decode: Callable[[bytes], Any]
    identity: Identity = field(factory=new_identity)
    alpn: bytes = wire.ALPN
    greeting: Sequence[Struct] = ()
    heard: list[tuple[Any, bytes]] = field(factory=list)
    lines: list[bytes] = field(factory=list)
    secured: bool = False
    lost: NapError | None = None
    #: Called with each message as its line comes, before its raw bytes.
    on_line: Callable[[Any], None] | None = None
    link: SecureLink = field(init=False)
    _coming: tuple[Any, bytearray] | None = None

    def __attrs_post_init__(self) -> None:
        self.link = SecureLink(self.clock, self, self.alpn)

    # --- LinkUser --------------------------------------------------------------------------------

    def link_secured(self, key: PublicKey) -> None:
        self.secured = True
        for message in self.greeting:
            self.link.say(message)

    def line_heard(self, line: bytes) -> None:
        self.lines.append(line)
        message = self.decode(line)
        if self.on_line is not None:
            self.on_line(message)
        raw = message.bytes if isinstance(message, wire.Outline | wire.Group | wire.Chunk) else 0
        if raw:
            self._coming = message, bytearray()
            self.link.expect_raw(raw)
        else:
            self.heard.append((message, b""))

    def raw_heard(self, data: bytes) -> None:
        assert self._coming is not None
        message, come = self._coming
        come += data
        if len(come) == message.bytes:
            self._coming = None
            self.heard.append((message, bytes(come)))

    def link_lost(self, reason: NapError) -> None:
        self.lost = reason

    # --- For tests -------------------------------------------------------------------------------

    def say(self, *messages: Struct, raw: bytes = b"") -> None:
        for message in messages:
            self.link.say(message)
        if raw:
            self.link.send_raw(raw)
        settle(self.clock)

    def say_bytes(self, data: bytes) -> None:
        self.link.transport.write(data)
        settle(self.clock)

    def messages(self) -> list[Any]:
        return [message for message, _ in self.heard]

    def all(self, kind: type[M]) -> list[M]:
        return [message for message, _ in self.heard if isinstance(message, kind)]

    def last(self, kind: type[M]) -> M:
        return self.all(kind)[-1]

    def chunks(self) -> dict[int, bytes]:
        """By number, as they came."""
        return {message.chunk: raw for message, raw in self.heard if isinstance(message, wire.Chunk)}

    # --- As a fetcher ----------------------------------------------------------------------------

    def be_admitted(self, ticket: str) -> None:
        self.say(HELLO["fetch"], wire.Ticket(ticket))
        assert self.messages()[-1] == wire.Admitted(), self.messages()

    def get(
        self,
        number: int,
        content: ContentId,
        first: int = 0,
        count: int = 1,
        transfer: str = "t",
        priority: int = wire.NORMAL,
    ) -> None:
        self.say(wire.Get(number, content, first, count, transfer, priority))


def scripted_fetcher(clock: Clock) -> ScriptedPeer:
    return ScriptedPeer(clock, wire.decode_from_server)


def scripted_source(clock: Clock) -> ScriptedPeer:
    return ScriptedPeer(clock, wire.decode_from_fetcher)


@define(eq=False)
class Receiver:
    """A `requests.Receiver` that remembers, in order: chunks, places, and the end."""

    events: list[tuple[Any, ...]] = field(factory=list)

    def chunk_came(self, chunk: int, data: bytes) -> None:
        self.events.append(("chunk", chunk, data))

    def get_ended(self, failure: NapError | None) -> None:
        self.events.append(("ended", None if failure is None else failure.code))

    def place_told(self, position: int | None) -> None:
        self.events.append(("place", position))

    @property
    def ends(self) -> Sequence[Any]:
        return [event[1] for event in self.events if event[0] == "ended"]
