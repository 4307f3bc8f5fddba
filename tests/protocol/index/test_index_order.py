"""What may be said when, how sessions end, and what becomes of nonsense."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from twisted.internet.address import IPv4Address

from napd import __version__
from napd.index.doorway import MAX_TOLD
from napd.index.limits import Limits
from napd.net.link import HANDSHAKE_S
from napd.wire import index as wire
from napd.wire.line import MAX_LINE_BYTES, encode
from tests.support.index_script import EPOCH, IndexScript, PeerScript, SecureTransport, content, entry, identity

ANY_TIME_AFTER_WELCOME: list[Struct] = [
    wire.Search(1, "hello"),
    wire.Users(2),
    wire.Seek((content(1),)),
    wire.Unseek((content(1),)),
    wire.Announce(EPOCH, 0, 1, (entry("a/b"),), reset=True),
]


def named(message: Struct) -> str:
    return str(message.__struct_config__.tag)


@pytest.fixture
def index() -> IndexScript:
    return IndexScript()


def said_goodbye(peer: PeerScript, code: str) -> bool:
    """The last thing said was a bye with this code, and the connection is closed."""
    last = peer.heard()[-1]
    return isinstance(last, wire.Bye) and last.code == code and peer.is_gone()


# --- Order -------------------------------------------------------------------------------------------


def test_the_index_says_hello_as_soon_as_the_link_is_secured(index: IndexScript) -> None:
    peer = index.peer("ann")
    assert peer.heard() == [wire.Hello((1,), f"napd/{__version__}")]


@pytest.mark.parametrize("message", [*ANY_TIME_AFTER_WELCOME, wire.Ping(), wire.Pong()], ids=named)
def test_nothing_may_be_said_before_hello(index: IndexScript, message: Struct) -> None:
    peer = index.peer("ann")
    peer.say(message)
    assert said_goodbye(peer, "malformed")


def test_no_login_before_hello(index: IndexScript) -> None:
    peer = index.peer("ann")
    peer.say(peer.login_message())
    assert said_goodbye(peer, "malformed")


@pytest.mark.parametrize("message", ANY_TIME_AFTER_WELCOME, ids=named)
def test_nothing_may_be_asked_before_login(index: IndexScript, message: Struct) -> None:
    peer = index.peer("ann")
    peer.hello()
    peer.say(message)
    assert said_goodbye(peer, "malformed")


@pytest.mark.parametrize("message", ANY_TIME_AFTER_WELCOME, ids=named)
def test_everything_may_be_said_after_the_welcome(index: IndexScript, message: Struct) -> None:
    peer = index.online("ann")
    peer.say(message)
    assert not peer.is_gone()
    assert not peer.all(wire.Error)


@pytest.mark.parametrize("again", ["hello", "login"])
def test_hello_and_login_are_said_once(index: IndexScript, again: str) -> None:
    peer = index.online("ann")
    peer.say(wire.Hello((1,), "x") if again == "hello" else peer.login_message())
    assert said_goodbye(peer, "malformed")


def test_hello_twice_before_the_login_is_out_of_order(index: IndexScript) -> None:
    peer = index.peer("ann")
    peer.hello()
    peer.hello()
    assert said_goodbye(peer, "malformed")


def test_a_peer_that_speaks_no_version_of_ours_is_told_so(index: IndexScript) -> None:
    peer = index.peer("ann")
    peer.say(wire.Hello((2, 7), "future/1"))
    assert said_goodbye(peer, "version")


def test_a_newer_peer_that_also_speaks_our_version_is_welcome(index: IndexScript) -> None:
    peer = index.peer("ann")
    peer.say(wire.Hello((2, 1), "future/1", ("tricks",)), peer.login_message())
    assert peer.one(wire.Welcome).user == "ann"


def test_what_is_said_after_bye_is_not_heard(index: IndexScript) -> None:
    peer = index.online("ann")
    peer.say(wire.Bye("shutdown", "good night"), wire.Search(1, "hello"))
    assert peer.heard() == []
    assert peer.is_gone()
    assert index.events("session.closed")[0]["reason"] == "bye"


# --- Time --------------------------------------------------------------------------------------------


def test_a_peer_that_never_logs_in_is_sent_away_after_15_seconds(index: IndexScript) -> None:
    silent, chatty = index.peer("ann"), index.peer("bob")
    chatty.hello()
    for _ in range(14):
        index.clock.advance(1)
        chatty.say(wire.Ping())
    assert not silent.is_gone()
    assert not chatty.is_gone()
    index.clock.advance(1)
    assert silent.is_gone()
    assert said_goodbye(chatty, "limit")


def test_a_ping_is_answered_and_the_index_pings_every_5_seconds_with_its_time(index: IndexScript) -> None:
    peer = index.online("ann")
    peer.say(wire.Ping())
    assert peer.heard() == [wire.Pong()]
    for _ in range(2):
        index.clock.advance(5)
        assert peer.heard() == [wire.Ping(index.now())]
        peer.say(wire.Pong())


def test_a_silent_peer_is_dead_after_15_seconds_and_gone_from_results(index: IndexScript) -> None:
    index.online("ann", entry("music/song.mp3"))
    asker = index.online("bob")
    for _ in range(14):
        index.clock.advance(1)
        asker.say(wire.Pong())
    assert asker.found("song") == ["song.mp3"]
    index.clock.advance(1)
    assert asker.found("song") == []
    assert index.events("session.closed")[0]["reason"] == "silent"


def test_any_line_keeps_a_session_alive(index: IndexScript) -> None:
    peer = index.online("ann")
    for n in range(30):
        index.clock.advance(4)
        peer.say(wire.Search(n, "hello"))
    assert not peer.is_gone()


def test_a_dead_link_is_cut_without_a_last_word(index: IndexScript) -> None:
    peer = index.online("ann")
    index.wait(16, step=1)
    assert not peer.all(wire.Bye)
    assert peer.transport.aborting


def test_nothing_is_left_to_be_done_for_a_session_that_is_over(index: IndexScript) -> None:
    idle = len(index.clock.getDelayedCalls())
    for how in ("leave", "bye", "garbage"):
        peer = index.online("ann", entry("a/b"))
        peer.say(wire.Seek((content(1),)))
        if how == "leave":
            peer.leave()
        elif how == "bye":
            peer.say(wire.Bye("shutdown", ""))
        else:
            peer.say_bytes(b"garbage\n")
        index.settle()
        assert len(index.clock.getDelayedCalls()) == idle
    assert len(index.doorway) == 0


# --- Nonsense ----------------------------------------------------------------------------------------


def test_an_unknown_type_is_answered_with_an_error_and_the_connection_stays(index: IndexScript) -> None:
    peer = index.online("ann")
    peer.say_bytes(b'{"t":"dance","id":7}\n{"t":"ping"}\n')
    error, pong = peer.heard()
    assert (error.code, error.id) == ("unknown_type", 7)
    assert pong == wire.Pong()


def test_a_value_out_of_bounds_is_answered_with_an_error_and_the_connection_stays(index: IndexScript) -> None:
    peer = index.online("ann")
    peer.say_bytes(b'{"t":"search","id":3,"query":"x","limit":100000}\n')
    error = peer.one(wire.Error)
    assert (error.code, error.id) == ("out_of_bounds", 3)
    assert not peer.is_gone()


def test_unknown_fields_are_ignored(index: IndexScript) -> None:
    peer = index.online("ann")
    peer.say_bytes(b'{"t":"ping","colour":"blue","deep":{"er":[1]}}\n')
    assert peer.heard() == [wire.Pong()]


@pytest.mark.parametrize(
    "line", [b"garbage", b"", b"[1]", b"\xff\xfe", b"{", b'{"t":5}' + b"x", b"[" * 5000, b"GET / HTTP/1.1"]
)
def test_what_is_no_message_at_all_ends_the_connection(index: IndexScript, line: bytes) -> None:
    peer = index.online("ann")
    peer.say_bytes(line + b"\n")
    assert said_goodbye(peer, "malformed")
    assert index.events("peer.misbehaved")[0]["code"] == "malformed"


def test_a_line_that_is_too_long_ends_the_connection(index: IndexScript) -> None:
    peer = index.online("ann")
    peer.say_bytes(b'{"t":"ping","x":"' + b"x" * MAX_LINE_BYTES)
    assert peer.is_gone()
    assert index.events("peer.misbehaved")[0]["peer"] == peer.id


def test_a_peer_that_only_makes_errors_is_cut_off() -> None:
    index = IndexScript(limits=Limits(error_burst=5))
    peer = index.online("ann")
    peer.say_bytes(b'{"t":"dance"}\n' * 5)
    assert len(peer.all(wire.Error)) == 5
    assert not peer.is_gone()
    peer.say_bytes(b'{"t":"dance"}\n')
    assert said_goodbye(peer, "limit")
    assert len(index.events("peer.misbehaved")) == 1


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=60) | st.sampled_from([encode(message) for message in ANY_TIME_AFTER_WELCOME])))
def test_no_input_makes_the_index_fail(chunks: list[bytes]) -> None:
    index = IndexScript()
    peer = index.online("ann")
    for chunk in chunks:
        peer.say_bytes(chunk)
    assert index.events("daemon.fault") == []
    assert index.faults == []
    other = index.online("bob")
    assert other.search("hello").results == ()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_it_does_not_matter_how_the_bytes_arrive(size: int) -> None:
    def conversation(index: IndexScript) -> bytes:
        peer = index.peer("ann")
        script: list[Any] = [
            wire.Hello((1,), "x"),
            peer.login_message(),
            wire.Announce(EPOCH, 0, 1, (entry("a/hello.mp3"),), reset=True),
            wire.Seek((content("a/hello.mp3"),)),
            wire.Ping(),
            wire.Search(9, "hello"),
        ]
        data = b"".join(encode(message) for message in script)
        step = size if index is pieces else len(data)
        for at in range(0, len(data), step):
            peer.say_bytes(data[at : at + step])
        said: bytes = peer.transport.value()
        return said

    pieces, whole = IndexScript(), IndexScript()
    assert conversation(pieces) == conversation(whole)


# --- Slow readers and crowds -------------------------------------------------------------------------


def test_a_peer_that_does_not_read_is_cut_off_at_a_cap() -> None:
    index = IndexScript(limits=Limits(unread_bytes=5_000))
    index.online("bob", *(entry(f"music/song {n}.mp3") for n in range(10)))
    peer = index.online("ann")
    peer.transport.producer.pauseProducing()
    for n in range(3):
        peer.say(wire.Search(n, "song"))
        index.wait(1)
    assert peer.is_gone()
    assert index.events("limit.hit")[0]["limit"] == "index.unread"


def test_many_who_do_not_read_are_cut_off_at_a_cap_of_them_all() -> None:
    index = IndexScript(limits=Limits(unread_bytes_in_all=5_000))
    index.online("bob", *(entry(f"music/song {n}.mp3") for n in range(10)))
    peers = [index.online(user) for user in ("ann", "cat", "dan", "eve")]
    for peer in peers[:3]:
        peer.transport.producer.pauseProducing()
        peer.say(wire.Search(1, "song"))
    gone = [peer.is_gone() for peer in peers]
    assert gone == [False, False, True, False]
    # What one has read, or is gone with it, counts no more.
    peers[0].transport.producer.resumeProducing()
    peers[3].transport.producer.pauseProducing()
    peers[3].say(wire.Search(1, "song"))
    assert not peers[3].is_gone()
    peers[0].leave()
    peers[1].leave()
    peers[3].leave()
    assert index.services.unread.in_all == 0


def test_a_peer_that_reads_late_is_told_everything() -> None:
    index = IndexScript(limits=Limits(unread_bytes=5_000))
    index.online("bob", *(entry(f"music/song {n}.mp3") for n in range(10)))
    peer = index.online("ann")
    for n in range(5):
        peer.transport.producer.pauseProducing()
        peer.say(wire.Search(n, "song"))
        index.wait(1)
        peer.transport.producer.resumeProducing()
    assert len(peer.all(wire.Results)) == 5


def test_connections_are_limited_by_address_and_those_beyond_are_told() -> None:
    index = IndexScript(limits=Limits(connections_per_address=2))
    first = index.online("ann", host="192.0.2.1")
    index.online("bob", host="192.0.2.1")
    beyond = index.peer("cat", "192.0.2.1")
    bye = beyond.one(wire.Bye)
    assert (bye.code, bye.message) == ("limit", "over 2 connections from 192.0.2.1")
    assert beyond.is_gone()
    # Nobody else is.
    index.online("dan", host="192.0.2.2")
    for user in ("eve", "fay", "gus"):
        index.online(user, host="127.0.0.1")
    first.leave()
    index.online("cat", host="192.0.2.1")


def test_connections_are_limited_in_all_and_those_beyond_are_told() -> None:
    index = IndexScript(limits=Limits(connections=2))
    index.online("ann", host="127.0.0.1")
    index.online("bob", host="192.0.2.1")
    assert index.peer("cat", "192.0.2.2").one(wire.Bye).message == "over 2 connections"
    assert index.peer("dan", "127.0.0.1").one(wire.Bye).code == "limit"


def test_an_ipv6_network_of_one_customer_is_one_address() -> None:
    index = IndexScript(limits=Limits(connections_per_address=2))
    for number in (1, 2):
        index.online(f"ann{number}", host=f"2001:db8:0:1::{number}")
    beyond = index.peer("cat", "2001:db8:0:1:ffff::3")
    assert beyond.one(wire.Bye).message == "over 2 connections from 2001:db8:0:1::/64"
    index.online("dan", host="2001:db8:0:2::1")


def test_connections_that_come_and_go_too_fast_are_turned_away_without_a_handshake() -> None:
    index = IndexScript(limits=Limits(connections_per_address=40))
    gate = index.doorway.admits
    address, another = (IPv4Address("TCP", host, 40_000) for host in ("192.0.2.1", "192.0.2.2"))
    came = sum(gate(address) for _ in range(100))
    assert came == 40 + MAX_TOLD
    assert gate(another)
    assert [event["limit"] for event in index.events("limit.hit")] == ["index.arrivals"]
    index.clock.advance(3)
    assert sum(gate(address) for _ in range(100)) == 3
    loopback = IPv4Address("TCP", "127.0.0.1", 40_000)
    assert all(gate(loopback) for _ in range(200))


def test_a_flood_of_connections_is_turned_away_before_it_costs_a_handshake() -> None:
    index = IndexScript(limits=Limits(connections_per_address=1))
    gate = index.doorway.admits
    address = IPv4Address("TCP", "192.0.2.1", 40_000)
    staying = index.online("ann", host="192.0.2.1")
    for _ in range(MAX_TOLD):
        assert gate(address)
        # They do not even finish their handshakes.
        transport = SecureTransport(identity("flood"), wire.ALPN, address)
        transport.link = index.doorway.buildProtocol(address)
        transport.link.makeConnection(transport)
    assert not gate(address)
    assert gate(IPv4Address("TCP", "192.0.2.2", 40_000))
    assert [event["limit"] for event in index.events("limit.hit")] == ["index.connections_per_address"]
    index.clock.advance(HANDSHAKE_S)
    assert gate(address)
    assert not staying.is_gone()
