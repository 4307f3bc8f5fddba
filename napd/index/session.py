"""One connection of a peer, up to its login and beyond: framing, order, heartbeat, good and bad ends.

::

    SECURING ─key known→ HELLO ─hello→ LOGIN ─login→ ADMITTING ─welcome→ ONLINE
        any of them ─bye, lost, silent, replaced, broken→ OVER

What a session that is online asks for is its `Member`'s business.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from msgspec import Struct
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from .. import __version__
from ..errors import NapError, RemoteProtocolError, Unreachable, printable
from ..net.identity import PublicKey
from ..net.link import SecureLink
from ..wire import index as wire
from .hearing import Hearing
from .limits import LOGIN_S, Allowance
from .outbox import Outbox
from .services import Services
from .waits import Wait

#: Seconds left of a time at which it counts as up: sums of such numbers fall short by less than moves the clock.
_UP_S = 0.001


class Stage(Enum):
    SECURING = auto()
    HELLO = auto()
    LOGIN = auto()
    ADMITTING = auto()
    ONLINE = auto()
    OVER = auto()


class Member(Protocol):
    """A session's online side."""

    def heard(self, message: Struct) -> None:
        """A request, or anything else that may be said after the welcome. Raises `RemoteProtocolError`."""

    def left(self, reason: str) -> None:
        """The session is over: gone from everybody's results when this returns."""


class Admission(Protocol):
    """Lets peers in."""

    def begin(self, session: Session, login: wire.Login) -> None:
        """Ends in `session.admitted` or `session.end`, unless the session ends before."""


class Session:
    """The user of one link (`napd.net.link.LinkUser`).

    :param host: and `port` are the other end's, as its connection came in.
    :param link: makes the link for its user, not connected yet.
    :param gone: called once, when the link is lost.
    :param refusal: why this connection is one too many: it is told so, and that is all.
    :ivar number: the store's, once the login has one.
    """

    def __init__(
        self,
        services: Services,
        admission: Admission,
        host: str,
        port: int,
        link: Callable[[Session], SecureLink],
        gone: Callable[[Session], None],
        refusal: str | None = None,
    ) -> None:
        self._services = services
        self._admission = admission
        self._stage = Stage.SECURING
        self._key: PublicKey | None = None
        self._member: Member | None = None
        self._deadline: Wait | None = None
        self._beat: Wait | None = None
        self._last_look: IDelayedCall | None = None
        self._heard_at = 0.0
        self._paused = False
        self._errors = Allowance.of(services.clock, services.limits.errors_per_s, services.limits.error_burst)
        self._misbehaved = False
        self._gone = gone
        self._refusal = refusal
        self.link = link(self)
        self._outbox = Outbox(self.link, services.unread, self._not_read)
        self._hearing = Hearing(services.clock, services.turns, self.link, self._take)
        self.host = host
        self.port = port
        self.number: int | None = None

    @property
    def key(self) -> PublicKey:
        """Who the other end has proven to be."""
        if self._key is None:
            raise LookupError("the link is not secured")
        return self._key

    def is_over(self) -> bool:
        return self._stage is Stage.OVER

    # --- For admission and members ---------------------------------------------------------------

    def admitted(self, member: Member, welcome: wire.Welcome) -> None:
        """The login is accepted; from now on requests are the member's."""
        self._stage = Stage.ONLINE
        self._member = member
        self.say(welcome)

    def say(self, message: Struct) -> None:
        self._outbox.say(message)

    def complain(self, code: str, message: str, about: int | None = None) -> None:
        """Answer with an error; the connection stays, unless there have been too many."""
        if self._errors.take():
            self.say(wire.Error(code, message[:4096], about))
        else:
            self.end("limit", "too many errors")

    def end(self, code: str, message: str) -> None:
        """The last word, and the end."""
        if self._over(code):
            self._hang_up(wire.Bye(code, message[:4096]))

    def abort(self, why: NapError) -> None:
        """The end, without a word."""
        self._over(why.code)
        self._outbox.abort(why)

    def pause(self) -> bool:
        """Read no further, until `resume`; silence meanwhile is ours. Whether it was read until now."""
        if self._paused or self.is_over():
            return False
        self._paused = True
        self._hearing.pause()
        return True

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self._heard_at = self._services.clock.seconds()
            self._hearing.resume()

    # --- For the link ----------------------------------------------------------------------------

    def link_secured(self, key: PublicKey) -> None:
        self._key = key
        self._stage = Stage.HELLO
        if self._refusal is not None:
            self._outbox.open()
            self.end("limit", self._refusal)
            return
        services = self._services
        self._deadline = services.logins.begin(self._no_login)
        self._heard_at = services.clock.seconds()
        self._beat = services.heartbeats.begin(self._heartbeat)
        self._outbox.open()
        self.say(wire.Hello((wire.VERSION,), f"napd/{__version__}"))

    def line_heard(self, line: bytes) -> None:
        if not self.is_over():
            self._heard_at = self._services.clock.seconds()
            self._hearing.hear(line)

    def _take(self, line: bytes) -> None:
        self._heard_at = self._services.clock.seconds()
        try:
            self._understand(line)
        except RemoteProtocolError as error:
            self._note_misbehaviour(error)
            if error.fatal:
                self.end(error.code, error.message)
            else:
                self.complain(error.code, error.message, error.about)
        except Exception:
            self._services.events.fault("index session", Failure())
            self.abort(NapError("a fault of the index", code="bug"))

    def raw_heard(self, data: bytes | memoryview) -> None:
        """Never announced in this protocol."""

    def link_lost(self, reason: NapError) -> None:
        if isinstance(reason, RemoteProtocolError) and not self.is_over():
            self._note_misbehaviour(reason)
        self._over("lost" if isinstance(reason, Unreachable) else reason.code)
        self._outbox.lost()
        self._gone(self)

    # --- What is heard ---------------------------------------------------------------------------

    def _understand(self, line: bytes) -> None:
        message = wire.decode_from_peer(line)
        match message:
            case wire.Bye():
                self._over("bye")
                self._hang_up(None)
            case wire.Hello() if self._stage is Stage.HELLO:
                self._hello(message)
            case _ if self._stage is Stage.HELLO:
                raise _out_of_order(message, "hello comes first")
            case wire.Ping():
                self.say(wire.Pong())
            case wire.Pong() | wire.Error():
                pass
            case wire.Login() if self._stage is Stage.LOGIN:
                self._stage = Stage.ADMITTING
                self._stop_deadline()
                self._admission.begin(self, message)
            case wire.Hello() | wire.Login():
                raise _out_of_order(message, "it was said before")
            case _ if self._member is not None:
                self._member.heard(message)
            case _:
                raise _out_of_order(message, "login and welcome come first")

    def _hello(self, hello: wire.Hello) -> None:
        if wire.VERSION not in hello.versions:
            self.end("version", f"this index speaks version {wire.VERSION}")
            return
        self._stage = Stage.LOGIN

    def _heartbeat(self) -> None:
        if self._is_silent():
            return
        services = self._services
        self.say(wire.Ping(services.now()))
        if not self.is_over():
            self._beat = services.heartbeats.begin(self._heartbeat)

    def _is_silent(self) -> bool:
        """The end, if nothing was heard for so long; if that will be so before the next beat, it is seen just then."""
        if self._paused:
            return False
        clock = self._services.clock
        left_s = wire.DEAD_AFTER_S - (clock.seconds() - self._heard_at)
        if left_s <= _UP_S:
            self.abort(Unreachable(f"nothing was heard for {wire.DEAD_AFTER_S:.0f} s", code="silent"))
            return True
        if left_s < wire.HEARTBEAT_S and (self._last_look is None or not self._last_look.active()):
            self._last_look = clock.callLater(left_s, self._is_silent)
        return False

    def _not_read(self) -> None:
        self._services.events.emit("limit.hit", limit="index.unread", peer=self._peer())
        self.abort(NapError("the other end does not read", code="limit"))

    # --- The end ---------------------------------------------------------------------------------

    def _over(self, reason: str) -> bool:
        """Whether this is the first time."""
        if self.is_over():
            return False
        self._stage = Stage.OVER
        self._stop_deadline()
        self._hearing.stop()
        self._services.turns.drop(self)
        if self._beat is not None:
            self._beat.stop()
        if self._last_look is not None and self._last_look.active():
            self._last_look.cancel()
        member, self._member = self._member, None
        if member is not None:
            member.left(reason)
        return True

    def _hang_up(self, last: wire.Bye | None) -> None:
        self._outbox.hang_up(last)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.stop()
            self._deadline = None

    def _no_login(self) -> None:
        self.end("limit", f"no login within {LOGIN_S:.0f} s")

    def _note_misbehaviour(self, error: RemoteProtocolError) -> None:
        """Once per session: a log is no place for a flood."""
        if not self._misbehaved:
            self._misbehaved = True
            self._services.events.emit(
                "peer.misbehaved", peer=self._peer(), code=error.code, error=printable(error.message)
            )

    def _peer(self) -> str | None:
        return None if self._key is None else self._key.id


def _out_of_order(message: Struct, why: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"{message.__struct_config__.tag} is out of order: {why}")
