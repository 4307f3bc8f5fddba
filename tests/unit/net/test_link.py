"""A link by itself, over a wire in memory: lines and raw bytes, how it begins, and that it always ends."""

from __future__ import annotations

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from napd.errors import NapError, RemoteProtocolError, Unreachable
from napd.model import PeerId
from napd.net.identity import PublicKey, new_identity
from napd.net.link import GOODBYE_S, HANDSHAKE_S, SecureLink
from napd.wire import peer as wire
from napd.wire.line import MAX_LINE_BYTES
from tests.support.memory import MemoryTransport, connect, settle

ONE, TWO = new_identity(), new_identity()
PING = b'{"t":"ping","n":1}'


@define(eq=False)
class User:
    """A `LinkUser` that remembers; a line ``raw N`` announces raw bytes."""

    link: SecureLink = field(init=False)
    events: list[tuple[str, object]] = field(factory=list)

    def link_secured(self, key: PublicKey) -> None:
        self.events.append(("secured", key.id))

    def line_heard(self, line: bytes) -> None:
        self.events.append(("line", line))
        if line.startswith(b"raw "):
            self.link.expect_raw(int(line[4:]))
        elif line == b"wrong":
            raise RemoteProtocolError("wrong")

    def raw_heard(self, data: bytes) -> None:
        if self.events[-1][0] == "raw":
            data = bytes(self.events.pop()[1]) + data  # type: ignore[call-overload]
        self.events.append(("raw", data))

    def link_lost(self, reason: NapError) -> None:
        self.events.append(("lost", reason.code))

    def of(self, kind: str) -> list[object]:
        return [value for event, value in self.events if event == kind]


class Pair:
    def __init__(self, alpn: bytes | None = wire.ALPN, expected: PeerId | None = None) -> None:
        self.clock = Clock()
        self.left, self.right = User(), User()
        self.left.link = SecureLink(self.clock, self.left, wire.ALPN, expected)
        self.right.link = SecureLink(self.clock, self.right, wire.ALPN)
        self.wire: MemoryTransport
        self.wire, _ = connect(self.clock, self.left.link, self.right.link, ONE, TWO, alpn)
        settle(self.clock)

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        settle(self.clock)


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_each_end_learns_the_other_s_key(pair: Pair) -> None:
    assert pair.left.events == [("secured", TWO.id)]
    assert pair.right.events == [("secured", ONE.id)]


@pytest.mark.parametrize("alpn", [None, b"nap-peer/2", b"nap-index/1", b""])
def test_another_protocol_or_none_is_refused(alpn: bytes | None) -> None:
    pair = Pair(alpn)
    assert pair.left.events == [("lost", "wrong_protocol")]
    assert pair.right.of("secured") == []


def test_another_key_than_expected_is_refused() -> None:
    pair = Pair(expected=ONE.id)
    assert pair.left.events == [("lost", "wrong_identity")]
    assert ("line", PING) not in pair.right.events


def test_what_is_said_is_heard(pair: Pair) -> None:
    pair.left.link.say(wire.Ping(1))
    settle(pair.clock)
    assert pair.right.of("line") == [PING]


def test_nothing_announced_is_nothing_waited_for(pair: Pair) -> None:
    pair.left.link.send_raw(b"raw 0\nnext\n")
    settle(pair.clock)
    assert pair.right.of("line") == [b"raw 0", b"next"]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.binary(max_size=40) | st.just(b"\n\n{}\n"), max_size=6), st.lists(st.integers(1, 30), max_size=20))
def test_raw_bytes_are_told_from_lines_however_they_are_cut(blocks: list[bytes], cuts: list[int]) -> None:
    pair = Pair()
    stream = b"".join(b"raw %d\n" % len(block) + block for block in blocks) + b"end\n"
    start = 0
    for size in [*cuts, len(stream)]:
        pair.right.link.dataReceived(stream[start : start + size])
        start += size
    assert pair.right.of("raw") == [block for block in blocks if block]
    assert pair.right.of("line") == [*[b"raw %d" % len(block) for block in blocks], b"end"]


def test_who_breaks_the_protocol_is_cut_off_and_what_follows_is_not_heard(pair: Pair) -> None:
    pair.left.link.send_raw(b"wrong\nmore\n")
    settle(pair.clock)
    assert pair.right.events[1:] == [("line", b"wrong"), ("lost", "malformed")]
    assert len(pair.left.of("lost")) == 1


@pytest.mark.parametrize("data", [b"x" * (MAX_LINE_BYTES + 1), b"x" * (MAX_LINE_BYTES + 1) + b"\n"])
def test_a_line_that_is_too_long_is_cut_off(pair: Pair, data: bytes) -> None:
    pair.left.link.send_raw(b"x" * MAX_LINE_BYTES + b"\n")
    settle(pair.clock)
    assert len(pair.right.of("line")) == 1
    pair.left.link.send_raw(data)
    settle(pair.clock)
    assert pair.right.events[-1] == ("lost", "malformed")


def test_the_last_word_is_delivered_and_nothing_after_it(pair: Pair) -> None:
    pair.left.link.send_raw(b"before\n")
    pair.left.link.hang_up(wire.Ping(1))
    pair.left.link.say(wire.Ping(2))
    pair.left.link.send_raw(b"after\n")
    pair.left.link.hang_up(wire.Ping(3))
    settle(pair.clock)
    assert pair.right.of("line") == [b"before", PING]
    assert pair.left.of("lost") == ["closed"]
    assert pair.right.of("lost") == ["unreachable"]


def test_who_does_not_take_the_last_word_is_cut_off(pair: Pair) -> None:
    pair.right.link.pause_reading()
    pair.left.link.hang_up(wire.Ping(1))
    pair.pass_time(GOODBYE_S - 1)
    assert pair.left.of("lost") == []
    pair.pass_time(2)
    assert pair.left.of("lost") == ["closed"]
    assert pair.clock.getDelayedCalls() == []


def test_a_handshake_that_takes_too_long_is_given_up() -> None:
    clock = Clock()
    user = User()
    user.link = SecureLink(clock, user, wire.ALPN)
    other = User()
    other.link = SecureLink(clock, other, wire.ALPN)
    connect(clock, user.link, other.link, ONE, TWO, wire.ALPN)
    for call in clock.getDelayedCalls():
        if call.getTime() <= clock.seconds():
            call.cancel()
    clock.advance(HANDSHAKE_S + 0.1)
    settle(clock)
    assert user.events == [("lost", "unreachable")]


@pytest.mark.parametrize("when", ["before it connects", "before it is secured"])
def test_a_link_that_is_given_up_early_says_nothing_and_is_lost_once(when: str) -> None:
    clock = Clock()
    left, right = User(), User()
    for user in (left, right):
        user.link = SecureLink(clock, user, wire.ALPN)
    if when == "before it connects":
        left.link.hang_up(wire.Ping(1))
    connect(clock, left.link, right.link, ONE, TWO, wire.ALPN)
    if when == "before it is secured":
        left.link.hang_up(wire.Ping(1))
    settle(clock)
    clock.advance(60)
    settle(clock)
    assert left.events == [("lost", "closed")]
    assert right.of("line") == []
    assert clock.getDelayedCalls() == []


def test_whoever_waits_for_room_goes_on_when_there_is_some_and_when_the_link_is_lost(pair: Pair) -> None:
    link = pair.left.link
    assert link.drained().called
    pair.right.link.pause_reading()
    link.send_raw(b"raw 1000000\n" + bytes(1_000_000))
    first, second = link.drained(), link.drained()
    settle(pair.clock)
    assert not first.called
    second.addErrback(lambda _: None)
    second.cancel()
    pair.right.link.resume_reading()
    settle(pair.clock)
    assert first.called

    pair.right.link.pause_reading()
    link.send_raw(bytes(1_000_000))
    waiting = link.drained()
    link.abort(Unreachable("enough"))
    settle(pair.clock)
    assert waiting.called
    assert link.drained().called
    link.resume_reading()
