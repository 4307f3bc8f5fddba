"""One connection to the control socket: requests in, replies and notifications out, to a caller that may not read.

The methods are the server's (`ops.control`); a handler of one gets its `Caller`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from msgspec import Struct
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from ..background import Background
from ..errors import Misuse, NapError
from ..wire import control as wire
from .events import Events
from .unix_socket import is_hung_up

#: Longest request line: ten thousand content ids and more.
MAX_REQUEST_BYTES = 1 << 20
#: Notifications waiting for a caller that does not read, in bytes, at which it is dropped.
MAX_UNREAD_BYTES = 16 << 20
#: The same for replies, each of which may be a whole document.
MAX_UNREAD_REPLY_BYTES = wire.MAX_LINE_BYTES
#: Seconds between two looks at whether a caller that has closed its writing side is still there.
LOOK_S = 1.0

STOPPING = NapError("the daemon is stopping", code="stopping")

Handler = Callable[[Any, "Caller"], Awaitable[Any]]


class NotUnderstood(Exception):
    """A request that no handler gets, and what is answered."""

    def __init__(self, why: NapError, number: int, request: wire.Request | None = None) -> None:
        super().__init__(why.message)
        self.why = why
        self.number = number
        self.request = None if request is None else request.id
        # What could not be read at all is answered with id null; a notification is not answered.
        self.answered = request is None or request.id is not None


class Server(Protocol):
    """Whose connection it is; implemented by `ops.control`."""

    events: Events
    background: Background
    clock: Any

    def admit(self, connection: Connection) -> NapError | None:
        """Why not, if not."""

    def forget(self, connection: Connection) -> None:
        """It is gone."""

    def understand(self, line: bytes) -> tuple[wire.Request, Handler, Struct]:
        """:raises NotUnderstood: with what to answer."""


class Caller:
    """Who made a request: one connection, for as long as a handler works for it."""

    def __init__(self, connection: Connection) -> None:
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
class Connection(LineOnlyReceiver):
    """One connection. Requests are answered as they finish, which need not be the order they came in.

    A caller that has said all it wants may close its writing side (``echo … | socat - UNIX-CONNECT:…`` does) and still
    gets its replies.
    """

    delimiter = b"\n"
    MAX_LENGTH = MAX_REQUEST_BYTES

    def __init__(self, server: Server) -> None:
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
        return wait_in(self._waiting_gone, fired=self.gone)

    def when_read(self) -> Deferred[None]:
        return wait_in(self._waiting_read, fired=self.gone or not self._full)

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
        elif is_hung_up(self._wire().fileno()):
            self.abort()
        elif self._look_again is None or not self._look_again.active():
            self._look_again = self._server.clock.callLater(LOOK_S, self._hang_up_when_answered)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._look_again is not None and self._look_again.active():
            self._look_again.cancel()
        self.gone = True
        self._unsent.clear()
        self._server.forget(self)
        fire(self._waiting_gone)
        fire(self._waiting_read)

    def lineLengthExceeded(self, line: bytes) -> None:
        self.send(wire.error_line(None, Misuse(f"a request over {MAX_REQUEST_BYTES} bytes"), wire.INVALID_REQUEST))
        self.hang_up()

    def lineReceived(self, line: bytes) -> None:
        if not self._let_in or self.gone or not line.strip():
            return
        try:
            request, handler, params = self._server.understand(line)
        except NotUnderstood as error:
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
            fire(self._waiting_read)

    def stopProducing(self) -> None:
        """The connection is ending; `connectionLost` follows."""

    async def _answer(self, request: wire.Request, handler: Handler, params: Struct) -> None:
        try:
            document = await handler(params, Caller(self))
        except NapError as error:
            self._reply_error(request, error)
        except CancelledError:
            self._reply_error(request, STOPPING)
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


def wait_in(waiting: list[Deferred[None]], *, fired: bool) -> Deferred[None]:
    """A Deferred that `fire` fires; cancelling it takes it out."""
    waiter: Deferred[None] = Deferred(lambda cancelled: waiting.remove(cancelled) if cancelled in waiting else None)
    if fired:
        waiter.callback(None)
    else:
        waiting.append(waiter)
    return waiter


def fire(waiting: list[Deferred[None]]) -> None:
    fired = list(waiting)
    waiting.clear()
    for waiter in fired:
        waiter.callback(None)
