"""The recorded session of docs/reference/transcripts/, played to each of the two real ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from napd.background import Background
from napd.content.digest import CHUNK_BYTES
from napd.errors import SourceFailed
from napd.model import PeerId
from napd.net.buffers import Buffers
from napd.net.link import SecureLink
from napd.net.pacing import Pacer
from napd.ops.events import Events
from napd.peer.fetch.fetching import FetchSession
from napd.peer.fetch.requests import GetRequest
from napd.peer.files.disk import Disk
from napd.peer.serve.serving import ServeSession
from napd.peer.serve.upload_turns import UploadTurns
from napd.peer.serve.uploads import Uploads
from napd.wire import peer as wire
from napd.wire.ticket import Claims
from tests.support.keys import INDEX_SEED, PEER_SEED, identity_of
from tests.support.memory import MemoryTransport, connect, settle
from tests.support.scripted_peer import Receiver, ScriptedPeer, scripted_fetcher, scripted_source
from tests.support.swarm import Library, Work
from tests.support.transcript import Part, read, said_by

SESSION = "peer-session.txt"
AGENT = "example/1"
NOW = 1_767_225_610.0
INDEX, PEER = identity_of(INDEX_SEED), identity_of(PEER_SEED)


class Vouching:
    """As much of a `Discovery` as uploads need: the index of the test vector vouches."""

    def check_ticket(self, ticket: str, peer: PeerId) -> Claims:
        return INDEX.public.check_ticket(ticket, peer=peer, now=NOW)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    made = Library(tmp_path)
    for name, data in (("hello", b"Hello from Peer 1\n"), ("empty", b""), ("zeros", bytes((1 << 20) + 1))):
        made.add(name, data)
    return made


class Serving:
    """A real serving end, with a scripted fetcher on the link."""

    def __init__(self, library: Library) -> None:
        self.clock = Clock()
        self.faults: list[str] = []
        background = Background(lambda name, failure: self.faults.append(f"{name}: {failure.getTraceback()}"))
        self.uploads = Uploads(
            clock=self.clock,
            events=Events(lambda: NOW),
            library=library,
            discovery=Vouching(),  # type: ignore[arg-type]
            disk=Disk(),
            run=Work(self.clock).run,
            pacer=Pacer(self.clock),
            turns=UploadTurns(clock=self.clock, events=Events(lambda: NOW), slots=1, weights={}),
        )
        session = ServeSession(self.clock, AGENT, self.uploads, background)
        link = SecureLink(self.clock, session, wire.ALPN)
        session.attach(link)
        self.fetcher = scripted_fetcher(self.clock)
        self.fetcher.identity = PEER
        connect(self.clock, self.fetcher.link, link, PEER, INDEX, wire.ALPN)
        settle(self.clock)

    def happen(self, what: str) -> None:
        if what == "all upload slots are taken":
            self.clock.advance(1.0)
            self.uploads.turns.set_limit(0)
        elif what == "an upload slot is free":
            self.uploads.turns.set_limit(1)
        elif what == "the serving daemon stops":
            self.uploads.stop()
        else:
            raise AssertionError(what)
        settle(self.clock)


def wiretap(transport: MemoryTransport, monkeypatch: pytest.MonkeyPatch) -> bytearray:
    """Grows with all that is written to this end of a wire."""
    said = bytearray()
    write = MemoryTransport.write

    def tapped(self: MemoryTransport, data: bytes) -> None:
        if self is transport:
            said.extend(data)
        write(self, data)

    monkeypatch.setattr(MemoryTransport, "write", tapped)
    return said


def test_the_serving_end_says_its_part(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    serving = Serving(library)
    said = wiretap(serving.fetcher.link.transport.other, monkeypatch)
    parts = read(SESSION)
    for at, part in enumerate(parts):
        if part.who == "F":
            serving.fetcher.say_bytes(part.data)
        elif part.who == "--":
            serving.happen(part.text)
        # Everything that it says until the fetcher speaks again.
        if at + 1 == len(parts) or parts[at + 1].who != "S":
            expected = said_by(parts[: at + 1], "S")
            assert bytes(said) == expected, f"after {part.text}"
    assert serving.fetcher.lost is not None
    assert not serving.faults


class Fetching:
    """A real fetching end, with a scripted source on the link."""

    def __init__(self, ticket: str) -> None:
        self.clock = Clock()
        self.requests: dict[int, GetRequest] = {}
        self.receivers: dict[int, Receiver] = {}
        self.manifests: list[Any] = []
        self.whole = 0
        self.session = FetchSession(
            self.clock,
            AGENT,
            lambda: ticket,
            Pacer(self.clock),
            lambda session: None,
            lambda session, reason: None,
            Buffers(CHUNK_BYTES),
        )
        link = SecureLink(self.clock, self.session, wire.ALPN)
        self.session.attach(link)
        self.source: ScriptedPeer = scripted_source(self.clock)
        connect(self.clock, link, self.source.link, PEER, INDEX, wire.ALPN)
        settle(self.clock)

    def do(self, message: Any) -> None:
        """What makes the fetching end say this, unless it says it by itself."""
        if isinstance(message, wire.Get):
            receiver = self.receivers[message.id] = Receiver()
            self.requests[message.id] = self.session.requests.get(
                message.content,  # type: ignore[arg-type]
                message.first,
                message.count,
                message.transfer,
                receiver,
            )
        elif isinstance(message, wire.GetOutline):
            self.session.requests.outline(message.content).addBoth(self.manifests.append)  # type: ignore[arg-type]
        elif isinstance(message, wire.GetGroup):
            self.session.requests.group(message.content, message.group).addBoth(self.manifests.append)  # type: ignore[arg-type]
        elif isinstance(message, wire.GetHave):
            self.session.requests.watch(message.content, self)  # type: ignore[arg-type]
        elif isinstance(message, wire.Cancel):
            self.session.requests.cancel(self.requests[message.id])
        settle(self.clock)

    # --- Watcher ---------------------------------------------------------------------------------

    def have_told(self, group: int, bits: int) -> None:
        raise AssertionError("all of it is there")

    def whole_told(self) -> None:
        self.whole += 1

    def watch_ended(self, failure: SourceFailed) -> None:
        raise AssertionError(failure)


def test_the_fetching_end_says_its_part_and_hears_the_other_s() -> None:
    parts = read(SESSION)
    ticket = next(wire.decode_from_fetcher(part.data) for part in parts if '"ticket"' in part.text)
    fetching = Fetching(ticket.ticket)
    expected = b""
    for part in parts:
        if part.who == "S":
            fetching.source.say_bytes(part.data)
        elif part.who == "F":
            expected += part.data
            fetching.do(wire.decode_from_fetcher(part.data))
            said = b"".join(line + b"\n" for line in fetching.source.lines)
            # It may have said more already: the ping goes with the ticket.
            assert said.startswith(expected), part.text
    assert b"".join(line + b"\n" for line in fetching.source.lines) == expected

    zeros = bytes(1 << 20)
    heard = {number: receiver.events for number, receiver in fetching.receivers.items()}
    assert heard == {
        1: [("chunk", 0, b"Hello from Peer 1\n"), ("ended", None)],
        2: [("chunk", 0, b""), ("ended", None)],
        5: [("chunk", 0, zeros), ("chunk", 1, b"\0"), ("ended", None)],
        6: [("ended", "gone")],
        7: [("ended", "refused")],
        9: [("place", 1), ("place", None), ("chunk", 0, b"Hello from Peer 1\n"), ("ended", None)],
        10: [("place", 2)],
    }
    assert fetching.whole == 1
    outline, group, gone = fetching.manifests
    assert outline[0] == len(zeros) + 1
    assert len(group[1]) == 64
    assert gone.value.code == "gone"


# --- Every fragmentation -------------------------------------------------------------------------


def small_part() -> list[Part]:
    """Without the large content, whose bytes would only take time."""
    return [part for part in read(SESSION) if "x 1048576" not in part.text][:12]


def pieces(data: bytes) -> Iterator[list[bytes]]:
    """Cut in two at each place, and into single bytes."""
    for at in range(len(data) + 1):
        yield [data[:at], data[at:]]
    yield [data[at : at + 1] for at in range(len(data))]


def test_the_fetching_end_hears_the_same_however_the_bytes_are_cut() -> None:
    parts = small_part()
    stream = said_by(parts, "S")
    asked = [wire.decode_from_fetcher(part.data) for part in parts if part.who == "F"]
    told = None
    for cut in pieces(stream):
        fetching = Fetching("ticket")
        for message in asked:
            fetching.do(message)
        for piece in cut:
            fetching.source.link.transport.other.link.dataReceived(piece)
        settle(fetching.clock)
        heard = {number: receiver.events for number, receiver in fetching.receivers.items()}
        told = told or heard
        assert heard == told
        assert fetching.session.alive
    assert told is not None
    assert told[1][-1] == ("ended", None)


def test_the_serving_end_hears_the_same_however_the_bytes_are_cut(library: Library) -> None:
    parts = small_part()
    stream = said_by(parts, "F")
    told: list[Any] | None = None
    for cut in pieces(stream):
        serving = Serving(library)
        for piece in cut:
            serving.fetcher.link.transport.other.link.dataReceived(piece)
        settle(serving.clock)
        heard = sorted(serving.fetcher.heard, key=repr)
        told = told or heard
        assert heard == told
        assert serving.fetcher.lost is None
    assert told is not None
    assert len(told) > 4
