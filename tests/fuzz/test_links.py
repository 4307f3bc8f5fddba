"""Whatever the other end sends, a link ends in good order or goes on: nothing is raised, nothing is left half done."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from napd.background import Background
from napd.content.digest import CHUNK_BYTES
from napd.discovery.interface import CataloguePosition
from napd.discovery.session import IndexSession
from napd.discovery.standing import StandingWishes
from napd.errors import Denied, NapError
from napd.model import ContentId
from napd.net.buffers import Buffers
from napd.net.identity import PublicKey, new_identity
from napd.net.link import SecureLink
from napd.net.pacing import Pacer
from napd.ops.events import Events
from napd.peer.fetch.fetching import FetchSession
from napd.peer.files.disk import Disk
from napd.peer.serve.serving import ServeSession
from napd.peer.serve.upload_turns import UploadTurns
from napd.peer.serve.uploads import Uploads
from napd.wire import index as index_wire
from napd.wire import peer as wire
from napd.wire.control import SearchParams
from napd.wire.line import encode
from napd.wire.ticket import Claims
from tests.support.memory import connect, settle
from tests.support.scripted_index import welcome
from tests.support.scripted_peer import HELLO, Receiver, ScriptedPeer, scripted_fetcher, scripted_source
from tests.support.swarm import Library, Work

ONE, TWO = new_identity(), new_identity()
CONTENTS = [ContentId(f"{number:x}" * 64) for number in range(3)]
SETTINGS = settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def streams(draw: st.DrawFn, lines: list[bytes]) -> list[bytes]:
    """Mostly what is expected, in mostly the right order, with faults; in pieces."""
    chosen = draw(st.lists(st.sampled_from(lines), max_size=12))
    stream = bytearray(b"".join(draw(st.sampled_from([lines[:2], lines[:1], []])) + chosen))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(stream)))
        fault = draw(st.sampled_from(["cut", "insert", "replace", "repeat"]))
        if fault == "cut":
            del stream[at : at + draw(st.integers(1, 30))]
        elif fault == "insert":
            stream[at:at] = draw(st.binary(max_size=20) | st.sampled_from([b"\n", b"{", b"9" * 30, b"[" * 3000]))
        elif fault == "replace":
            stream[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
        else:
            stream[at:at] = stream[at : at + 50]
    sizes = draw(st.lists(st.integers(1, 400), max_size=10))
    pieces, start = [], 0
    for size in sizes:
        pieces.append(bytes(stream[start : start + size]))
        start += size
    return [*pieces, bytes(stream[start:])]


# --- A source's words to a fetcher ---------------------------------------------------------------

FROM_SERVER = [
    encode(HELLO["serve"]),
    encode(wire.Admitted()),
    *[encode(wire.Chunk(number, chunk, 7)) + b"seven\n!" for number in (1, 2, 3) for chunk in (0, 1)],
    encode(wire.Chunk(1, 0, 0)),
    encode(wire.Outline(4, 100, 32)) + b"o" * 32,
    encode(wire.Group(5, 32)) + b'{"t":"bye"}\n{"t":"bye"}\n' + b"12345678",
    encode(wire.Have(7, 0, b"\x05")),
    encode(wire.Have(7, whole=True)),
    encode(wire.Gone(2)),
    encode(wire.Busy(3, 1.0)),
    encode(wire.Cancelled(3)),
    encode(wire.Queued(CONTENTS[0], 4)),
    encode(wire.Ping(5)),
    encode(wire.Pong(5)),
    encode(wire.Error("x", "y", 1)),
    encode(wire.Bye("x", "y")),
]


@SETTINGS
@given(streams(FROM_SERVER), st.booleans())
def test_a_fetcher_survives_any_source(pieces: list[bytes], cancels: bool) -> None:
    clock = Clock()
    ended: list[NapError] = []
    receivers = [Receiver() for _ in range(3)]
    manifests: list[Any] = []
    session = FetchSession(
        clock,
        "test",
        lambda: "ticket",
        Pacer(clock),
        lambda _: None,
        lambda _, reason: ended.append(reason),
        Buffers(CHUNK_BYTES),
    )
    link = SecureLink(clock, session, wire.ALPN)
    session.attach(link)
    source: ScriptedPeer = scripted_source(clock)
    connect(clock, link, source.link, ONE, TWO, wire.ALPN)
    settle(clock)
    requests = [session.requests.get(content, 0, 2, "t", to) for content, to in zip(CONTENTS, receivers, strict=True)]
    for asked in (session.requests.outline(CONTENTS[0]), session.requests.group(CONTENTS[0], 0)):
        asked.addBoth(manifests.append)
    if cancels:
        session.requests.cancel(requests[2])
    for piece in pieces:
        source.link.transport.write(piece)
        settle(clock)
    session.close()
    settle(clock)
    clock.advance(30)
    settle(clock)

    assert len(ended) == 1
    assert len(manifests) == 2
    for number, receiver in enumerate(receivers):
        chunks = [event[1] for event in receiver.events if event[0] == "chunk"]
        assert chunks == [0, 1][: len(chunks)]
        if number == 2 and cancels:
            assert receiver.ends == []
        else:
            assert len(receiver.ends) == 1
            assert receiver.events[-1][0] == "ended"
            assert (receiver.ends == [None]) == (chunks == [0, 1])
    assert clock.getDelayedCalls() == []


# --- A fetcher's words to a source ---------------------------------------------------------------


@pytest.fixture(scope="module")
def library() -> Iterator[Library]:
    with tempfile.TemporaryDirectory() as directory:
        made = Library(Path(directory))
        for number, size in enumerate((0, 10, 3000)):
            made.add(str(number), Random(number).randbytes(size))
        # The streams name contents by these.
        for content, file in zip(CONTENTS, list(made.files.values()), strict=True):
            made.files[content] = file
        yield made


FROM_FETCHER = [
    encode(HELLO["fetch"]),
    encode(wire.Ticket("good")),
    *[encode(wire.Get(number, content, 0, 1)) for number, content in enumerate(CONTENTS)],
    encode(wire.Get(7, CONTENTS[2], 1, 1)),
    encode(wire.Get(8, ContentId("f" * 64), 0, 16)),
    encode(wire.GetOutline(9, CONTENTS[2])),
    encode(wire.GetGroup(10, CONTENTS[2], 0)),
    encode(wire.GetGroup(11, CONTENTS[2], 5)),
    *[encode(wire.Cancel(number)) for number in range(3)],
    *[encode(wire.GetHave(number, content)) for number, content in enumerate(CONTENTS)],
    encode(wire.Ping(5)),
    encode(wire.Pong(5)),
    encode(wire.Ticket("bad")),
    encode(wire.Error("x", "y")),
    encode(wire.Bye("x", "y")),
]

CLAIMS = Claims("a" * 52, "account", "bob", ONE.id, (), 0.0, 1.0, "a" * 52)


def check_ticket(ticket: str, peer: str) -> Claims:
    if ticket != "good":
        raise Denied("bad", code="bad_ticket")
    return CLAIMS


@SETTINGS
@given(pieces=streams(FROM_FETCHER), slots=st.integers(0, 1))
def test_a_source_survives_any_fetcher(library: Library, pieces: list[bytes], slots: int) -> None:
    clock = Clock()
    faults: list[str] = []
    uploads = Uploads(
        clock=clock,
        events=Events(lambda: 0.0),
        library=library,
        discovery=SimpleNamespace(check_ticket=check_ticket),  # type: ignore[arg-type]
        disk=Disk(),
        run=Work(clock).run,
        pacer=Pacer(clock),
        turns=UploadTurns(clock=clock, events=Events(lambda: 0.0), slots=slots, weights={}),
    )
    background = Background(lambda name, failure: faults.append(f"{name}: {failure.getTraceback()}"))
    session = ServeSession(clock, "test", uploads, background)
    link = SecureLink(clock, session, wire.ALPN)
    session.attach(link)
    fetcher = scripted_fetcher(clock)
    connect(clock, fetcher.link, link, ONE, TWO, wire.ALPN)
    settle(clock)
    for piece in pieces:
        # What is heard is checked by the script: it would raise on anything that is not well formed.
        fetcher.link.transport.write(piece)
        settle(clock)
    uploads.turns.set_limit(1)
    settle(clock)
    chunks = {message.id: raw for message, raw in fetcher.heard if isinstance(message, wire.Chunk)}
    for number, raw in chunks.items():
        assert number in range(3)
        assert raw == Path(library.files[CONTENTS[number]].path).read_bytes()
    fetcher.link.abort(NapError("over"))
    settle(clock)
    clock.pump([5.0] * 20)
    settle(clock)

    assert not faults, "\n".join(faults)
    assert uploads.rows() == []
    assert clock.getDelayedCalls() == []


# --- An index's words to a peer ------------------------------------------------------------------

RESULT = index_wire.Result(CONTENTS[0], "x.txt", None, 7, 1, ("bob",), None)
FROM_INDEX = [
    encode(index_wire.Hello((1,), "script")),
    encode(welcome(limits=index_wire.Limits(1000, 10.0, 100, wishes=2))),
    encode(index_wire.Ack("e" * 64, 0)),
    encode(index_wire.Resync("why")),
    encode(index_wire.Results(3, (), last=False)),
    encode(index_wire.Results(3, ())),
    encode(index_wire.UserList(4, ())),
    encode(index_wire.UserList(3, ())),
    encode(index_wire.Wished(1)),
    encode(index_wire.Wished(1, (RESULT,), more=True)),
    encode(index_wire.Wished(1, reason="no")),
    encode(index_wire.Wished(2, (RESULT,))),
    encode(index_wire.Error("limit", "x", 2)),
    encode(index_wire.Sources(CONTENTS[0], ())),
    encode(index_wire.Ticket("another")),
    encode(index_wire.Reachable(("192.0.2.1:1",))),
    encode(index_wire.Ping(5.0)),
    encode(index_wire.Pong()),
    encode(index_wire.Error("usage", "x", 3)),
    encode(index_wire.Bye("shutdown", "x")),
]


class Wisher:
    """A `Wisher` that holds it against a wish that is none of its own."""

    def wishes_open(self, held: frozenset[int], searches_per_s: float) -> None:
        assert held == {71, 72}

    def wishes_closed(self) -> None:
        pass

    def wish_met(self, wish: int, *told: object) -> None:
        assert wish in (71, 72)

    wish_refused = wish_met


class IndexUser:
    """A `SessionUser` that takes everything, and has two wishes."""

    def __init__(self) -> None:
        self.ends = 0
        self.session: IndexSession
        standing = self.standing = StandingWishes()
        standing.wisher = Wisher()
        for wish in (71, 72, 73):
            standing.add(wish, SearchParams("x"))
        self.wished_told, self.error_heard = standing.told, standing.error_heard

    def secured(self, key: PublicKey) -> None:
        pass

    def login(self) -> index_wire.Login:
        return index_wire.Login("ada", "e" * 64, 0, "0" * 64, 0, 0, 0)

    def ended(self, reason: NapError, last_word: index_wire.Bye | None) -> None:
        self.ends += 1
        self.standing.closed()

    def welcomed(self, welcome: index_wire.Welcome) -> None:
        self.standing.opened(self.session, welcome.limits)

    def sources_told(self, told: object) -> None:
        pass

    ticket_renewed = time_told = reachable_told = sources_told


@SETTINGS
@given(streams(FROM_INDEX))
def test_a_peer_survives_any_index(pieces: list[bytes]) -> None:
    clock = Clock()
    user = IndexUser()
    feed = SimpleNamespace(
        position=lambda: CataloguePosition("e" * 64, 0, "0" * 64, 0, 0), step=lambda after, limit: None
    )
    session = user.session = IndexSession(clock, "test", feed, user)  # type: ignore[arg-type]
    link = SecureLink(clock, session, index_wire.ALPN)
    session.attach(link)
    index = ScriptedPeer(clock, index_wire.decode_from_peer, alpn=index_wire.ALPN)
    connect(clock, link, index.link, ONE, TWO, index_wire.ALPN)
    settle(clock)
    answers: list[Any] = []
    asked = 0
    for piece in pieces:
        index.link.transport.write(piece)
        settle(clock)
        for request in (session.search(lambda number: index_wire.Search(number, "x")), session.users("x")):
            request.addBoth(answers.append)
            asked += 1
    session.close()
    settle(clock)
    clock.pump([5.0] * 10)
    settle(clock)
    assert user.ends == 1
    assert len(answers) == asked
    assert clock.getDelayedCalls() == []
