"""The control socket's shell: requests, replies, notifications, limits, and who may speak."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from napd.background import Background
from napd.errors import CannotStart, ConfigurationError, NoSuchThing
from napd.ops import control, control_connection
from napd.ops.control import ControlServer
from napd.ops.control_connection import MAX_REQUEST_BYTES, Caller, Connection, Handler
from napd.ops.events import Events
from napd.wire import control as wire
from napd.wire.documents import DoneDocument
from tests.support.waiting import Eventually


class Params(Struct, frozen=True, forbid_unknown_fields=True):
    n: int = 1


class Wire(StringTransport):
    """A transport that can be told that its reader is slow."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True

    def documents(self) -> list[Any]:
        said = [json.loads(line) for line in self.value().split(b"\n")[:-1]]
        self.clear()
        return said


class Methods:
    """Handlers for tests, and what they were asked."""

    def __init__(self) -> None:
        self.waiting: Deferred[str] = Deferred()
        self.callers: list[Caller] = []

    def handlers(self) -> dict[str, Handler]:
        return {"twice": self.twice, "missing": self.missing, "bug": self.bug, "later": self.later, "many": self.many}

    async def twice(self, params: Params, caller: Caller) -> Any:
        return {"twice": params.n * 2}

    async def missing(self, params: Params, caller: Caller) -> Any:
        raise NoSuchThing("there is no download 9", "`napctl queue` lists them")

    async def bug(self, params: Params, caller: Caller) -> Any:
        raise ZeroDivisionError("by zero")

    async def later(self, params: Params, caller: Caller) -> Any:
        self.callers.append(caller)
        return DoneDocument(await self.waiting)

    async def many(self, params: Params, caller: Caller) -> Any:
        for n in range(params.n):
            caller.push("event", {"n": n, "filler": "x" * 1000})
        return DoneDocument("pushed")


@pytest.fixture
def events() -> Events:
    return Events(lambda: 1.0)


@pytest.fixture
def methods() -> Methods:
    return Methods()


def server_of(methods: Methods, events: Events, path: Path = Path("unused"), clock: Any = None) -> ControlServer:
    handlers = methods.handlers()
    params = dict.fromkeys([*handlers, "unhandled"], Params)
    return ControlServer(clock or Clock(), path, handlers, params, events, Background(events.fault))


@pytest.fixture
def connection(methods: Methods, events: Events) -> Iterator[tuple[Connection, Wire]]:
    protocol, transport = connected(server_of(methods, events))
    yield protocol, transport
    protocol.connectionLost(Failure(connectionDone.value))


def connected(server: ControlServer) -> tuple[Connection, Wire]:
    protocol, transport = server.buildProtocol(None), Wire()
    assert isinstance(protocol, Connection)
    protocol.makeConnection(transport)
    return protocol, transport


def ask(to: tuple[Connection, Wire], line: bytes) -> list[Any]:
    to[0].dataReceived(line + b"\n")
    return to[1].documents()


def test_a_request_is_answered_with_its_id(connection: tuple[Connection, Wire]) -> None:
    assert ask(connection, b'{"jsonrpc":"2.0","id":"a","method":"twice","params":{"n":4}}') == [
        {"jsonrpc": "2.0", "id": "a", "result": {"twice": 8}}
    ]
    assert ask(connection, b'{"jsonrpc":"2.0","id":2,"method":"twice"}')[0]["result"] == {"twice": 2}
    assert ask(connection, b'{"jsonrpc":"2.0","id":3,"method":"twice","params":null}')[0]["result"] == {"twice": 2}
    assert ask(connection, b"") == []


def test_a_notification_is_obeyed_and_not_answered(connection: tuple[Connection, Wire]) -> None:
    for method in (b"twice", b"missing", b"bug", b"nonsense"):
        assert ask(connection, b'{"jsonrpc":"2.0","method":"%s"}' % method) == []


def test_an_error_of_ours_keeps_its_code_and_hint(connection: tuple[Connection, Wire]) -> None:
    (said,) = ask(connection, b'{"jsonrpc":"2.0","id":1,"method":"missing"}')
    assert said["error"] == {
        "code": -32000,
        "message": "there is no download 9",
        "data": {"code": "not_found", "hint": "`napctl queue` lists them"},
    }


def test_a_fault_is_logged_and_told_without_its_details(connection: tuple[Connection, Wire], events: Events) -> None:
    (said,) = ask(connection, b'{"jsonrpc":"2.0","id":1,"method":"bug"}')
    assert said["error"]["code"] == wire.INTERNAL_ERROR
    assert "by zero" not in json.dumps(said)
    assert [event.event for event in events.remembered()] == ["daemon.fault"]


@pytest.mark.parametrize(
    ("line", "number", "request_id"),
    [
        (b"nonsense", wire.PARSE_ERROR, None),
        (b"\xff\xfe", wire.PARSE_ERROR, None),
        (b'{"a":' * 100_000, wire.PARSE_ERROR, None),
        (b"[]", wire.INVALID_REQUEST, None),
        (b'{"id":1,"method":5}', wire.INVALID_REQUEST, None),
        (b'{"jsonrpc":"1.0","id":1,"method":"twice"}', wire.INVALID_REQUEST, None),
        (b'{"jsonrpc":"2.0","id":7,"method":"nonsense"}', wire.METHOD_NOT_FOUND, 7),
        (b'{"jsonrpc":"2.0","id":7,"method":"unhandled"}', wire.METHOD_NOT_FOUND, 7),
        (b'{"jsonrpc":"2.0","id":7,"method":"twice","params":{"n":"x"}}', wire.INVALID_PARAMS, 7),
        (b'{"jsonrpc":"2.0","id":7,"method":"twice","params":{"m":1}}', wire.INVALID_PARAMS, 7),
        (b'{"jsonrpc":"2.0","id":7,"method":"twice","params":[1]}', wire.INVALID_PARAMS, 7),
    ],
)
def test_what_is_not_understood_is_answered_and_the_connection_stays(
    connection: tuple[Connection, Wire], line: bytes, number: int, request_id: int | None
) -> None:
    (said,) = ask(connection, line)
    assert (said["error"]["code"], said["id"]) == (number, request_id)
    assert ask(connection, b'{"jsonrpc":"2.0","id":1,"method":"twice"}')[0]["result"] == {"twice": 2}


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_no_input_is_a_fault(pieces: list[bytes]) -> None:
    events = Events(lambda: 1.0)
    protocol, _ = connected(server_of(Methods(), events))
    for piece in pieces:
        protocol.dataReceived(piece)
    protocol.connectionLost(Failure(connectionDone.value))
    assert events.remembered() == []


def test_a_line_that_is_too_long_ends_the_connection(connection: tuple[Connection, Wire]) -> None:
    protocol, transport = connection
    protocol.dataReceived(b"x" * (MAX_REQUEST_BYTES + 1))
    assert transport.documents()[0]["error"]["code"] == wire.INVALID_REQUEST
    assert transport.disconnecting


def test_a_slow_method_does_not_hold_up_the_next(connection: tuple[Connection, Wire], methods: Methods) -> None:
    assert ask(connection, b'{"jsonrpc":"2.0","id":1,"method":"later"}') == []
    assert ask(connection, b'{"jsonrpc":"2.0","id":2,"method":"twice"}')[0]["id"] == 2
    methods.waiting.callback("now")
    assert connection[1].documents()[0]["result"] == {"message": "now", "schema": 1}


def test_only_so_many_requests_may_be_under_way(connection: tuple[Connection, Wire], methods: Methods) -> None:
    for n in range(wire.MAX_CONTROL_REQUESTS):
        assert ask(connection, b'{"jsonrpc":"2.0","id":%d,"method":"later"}' % n) == []
    (said,) = ask(connection, b'{"jsonrpc":"2.0","id":999,"method":"later"}')
    assert said["error"]["data"]["code"] == "busy"
    for caller in methods.callers:
        assert not caller.gone
    methods.waiting.callback("now")


def test_notifications_come_before_the_reply(connection: tuple[Connection, Wire]) -> None:
    said = ask(connection, b'{"jsonrpc":"2.0","id":1,"method":"many","params":{"n":3}}')
    assert [document.get("method", document.get("id")) for document in said] == ["event", "event", "event", 1]
    assert said[1]["params"]["n"] == 1


def test_what_a_slow_reader_is_sent_waits_in_order_and_it_is_not_read_from(
    connection: tuple[Connection, Wire],
) -> None:
    protocol, transport = connection
    protocol.pauseProducing()
    assert transport.producerState == "paused"
    assert ask(connection, b'{"jsonrpc":"2.0","id":1,"method":"many","params":{"n":3}}') == []
    protocol.resumeProducing()
    assert transport.producerState == "producing"
    assert [document.get("id") for document in transport.documents()] == [None, None, None, 1]


def test_one_that_does_not_read_its_events_is_dropped_at_the_cap(
    connection: tuple[Connection, Wire], events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_connection, "MAX_UNREAD_BYTES", 10_000)
    connection[0].pauseProducing()
    ask(connection, b'{"jsonrpc":"2.0","id":1,"method":"many","params":{"n":8}}')
    assert not connection[1].aborted
    ask(connection, b'{"jsonrpc":"2.0","id":1,"method":"many","params":{"n":8}}')
    assert connection[1].aborted
    assert events.remembered()[0].fields == {"limit": "control.unread"}


def test_a_handler_learns_that_its_caller_read_or_left(methods: Methods, events: Events) -> None:
    protocol, transport = connected(server_of(methods, events))
    ask((protocol, transport), b'{"jsonrpc":"2.0","id":1,"method":"later"}')
    (caller,) = methods.callers
    said: list[str] = []
    caller.when_read().addCallback(lambda _: said.append("free at once"))
    protocol.pauseProducing()
    caller.when_read().addCallback(lambda _: said.append("free"))
    caller.when_gone().addCallback(lambda _: said.append("gone"))
    assert said == ["free at once"]
    protocol.resumeProducing()
    assert said == ["free at once", "free"]
    protocol.connectionLost(Failure(connectionDone.value))
    assert said == ["free at once", "free", "gone"]
    caller.when_gone().addCallback(lambda _: said.append("gone already"))
    assert said[-1] == "gone already"
    caller.push("event", {})
    methods.waiting.callback("too late, and no harm done")


def test_only_so_many_may_be_connected(methods: Methods, events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MAX_CALLERS", 2)
    server = server_of(methods, events)
    first, _second = connected(server), connected(server)
    refused = connected(server)
    assert refused[1].documents()[0]["error"]["data"]["code"] == "busy"
    assert refused[1].disconnecting
    assert ask(refused, b'{"jsonrpc":"2.0","id":1,"method":"twice"}') == []
    first[0].connectionLost(Failure(connectionDone.value))
    assert ask(connected(server), b'{"jsonrpc":"2.0","id":1,"method":"twice"}') != []


# --- On a real socket --------------------------------------------------------------------------------


class Client(Protocol):
    def __init__(self) -> None:
        self.heard = b""
        self.gone = False

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone = True

    def documents(self) -> list[Any]:
        return [json.loads(line) for line in self.heard.split(b"\n")[:-1]]


@pytest.fixture
def serving(methods: Methods, events: Events, tmp_path: Path) -> Callable[..., ControlServer]:
    def serve(**more: Any) -> ControlServer:
        handlers = methods.handlers()
        params = dict.fromkeys(handlers, Params)
        background = Background(events.fault)
        server = ControlServer(reactor, tmp_path / "sock", handlers, params, events, background, **more)
        server.listen()
        return server

    return serve


async def joined(path: Path) -> Client:
    client: Client = await connectProtocol(UNIXClientEndpoint(reactor, str(path)), Client())
    return client


async def test_a_real_socket_is_private_and_gone_after_the_stop(
    serving: Callable[..., ControlServer], tmp_path: Path, eventually: Eventually
) -> None:
    server = serving()
    assert stat.S_IMODE((tmp_path / "sock").stat().st_mode) == 0o600
    client = await joined(tmp_path / "sock")
    client.transport.write(b'{"jsonrpc":"2.0","id":1,"method":"many","params":{"n":2000}}\n')  # type: ignore[union-attr]
    await eventually(lambda: b'"id":1' in client.heard)
    assert len(client.documents()) == 2001
    await server.stop()
    assert not (tmp_path / "sock").exists()
    await eventually(lambda: client.gone)


async def test_the_last_reply_arrives_although_the_server_stops(
    serving: Callable[..., ControlServer], methods: Methods, tmp_path: Path, eventually: Eventually
) -> None:
    server = serving()
    client = await joined(tmp_path / "sock")
    client.transport.write(b'{"jsonrpc":"2.0","id":1,"method":"later"}\n')  # type: ignore[union-attr]
    await eventually(lambda: methods.callers)
    await server.close()
    client.transport.write(b'{"jsonrpc":"2.0","id":2,"method":"twice"}\n')  # type: ignore[union-attr]
    await eventually(lambda: client.heard)
    methods.waiting.callback("saved")
    await server.finish()
    await eventually(lambda: client.gone)
    refused, done = client.documents()
    assert refused["error"]["data"]["code"] == "stopping"
    assert done["result"]["message"] == "saved"


async def test_others_than_the_owner_and_root_are_turned_away(
    serving: Callable[..., ControlServer], tmp_path: Path, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serving(allowed_users=frozenset({12345}))
    # Whoever runs the tests may be root, who is always let in.
    monkeypatch.setattr(control, "ALWAYS_ALLOWED", frozenset())
    client = await joined(tmp_path / "sock")
    await eventually(lambda: client.gone)
    (said,) = client.documents()
    assert said["error"]["data"]["code"] == "denied"
    assert str(os.getuid()) in said["error"]["message"]
    await server.stop()


async def test_what_a_killed_daemon_left_is_replaced(serving: Callable[..., ControlServer], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(tmp_path / "sock"))
    server = serving()
    client = await joined(tmp_path / "sock")
    client.transport.loseConnection()  # type: ignore[union-attr]
    await server.stop()


async def test_a_socket_that_somebody_answers_at_is_not(serving: Callable[..., ControlServer]) -> None:
    server = serving()
    with pytest.raises(CannotStart, match="another daemon answers"):
        serving()
    await server.stop()


async def test_what_is_no_socket_is_never_removed(serving: Callable[..., ControlServer], tmp_path: Path) -> None:
    (tmp_path / "sock").write_text("precious")
    with pytest.raises(ConfigurationError, match="is not a socket"):
        serving()
    assert (tmp_path / "sock").read_text() == "precious"


async def test_a_socket_that_somebody_removed_does_not_spoil_the_stop(
    serving: Callable[..., ControlServer], tmp_path: Path
) -> None:
    server = serving()
    (tmp_path / "sock").unlink()
    await server.stop()
