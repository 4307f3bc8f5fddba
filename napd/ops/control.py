"""The control socket: JSON-RPC 2.0 over a UNIX socket, its owner's alone. `napd.wire.control` has the messages.

The shell knows nothing of what the methods do. A handler gets its parameters, already validated, and the `Caller`; what
it returns is the reply, and a `NapError` it raises becomes an error with the same code.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory, Protocol

from ..background import Background
from ..errors import ConfigurationError, Denied, Misuse, NapError, printable
from ..wire import control as wire
from .control_connection import STOPPING, Connection, Handler, NotUnderstood, fire, wait_in
from .events import Events
from .unix_socket import clear_way, user_of

#: Connections at once; scripts open one each.
MAX_CALLERS = 128
#: Seconds that connections get to take their last replies when the server stops.
LAST_WORDS_S = 0.5

#: Root, who can do everything to the daemon anyway.
ALWAYS_ALLOWED = frozenset({0})


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
        self._connections: set[Connection] = set()
        self._port: IListeningPort | None = None
        self._closing = False
        self._emptied: list[Deferred[None]] = []

    def listen(self) -> None:
        """:raises CannotStart: another daemon answers there. ConfigurationError: no socket can be made there."""
        clear_way(self._path)
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
            await wait_in(self._emptied, fired=False)
            if late.active():
                late.cancel()

    async def stop(self) -> None:
        await self.close()
        await self.finish()

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return Connection(self)

    # --- For connections -------------------------------------------------------------------------

    def admit(self, connection: Connection) -> NapError | None:
        """Why not, if not."""
        user = user_of(connection.transport)
        if user is not None and user not in self._allowed | ALWAYS_ALLOWED:
            return Denied(f"user {user} may not control this daemon")
        if len(self._connections) >= MAX_CALLERS:
            self.events.emit("limit.hit", "Too many control connections.", limit="control.connections")
            return NapError(f"over {MAX_CALLERS} control connections", "Close some", "busy")
        self._connections.add(connection)
        return None

    def forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            fire(self._emptied)

    def understand(self, line: bytes) -> tuple[wire.Request, Handler, Struct]:
        """:raises NotUnderstood: with what to answer."""
        request = _request(line)
        if self._closing:
            raise NotUnderstood(STOPPING, wire.SERVER_ERROR, request)
        handler = self._methods.get(request.method)
        decoder = self._decoders.get(request.method)
        if handler is None or decoder is None:
            error = Misuse(
                f"unknown method {printable(request.method, 60)!r}", f"Allowed: {', '.join(sorted(self._methods))}"
            )
            raise NotUnderstood(error, wire.METHOD_NOT_FOUND, request)
        params = bytes(request.params)
        try:
            return request, handler, decoder.decode(b"{}" if params in (b"null", b"") else params)
        except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as error:
            why = Misuse(f"{request.method}: {printable(str(error))}")
            raise NotUnderstood(why, wire.INVALID_PARAMS, request) from error

    def _abort_all(self) -> None:
        for connection in list(self._connections):
            connection.abort()


_decode_request = msgspec.json.Decoder(wire.Request).decode


def _request(line: bytes) -> wire.Request:
    try:
        return _decode_request(line)
    except msgspec.ValidationError as error:
        why = Misuse(f"not a request: {printable(str(error))}", "The form is in docs/reference/control-protocol.md")
        raise NotUnderstood(why, wire.INVALID_REQUEST) from error
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError) as error:
        raise NotUnderstood(Misuse(f"not JSON: {printable(str(error))}"), wire.PARSE_ERROR) from error
