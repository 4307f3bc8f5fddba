"""The control socket: JSON-RPC 2.0 over a UNIX socket, its owner's alone. `napd.wire.control` has the messages.

The shell knows nothing of what the methods do. A handler gets its parameters, already validated, and the `Caller`; what
it returns is the reply, and a `NapError` it raises becomes an error with the same code.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IListeningPort,
    IPushProducer,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from ..background import Background
from ..errors import CannotStart, ConfigurationError, Denied, Misuse, NapError, printable
from ..wire import control as wire
from .events import Events

#: Longest request line: ten thousand content ids and more.
MAX_REQUEST_BYTES = 1 << 20
#: Connections at once; scripts open one each.
MAX_CALLERS = 128
#: Notifications waiting for a caller that does not read, in bytes, at which it is dropped.
MAX_UNREAD_BYTES = 16 << 20
#: The same for replies, each of which may be a whole document.
MAX_UNREAD_REPLY_BYTES = wire.MAX_LINE_BYTES
#: Seconds that connections get to take their last replies when the server stops.
LAST_WORDS_S = 0.5
#: Seconds between two looks at whether a caller that has closed its writing side is still there.
LOOK_S = 1.0

#: Root, who can do everything to the daemon anyway.
ALWAYS_ALLOWED = frozenset({0})

_STOPPING = NapError("the daemon is stopping", code="stopping")

Handler = Callable[[Any, "Caller"], Awaitable[Any]]


class Caller:
    """Who made a request: one connection, for as long as a handler works for it."""

    def __init__(self, connection: ControlProtocol) -> None:
        self._connection = connection

    def push(self, method: str, document: Any) -> None:
        """Send a notification, before the reply. A caller that lets `MAX_UNREAD_BYTES` pile up is dropped."""
        self._connection.send(wire.notification_line(method, document), capped=True)

    def when_gone(self) -> Deferred[None]:
        """Fires when the connection is lost; at once if it is. A new Deferred for each call; it may be cancelled."""
        return self._connection.when_gone()

    def when_read(self) -> Deferred[None]:
        """Fires when what was sent is on its way (or the caller gone): wait for it between many pushes."""
        return self._connection.when_read()

    @property
    def gone(self) -> bool:
        return self._connection.gone


@implementer(IPushProducer, IHalfCloseableProtocol)
class ControlProtocol(LineOnlyReceiver):
    """One connection. Requests are answered as they finish, which need not be the order they came in.

    A caller that has said all it wants may close its writing side (``echo … | socat - UNIX-CONNECT:…`` does) and still
    gets its replies.
    """

    delimiter = b"\n"
    MAX_LENGTH = MAX_REQUEST_BYTES

    def __init__(self, server: ControlServer) -> None:
        self._server = server
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._full = False
        self._answering = 0
        self._waiting_gone: list[Deferred[None]] = []
        self._waiting_read: list[Deferred[None]] = []
        self._let_in = False
        self._heard_all = False
        self._look_again: IDelayedCall | None = None
        self.gone = False

    # --- For callers -----------------------------------------------------------------------------

    def send(self, line: bytes, *, capped: bool = False) -> None:
        if self.gone:
            return
        if not self._full:
            self._wire().write(line)
            return
        self._unsent.append(line)
        self._unsent_bytes += len(line)
        if self._unsent_bytes > (MAX_UNREAD_BYTES if capped else MAX_UNREAD_REPLY_BYTES):
            self._server.events.emit("limit.hit", "A control client did not read its answers.", limit="control.unread")
            self._wire().abortConnection()

    def when_gone(self) -> Deferred[None]:
        return _wait_in(self._waiting_gone, fired=self.gone)

    def when_read(self) -> Deferred[None]:
        return _wait_in(self._waiting_read, fired=self.gone or not self._full)

    def hang_up(self) -> None:
        """End the connection once everything is sent."""
        if not self.gone:
            for line in self._unsent:
                self._wire().write(line)
            self._unsent.clear()
            self._wire().loseConnection()

    def abort(self) -> None:
        if not self.gone:
            self._wire().abortConnection()

    # --- For Twisted -----------------------------------------------------------------------------

    def connectionMade(self) -> None:
        refusal = self._server.admit(self)
        if refusal is not None:
            self._wire().write(wire.error_line(None, refusal))
            self._wire().loseConnection()
            return
        self._let_in = True
        self._wire().registerProducer(self, True)

    def readConnectionLost(self) -> None:
        """The caller says no more. One that has closed altogether looks the same here, and is asked about."""
        self._heard_all = True
        self._hang_up_when_answered()

    def writeConnectionLost(self) -> None:
        """We never close our writing side alone."""

    def _hang_up_when_answered(self) -> None:
        if not self._heard_all or self.gone:
            return
        if not self._answering:
            self.hang_up()
        elif _is_hung_up(self._wire().fileno()):
            self.abort()
        elif self._look_again is None or not self._look_again.active():
            self._look_again = self._server.clock.callLater(LOOK_S, self._hang_up_when_answered)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._look_again is not None and self._look_again.active():
            self._look_again.cancel()
        self.gone = True
        self._unsent.clear()
        self._server.forget(self)
        _fire(self._waiting_gone)
        _fire(self._waiting_read)

    def lineLengthExceeded(self, line: bytes) -> None:
        self.send(wire.error_line(None, Misuse(f"a request over {MAX_REQUEST_BYTES} bytes"), wire.INVALID_REQUEST))
        self.hang_up()

    def lineReceived(self, line: bytes) -> None:
        if not self._let_in or self.gone or not line.strip():
            return
        try:
            request, handler, params = self._server.understand(line)
        except _NotUnderstood as error:
            if error.answered:
                self.send(wire.error_line(error.request, error.why, error.number))
            return
        if self._answering >= wire.MAX_CONTROL_REQUESTS:
            self._reply_error(request, NapError(f"over {wire.MAX_CONTROL_REQUESTS} requests under way", code="busy"))
            return
        self._answering += 1
        self._server.background.start(f"control {request.method}", self._answer(request, handler, params))

    def pauseProducing(self) -> None:
        """The caller does not read: keep what comes next, and take no further requests from it."""
        self._full = True
        self._wire().pauseProducing()

    def resumeProducing(self) -> None:
        self._full = False
        while self._unsent and not self._full and not self.gone:
            line = self._unsent.popleft()
            self._unsent_bytes -= len(line)
            self._wire().write(line)
        if not self._full and not self.gone:
            self._wire().resumeProducing()
            _fire(self._waiting_read)

    def stopProducing(self) -> None:
        """The connection is ending; `connectionLost` follows."""

    async def _answer(self, request: wire.Request, handler: Handler, params: Struct) -> None:
        try:
            document = await handler(params, Caller(self))
        except NapError as error:
            self._reply_error(request, error)
        except CancelledError:
            self._reply_error(request, _STOPPING)
        except Exception:
            self._server.events.fault(f"control {request.method}", Failure())
            bug = NapError("a fault inside the daemon", "Its log has the details (event daemon.fault)", "bug")
            self._reply_error(request, bug, wire.INTERNAL_ERROR)
        else:
            if request.id is not None:
                self.send(wire.result_line(request.id, document))
        finally:
            self._answering -= 1
            self._hang_up_when_answered()

    def _reply_error(self, request: wire.Request, error: NapError, number: int = wire.SERVER_ERROR) -> None:
        if request.id is not None:
            self.send(wire.error_line(request.id, error, number))

    def _wire(self) -> Any:
        return self.transport


class ControlServer(Factory):
    """Serves methods on a UNIX socket.

    :param path: of the socket; the caller holds the lock of the state directory.
    :param params: what each method takes. A method that is in here without a handler is unknown.
    :param allowed_users: uids that may connect, besides root.
    """

    noisy = False

    def __init__(
        self,
        reactor: Any,
        path: Path,
        methods: Mapping[str, Handler],
        params: Mapping[str, type[Struct]],
        events: Events,
        background: Background,
        allowed_users: frozenset[int] | None = None,
    ) -> None:
        self.events = events
        self.background = background
        self._reactor = self.clock = reactor
        self._path = path
        self._methods = methods
        self._decoders = {name: msgspec.json.Decoder(kind) for name, kind in params.items()}
        self._allowed = frozenset({os.getuid()}) if allowed_users is None else allowed_users
        self._connections: set[ControlProtocol] = set()
        self._port: IListeningPort | None = None
        self._closing = False
        self._emptied: list[Deferred[None]] = []

    def listen(self) -> None:
        """:raises CannotStart: another daemon answers there. ConfigurationError: no socket can be made there."""
        _clear_way(self._path)
        try:
            self._port = self._reactor.listenUNIX(os.fspath(self._path), self, mode=0o600)
        except CannotListenError as error:
            reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
            raise ConfigurationError(
                f"control socket {self._path} cannot be made: {reason}", "Choose another --socket"
            ) from error

    async def close(self) -> None:
        """Take no more connections and requests, and remove the socket; requests under way go on."""
        self._closing = True
        port, self._port = self._port, None
        if port is not None:
            stopped = port.stopListening()
            if isinstance(stopped, Deferred):
                # Somebody else may have removed the socket already.
                stopped.addErrback(lambda failure: failure.trap(OSError))
                await stopped

    async def finish(self) -> None:
        """End all connections, once what is still to be sent is sent, or after `LAST_WORDS_S`."""
        for connection in list(self._connections):
            connection.hang_up()
        if self._connections:
            late = self._reactor.callLater(LAST_WORDS_S, self._abort_all)
            await _wait_in(self._emptied, fired=False)
            if late.active():
                late.cancel()

    async def stop(self) -> None:
        await self.close()
        await self.finish()

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return ControlProtocol(self)

    # --- For connections -------------------------------------------------------------------------

    def admit(self, connection: ControlProtocol) -> NapError | None:
        """Why not, if not."""
        user = _user_of(connection.transport)
        if user is not None and user not in self._allowed | ALWAYS_ALLOWED:
            return Denied(f"user {user} may not control this daemon")
        if len(self._connections) >= MAX_CALLERS:
            self.events.emit("limit.hit", "Too many control connections.", limit="control.connections")
            return NapError(f"over {MAX_CALLERS} control connections", "Close some", "busy")
        self._connections.add(connection)
        return None

    def forget(self, connection: ControlProtocol) -> None:
        self._connections.discard(connection)
        if not self._connections:
            _fire(self._emptied)

    def understand(self, line: bytes) -> tuple[wire.Request, Handler, Struct]:
        """:raises _NotUnderstood: with what to answer."""
        request = _request(line)
        if self._closing:
            raise _NotUnderstood(_STOPPING, wire.SERVER_ERROR, request)
        handler = self._methods.get(request.method)
        decoder = self._decoders.get(request.method)
        if handler is None or decoder is None:
            error = Misuse(
                f"unknown method {printable(request.method, 60)!r}", f"Allowed: {', '.join(sorted(self._methods))}"
            )
            raise _NotUnderstood(error, wire.METHOD_NOT_FOUND, request)
        params = bytes(request.params)
        try:
            return request, handler, decoder.decode(b"{}" if params in (b"null", b"") else params)
        except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as error:
            why = Misuse(f"{request.method}: {printable(str(error))}")
            raise _NotUnderstood(why, wire.INVALID_PARAMS, request) from error

    def _abort_all(self) -> None:
        for connection in list(self._connections):
            connection.abort()


class _NotUnderstood(Exception):
    def __init__(self, why: NapError, number: int, request: wire.Request | None = None) -> None:
        super().__init__(why.message)
        self.why = why
        self.number = number
        self.request = None if request is None else request.id
        # What could not be read at all is answered with id null; a notification is not answered.
        self.answered = request is None or request.id is not None


_decode_request = msgspec.json.Decoder(wire.Request).decode


def _request(line: bytes) -> wire.Request:
    try:
        return _decode_request(line)
    except msgspec.ValidationError as error:
        why = Misuse(f"not a request: {printable(str(error))}", "The form is in docs/reference/control-protocol.md")
        raise _NotUnderstood(why, wire.INVALID_REQUEST) from error
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError) as error:
        raise _NotUnderstood(Misuse(f"not JSON: {printable(str(error))}"), wire.PARSE_ERROR) from error


def _clear_way(path: Path) -> None:
    """Remove a socket that a daemon left behind when it was killed; never anything else, never one in use."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigurationError(f"control socket {path} cannot be used: {error.strerror}") from error
    if not stat.S_ISSOCK(mode):
        raise ConfigurationError(
            f"{path} is in the way of the control socket and is not a socket", "Choose another --socket"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise CannotStart(
                f"control socket {path} is in use: {error.strerror}", "Choose another --socket"
            ) from error
        else:
            raise CannotStart(f"another daemon answers at the control socket {path}", "Choose another --socket")


def _user_of(transport: Any) -> int | None:
    """The uid at the other end; None where the system does not tell it (the socket's mode guards then)."""
    handle = getattr(transport, "getHandle", None)
    if handle is None or not hasattr(socket, "SO_PEERCRED"):
        return None
    credentials = handle().getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", credentials)
    return int(user)


def _wait_in(waiting: list[Deferred[None]], *, fired: bool) -> Deferred[None]:
    """A Deferred that `_fire` fires; cancelling it takes it out."""
    waiter: Deferred[None] = Deferred(lambda cancelled: waiting.remove(cancelled) if cancelled in waiting else None)
    if fired:
        waiter.callback(None)
    else:
        waiting.append(waiter)
    return waiter


def _fire(waiting: list[Deferred[None]]) -> None:
    fired = list(waiting)
    waiting.clear()
    for waiter in fired:
        waiter.callback(None)


#: The type of `Background.start`'s work, for those who write handlers.
Answer = Coroutine[Deferred[Any], Any, Any]


def _is_hung_up(descriptor: int) -> bool:
    """Whether the other end is closed in both directions."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))
