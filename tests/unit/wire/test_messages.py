"""Every message of the network protocols: what is said is what is heard, and what is out of bounds is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct, inspect

from napd.errors import RemoteProtocolError
from napd.wire import index, peer
from napd.wire.line import MAX_LINE_BYTES, encode

Decode = Callable[[bytes], Any]

DIRECTIONS: list[tuple[Any, Decode]] = [
    (peer.FromFetcher, peer.decode_from_fetcher),
    (peer.FromServer, peer.decode_from_server),
    (index.FromPeer, index.decode_from_peer),
    (index.FromIndex, index.decode_from_index),
]
#: By pattern: texts that fit it, the shortest and the longest among them.
FITTING = {
    r"\A[0-9a-f]{64}\Z": ["0" * 64, "f" * 64, "0123456789abcdef" * 4],
    r"\A[a-z2-7]{52}\Z": ["a" * 52, "7" * 52, "abcdefghijklmnopqrstuvwxyz" * 2],
    r"\A[a-z0-9][a-z0-9._-]{0,31}\Z": ["0", "a.b_c-d", "z" * 32],
    r"\A[^/\x00]+\Z": ["x", "\n", "..", "🎵" * 255],
    r"\A[^\x00]+\Z": ["x", "/", "a/b/c", "é" * 2048],
}


def values(of: inspect.Type) -> st.SearchStrategy[Any]:
    """Anything that this type of field may hold, its bounds included."""
    if isinstance(of, inspect.Metadata):
        return values(of.type)
    if isinstance(of, inspect.IntType):
        return st.integers(of.ge, of.le)
    if isinstance(of, inspect.FloatType):
        return st.floats(of.ge or 0.0, of.le, allow_nan=False)
    if isinstance(of, inspect.StrType):
        if of.pattern is not None:
            return st.sampled_from(FITTING[of.pattern])
        return st.text(min_size=of.min_length or 0, max_size=min(of.max_length or 30, 30))
    if isinstance(of, inspect.BytesType):
        return st.binary(max_size=of.max_length or 30)
    if isinstance(of, inspect.BoolType):
        return st.booleans()
    if isinstance(of, inspect.NoneType):
        return st.none()
    if isinstance(of, inspect.LiteralType):
        return st.sampled_from(of.values)
    if isinstance(of, inspect.UnionType):
        return st.one_of([values(one) for one in of.types])
    if isinstance(of, inspect.VarTupleType):
        return st.lists(values(of.item_type), min_size=of.min_length or 0, max_size=3).map(tuple)
    if isinstance(of, inspect.DictType):
        return st.dictionaries(values(of.key_type), values(of.value_type), max_size=2)
    if isinstance(of, inspect.StructType):
        return messages(of.cls)
    raise AssertionError(f"no values for {of}")


def messages(kind: type[Struct]) -> st.SearchStrategy[Any]:
    return st.builds(kind, **{f.name: values(f.type) for f in inspect.type_info(kind).fields})  # type: ignore[attr-defined]


EVERY = [(kind, decode) for union, decode in DIRECTIONS for kind in get_args(union)]


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(EVERY), st.data())
def test_what_is_said_is_what_is_heard(direction: tuple[type[Struct], Decode], data: st.DataObject) -> None:
    kind, decode = direction
    message = data.draw(messages(kind))
    line = encode(message)
    assert line.endswith(b"\n")
    assert b"\n" not in line[:-1]
    assert decode(line[:-1]) == message


def fields() -> Iterator[tuple[type[Struct], str, Any]]:
    for union, _ in DIRECTIONS:
        for kind in get_args(union):
            for field in inspect.type_info(kind).fields:  # type: ignore[attr-defined]
                of = field.type.type if isinstance(field.type, inspect.Metadata) else field.type
                yield kind, field.encode_name, of


FIELDS = [pytest.param(k, n, of, id=f"{k.__module__}.{k.__name__}.{n}") for k, n, of in fields()]


@pytest.mark.parametrize(("kind", "name", "of"), FIELDS)
def test_every_field_has_bounds(kind: type[Struct], name: str, of: Any) -> None:
    """A number has a least and a greatest value; a text or list has a greatest length."""
    kinds = of.types if isinstance(of, inspect.UnionType) else (of,)
    for one in kinds:
        if isinstance(one, (inspect.IntType, inspect.FloatType)):
            assert one.ge is not None
            assert one.le is not None
        elif isinstance(one, (inspect.StrType, inspect.VarTupleType)):
            # What has none is bounded by the line alone, and only where the index speaks.
            assert one.max_length is not None or kind in (index.Results, index.UserList, index.Reachable)


def test_an_optional_field_may_be_absent() -> None:
    content = "0" * 64
    line = b'{"t":"get","id":1,"content":"' + content.encode() + b'","first":3}'
    assert peer.decode_from_fetcher(line) == peer.Get(1, content, 3, 1, "")


GET = {"t": "get", "id": 1, "content": "0" * 64, "first": 0, "count": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"count": 0},
        {"count": peer.MAX_RUN + 1},
        {"first": 1 << 26},
        {"first": -1},
        {"id": 2**53},
        {"content": "0" * 63},
        {"content": "0" * 65},
        {"content": "0" * 63 + "F"},
        {"content": "0" * 63 + "\n"},
        {"transfer": "x" * 257},
        {"count": "1"},
        {"first": 1.0},
        {"id": None},
    ],
)
def test_a_get_out_of_bounds_is_refused(change: dict[str, Any]) -> None:
    peer.decode_from_fetcher(msgspec.json.encode(GET))
    with pytest.raises(RemoteProtocolError) as told:
        peer.decode_from_fetcher(msgspec.json.encode({**GET, **change}))
    assert told.value.code == "out_of_bounds"


@pytest.mark.parametrize(
    "hello",
    [
        {"versions": [], "agent": "x", "role": "fetch"},
        {"versions": [0], "agent": "x", "role": "fetch"},
        {"versions": [1] * 17, "agent": "x", "role": "fetch"},
        {"versions": [1], "agent": "x" * 257, "role": "fetch"},
        {"versions": [1], "agent": "x", "role": "both"},
        {"versions": [1], "agent": "x"},
    ],
)
def test_a_hello_out_of_bounds_is_refused(hello: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        peer.decode_from_fetcher(msgspec.json.encode({"t": "hello", **hello}))


@pytest.mark.parametrize("user", ["", "Ada", "-ada", "ada ", "ada\n", "a" * 33, "ädа", "@ada", "a/b"])
def test_a_user_name_that_is_none_is_refused(user: str) -> None:
    seen = {"t": "search", "id": 1, "query": "x", "user": user}
    with pytest.raises(RemoteProtocolError):
        index.decode_from_peer(msgspec.json.encode(seen))


def test_the_largest_messages_of_each_list_fit_into_a_line_or_are_split_by_who_sends_them() -> None:
    """Those that are sent whole, at their largest."""
    content = "f" * 64
    source = index.Source("a" * 52, "u" * 32, tuple(["h" * 60 + ":65535"] * 4))
    told = index.Sources(content, tuple([source] * index.MAX_SOURCES_TOLD), 2**53 - 1, "n" * 255)
    seek = index.Seek(tuple([content] * index.MAX_SEEK_BATCH))
    parts = index.Partial(tuple([content] * index.MAX_PARTIALS), tuple([content] * index.MAX_PARTIALS))
    for message in (told, seek, parts, peer.Error("c" * 256, "m" * 4096), peer.Ticket("t" * 4096)):
        assert len(encode(message)) <= MAX_LINE_BYTES + 1
