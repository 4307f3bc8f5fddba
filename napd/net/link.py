"""One TLS link: up only when the handshake is over, ALPN chose our protocol, and the key is the expected one."""

from __future__ import annotations

from typing import Any, Protocol

from msgspec import Struct
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import NapError, RemoteProtocolError, TimedOut, Unreachable, WrongIdentity
from ..model import PeerId
from ..wire.line import MAX_LINE_BYTES, encode
from .identity import PublicKey
from .splitter import Splitter, TooLong

#: Seconds from the TCP connection to the end of the TLS handshake.
HANDSHAKE_S = 10.0
#: Seconds that the other end has to take the last words and to let go; one that does not is cut off.
GOODBYE_S = 10.0

#: Bytes of lines that wait to be read by the other end; bulk never waits here, it is paced by `drained`.
MAX_UNREAD_BYTES = 1 << 20


class LinkUser(Protocol):
    """What a link tells its user, in this order: secured once, then lines, then lost once.

    A link that never becomes secure is only lost.
    """

    def link_secured(self, key: PublicKey) -> None: ...

    def line_heard(self, line: bytes) -> None:
        """One line. `RemoteProtocolError` with `fatal` raised from here aborts the link."""

    def raw_heard(self, data: bytes | memoryview) -> None:
        """Some of the raw bytes announced by `expect_raw`; never more than were announced."""

    def link_lost(self, reason: NapError) -> None: ...


@implementer(IPushProducer)
class _Outflow:
    """Whether the transport takes more; who waits for that. Says nothing about reading, which goes on."""

    def __init__(self) -> None:
        self._paused = False
        self._waiting: list[Deferred[None]] = []
        #: Bytes of lines said while the transport wanted no more.
        self.unread = 0

    def said(self, size: int) -> int:
        """Count a line; returns how much is unread."""
        if self._paused:
            self.unread += size
        return self.unread

    def drained(self) -> Deferred[None]:
        if not self._paused:
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self.unread = 0
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

    def stopProducing(self) -> None:
        self.resumeProducing()


@implementer(IHandshakeListener)
class SecureLink(TwistedProtocol):
    """The protocol on top of TLS, for both ends of both network protocols.

    :param alpn: what must have been negotiated.
    :param expected: the only acceptable id of the other end; None accepts any (and the user judges).
    """

    #: A `Stream`; Twisted's annotation names less than that offers.
    transport: Any

    def __init__(self, clock: IReactorTime, user: LinkUser, alpn: bytes, expected: PeerId | None = None) -> None:
        self._clock = clock
        self._user = user
        self._alpn = alpn
        self._expected = expected
        self._deadline: IDelayedCall | None = None
        self._why: NapError | None = None
        self._splitter = Splitter(self._line_came, user.raw_heard)
        self._outflow: _Outflow | None = None
        self._takes_views = False
        self.secured = False

    # --- For the user ----------------------------------------------------------------------------

    def say(self, message: Struct) -> None:
        """Send one message as a line. Once `drained` was called, who lets `MAX_UNREAD_BYTES` pile up is cut off."""
        if self._why is None:
            line = encode(message)
            if self._outflow is not None and self._outflow.said(len(line)) > MAX_UNREAD_BYTES:
                self.abort(TimedOut("the other end does not read what it is answered", code="unread"))
                return
            self.transport.write(line)

    def send_raw(self, data: bytes | memoryview) -> None:
        """Send bytes that a line has announced; a buffer behind `data` may be used again afterwards.

        Wait for `drained` now and then: nothing else bounds what is kept here.
        """
        if self._why is None:
            self.transport.write(data if self._takes_views else bytes(data))

    def drained(self) -> Deferred[None]:
        """Fires when the transport takes more; also when the link is gone."""
        if self._why is not None:
            return succeed(None)
        if self._outflow is None:
            self._outflow = _Outflow()
            self.transport.registerProducer(self._outflow, True)
        return self._outflow.drained()

    @property
    def unsent_bytes(self) -> int:
        """How much the other end has not taken yet: whether it takes anything shows when this falls. 0 if unknown."""
        return int(getattr(self.transport, "unsent_bytes", 0))

    def pause_reading(self) -> None:
        self.transport.pauseProducing()

    def resume_reading(self) -> None:
        if self._why is None:
            self.transport.resumeProducing()

    @property
    def remote_host(self) -> str:
        """The other end's IP address."""
        return str(self.transport.getPeer().host)

    def expect_raw(self, size: int, into: memoryview | None = None) -> None:
        """The next `size` bytes are raw and go to `raw_heard`; call it from `line_heard`.

        :param into: where they are put, from its beginning; `raw_heard` is then given views of it.
        """
        self._splitter.expect_raw(size, into)

    def hang_up(self, last: Struct | None = None) -> None:
        """End the link in good order, with a last word if there is one; before it is secured, without one."""
        if self._why is None:
            if last is not None and self.secured:
                self.transport.write(encode(last))
            self._end(Unreachable("the link was closed by this end", code="closed"))
            if self.transport is None:
                # Not connected yet: `connectionMade` will see.
                return
            if self._outflow is not None:
                self.transport.unregisterProducer()
            self._stop_deadline()
            self._deadline = self._clock.callLater(GOODBYE_S, self.transport.abortConnection)
            self.transport.loseConnection()

    def abort(self, why: NapError) -> None:
        """End the link now; what is not yet sent never will be."""
        if self._why is None:
            self._end(why)
        self.transport.abortConnection()

    # --- For the stream ----------------------------------------------------------------------------

    def connectionMade(self) -> None:
        self._takes_views = bool(getattr(self.transport, "takes_views", False))
        if self._why is not None:
            self.transport.abortConnection()
            return
        self._deadline = self._clock.callLater(
            HANDSHAKE_S, self.abort, Unreachable(f"no TLS handshake within {HANDSHAKE_S:.0f} s")
        )

    def handshakeCompleted(self) -> None:
        if self._why is not None:
            return
        self._stop_deadline()
        try:
            key = self._other_end()
        except WrongIdentity as error:
            self.abort(error)
            return
        self.secured = True
        self._user.link_secured(key)

    def _other_end(self) -> PublicKey:
        negotiated = self.transport.negotiatedProtocol
        if negotiated != self._alpn:
            raise WrongIdentity(f"the other end does not speak {self._alpn.decode()}", code="wrong_protocol")
        certificate = self.transport.getPeerCertificate()
        if certificate is None:
            raise WrongIdentity("the other end showed no certificate")
        key = PublicKey.of_certificate(certificate.to_cryptography())
        if self._expected is not None and key.id != self._expected:
            raise WrongIdentity(f"the other end is {key.id}, not {self._expected}")
        return key

    def dataReceived(self, data: bytes) -> None:
        if self._why is not None or not self.secured:
            return
        try:
            self._splitter.feed(data)
        except TooLong:
            self.abort(RemoteProtocolError(f"a line over {MAX_LINE_BYTES} bytes"))

    def space(self) -> memoryview | None:
        return self._splitter.space()

    def filled(self, size: int) -> None:
        self._splitter.filled(size)

    def _line_came(self, line: bytes) -> None:
        try:
            self._user.line_heard(line)
        except RemoteProtocolError as error:
            self.abort(error)

    def connectionLost(self, reason: Failure = Failure(Exception("never connected"))) -> None:  # noqa: B008
        self._stop_deadline()
        why = self._why or Unreachable(f"the link was lost: {_how(reason)}")
        self._end(why)
        if self._outflow is not None:
            self._outflow.stopProducing()
        self._user.link_lost(why)

    def _end(self, why: NapError) -> None:
        """From here on nothing is said and nothing heard."""
        self._why = why
        self._splitter.stop()

    def _stop_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None


def _how(lost: Failure) -> str:
    """In a few words: the framework's are longer than the reason."""
    error = lost.value
    if isinstance(error, ConnectionDone):
        return "the other end closed it"
    if isinstance(error, ConnectionLost) and error.args:
        return str(error.args[0])
    return lost.getErrorMessage()
