"""The framing of all three protocols: any bytes become a message or one kind of error, and no line is too long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from napd.errors import LocalProtocolError, RemoteProtocolError
from napd.wire import index, peer
from napd.wire.line import MAX_LINE_BYTES, encode, understand

Decode = Callable[[bytes], Any]

DECODERS: dict[str, Decode] = {
    "peer.from_fetcher": peer.decode_from_fetcher,
    "peer.from_server": peer.decode_from_server,
    "index.from_peer": index.decode_from_peer,
    "index.from_index": index.decode_from_index,
}

decoders = st.sampled_from(sorted(DECODERS))
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
keys = st.sampled_from(
    ["t", "id", "content", "first", "count", "versions", "role", "agent", "bytes", "chunk", "ticket", "n", "results"]
)
types = st.sampled_from(
    ["hello", "get", "chunk", "ping", "ticket", "announce", "results", "welcome", "bye", "nonsense"]
)
near_messages = st.builds(
    lambda head, rest: {**rest, **head}, st.fixed_dictionaries({"t": types}), st.dictionaries(keys, json_values)
)


def dump(value: object) -> bytes:
    return msgspec.json.encode(value)


@settings(deadline=None, max_examples=200)
@given(decoders, st.one_of(st.binary(max_size=200), json_values.map(dump), near_messages.map(dump)))
@example("peer.from_server", b"")
@example("peer.from_server", b"null")
@example("peer.from_server", b'{"t":"ping"}\r')
@example("peer.from_fetcher", b'{"t":"get","id":1,"content":"' + b"0" * 64 + b'\\n","first":0}')
@example("index.from_index", b'{"t":"ping","time":1e400}')
@example("index.from_index", b'{"t":"ping","time":-1}')
@example("index.from_peer", b'\xff\xfe{"t":"ping"}')
@example("index.from_peer", b'{"t":"ping","t":"pong"}')
@example("index.from_peer", b'{"t":"bye","code":"\\ud800","message":""}')
@example("index.from_peer", b'{"t":"ping","id":' + b"9" * 5000 + b"}")
def test_any_bytes_are_a_message_or_a_protocol_error(which: str, line: bytes) -> None:
    try:
        message = DECODERS[which](line)
    except RemoteProtocolError as error:
        assert error.code in ("malformed", "unknown_type", "out_of_bounds")
        assert error.fatal == (error.code == "malformed")
        assert error.message.isprintable()
        assert len(error.message) < 1000
        assert error.about is None or 0 <= error.about < 2**53
        return
    assert encode(message).endswith(b"\n")


@pytest.mark.parametrize("which", DECODERS)
@pytest.mark.parametrize(
    "line",
    [
        b"[" * 60_000,
        b"[" * 30_000 + b"]" * 30_000,
        b'{"t":"ping","x":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        b'{"x":' * 10_000 + b"1" + b"}" * 10_000,
    ],
)
def test_nesting_is_never_deep_enough_to_hurt(which: str, line: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as told:
        DECODERS[which](line)
    assert told.value.fatal


def test_an_unknown_type_is_answered_and_the_request_is_named() -> None:
    with pytest.raises(RemoteProtocolError) as told:
        peer.decode_from_fetcher(b'{"t":"dance","id":7}')
    assert (told.value.code, told.value.fatal, told.value.about) == ("unknown_type", False, 7)


def test_a_value_out_of_bounds_is_answered_and_the_request_is_named() -> None:
    with pytest.raises(RemoteProtocolError) as told:
        peer.decode_from_fetcher(b'{"t":"get","id":7,"content":"' + b"0" * 64 + b'","first":-1}')
    assert (told.value.code, told.value.fatal, told.value.about) == ("out_of_bounds", False, 7)


@pytest.mark.parametrize("request_id", [b"-1", b'"7"', b"1.5", b"true", b"9007199254740992", b"{}"])
def test_a_request_id_that_is_none_is_not_repeated(request_id: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as told:
        peer.decode_from_fetcher(b'{"t":"get","id":' + request_id + b"}")
    assert told.value.about is None


def test_text_from_outside_is_escaped_in_the_error() -> None:
    with pytest.raises(RemoteProtocolError) as told:
        peer.decode_from_fetcher(dump({"t": "\x1b[31m\n" + "x" * 500}))
    assert told.value.message.isprintable()
    assert len(told.value.message) < 100


def test_a_message_of_the_wrong_direction_is_of_an_unknown_type() -> None:
    chunk = encode(peer.Chunk(1, 0, 5))
    assert peer.decode_from_server(chunk) == peer.Chunk(1, 0, 5)
    with pytest.raises(RemoteProtocolError) as told:
        peer.decode_from_fetcher(chunk)
    assert told.value.code == "unknown_type"


def test_unknown_fields_are_ignored() -> None:
    assert peer.decode_from_server(b'{"t":"ping","n":3,"later":{"a":[1]}}') == peer.Ping(3)


def test_a_message_that_fits_a_line_exactly_is_encoded_and_one_byte_more_is_our_bug() -> None:
    empty = len(encode(peer.Bye("x", ""))) - 1
    fits = peer.Bye("x", "y" * (MAX_LINE_BYTES - empty))
    assert len(encode(fits)) == MAX_LINE_BYTES + 1
    with pytest.raises(LocalProtocolError, match="Bye is 65537 bytes"):
        encode(peer.Bye("x", "y" * (MAX_LINE_BYTES - empty + 1)))


def test_text_that_is_no_unicode_is_our_bug() -> None:
    with pytest.raises(LocalProtocolError, match="cannot be encoded"):
        encode(peer.Bye("x", "\ud800"))


@given(st.text(max_size=50))
def test_a_line_holds_no_line_end(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode()
    line = encode(peer.Bye("x", text))
    assert line.count(b"\n") == 1
    assert peer.decode_from_server(line[:-1]) == peer.Bye("x", text)


# --- Understanding -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code"), [(b'{"t":"news","id":7}', "unknown_type"), (b'{"t":"pong","id":7,"n":-1}', "out_of_bounds")]
)
def test_what_is_not_understood_is_answered_and_the_connection_stays(line: bytes, code: str) -> None:
    answered: list[tuple[str, str, int | None]] = []
    heard = understand(line, peer.decode_from_server, lambda *why: answered.append(why), greeted=True)
    assert heard is None
    assert [(said, about) for said, _, about in answered] == [(code, 7)]


def test_what_is_no_message_at_all_ends_the_connection() -> None:
    with pytest.raises(RemoteProtocolError, match="not a message"):
        understand(b"{", peer.decode_from_server, lambda *_: pytest.fail("answered"), greeted=True)


def test_before_hello_nothing_else_is_heard_but_goodbye() -> None:
    for message in (peer.Hello((1,), "test", "serve"), peer.Bye("busy", "later")):
        line = encode(message)[:-1]
        heard = understand(line, peer.decode_from_server, lambda *_: pytest.fail("answered"), greeted=False)
        assert heard == message
    with pytest.raises(RemoteProtocolError, match="spoke before hello") as caught:
        understand(encode(peer.Pong())[:-1], peer.decode_from_server, lambda *_: None, greeted=False)
    assert caught.value.code == "order"
