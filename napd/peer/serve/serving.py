"""The serving end of a peer link: a ticket in, then requests in and verified-by-the-other-side bytes out.

A `ServeSession` knows the protocol and who the other end is. Its requests are answered by three parts of it:
`manifests` and `haves`, at once, and `bulk`, when it has a slot. Whether somebody may have something, where its bytes
are, and whose turn it is, they ask the daemon's `Uploads`.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ...background import Background
from ...content.digest import chunk_count
from ...errors import Denied, NapError, RemoteProtocolError, TimedOut
from ...model import ContentId
from ...net.identity import PublicKey
from ...net.link import SecureLink
from ...wire import peer as wire
from ...wire.ticket import Claims
from .bulk import BulkAnswers
from .haves import HaveAnswers
from .manifests import ManifestAnswers
from .outlet import Outlet
from .uploads import Uploads

#: Seconds from the secured link to a good ticket.
ADMISSION_S = 10.0
#: Seconds of silence after which a link that is owed nothing is dead: fetchers ping.
IDLE_S = 60.0


class ServeSession:
    """A `LinkUser` in the role ``serve``."""

    def __init__(self, clock: IReactorTime, agent: str, uploads: Uploads, background: Background) -> None:
        self._clock = clock
        self._agent = agent
        self._uploads = uploads
        self._background = background
        self._outlet = Outlet(clock)
        self._bulk = BulkAnswers(clock, uploads, self._outlet, self.close)
        self._manifests = ManifestAnswers(uploads, self._outlet)
        self._haves = HaveAnswers(clock, self._outlet, self._start)
        self._key: PublicKey | None = None
        self._greeted = False
        self._claims: Claims | None = None
        self._deadline: IDelayedCall | None = None
        self._work: list[Deferred[None]] = []

    def attach(self, link: SecureLink) -> None:
        """The link that carries this session; before it connects."""
        self._outlet.link = link

    # --- LinkUser --------------------------------------------------------------------------------

    def link_secured(self, key: PublicKey) -> None:
        self._key = key
        self._bulk.peer = key.id
        if self._outlet.link is not None:
            # From here on the link knows whether what it says is read.
            self._outlet.link.drained()
        self._set_deadline(ADMISSION_S, "no ticket in time")

    def line_heard(self, line: bytes) -> None:
        try:
            message = wire.decode_from_fetcher(line)
        except RemoteProtocolError as error:
            if error.fatal:
                self._misbehaved(error)
                raise
            self._outlet.say(wire.Error(error.code, error.message[:4096], error.about))
            return
        try:
            self._handle(message)
        except RemoteProtocolError as error:
            self._misbehaved(error)
            self._hang_up(wire.Bye(error.code, error.message[:4096]))

    def raw_heard(self, data: bytes | memoryview) -> None:
        raise RemoteProtocolError("a fetcher sends no bulk")

    def link_lost(self, reason: NapError) -> None:
        self._outlet.link = None
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._manifests.forget()
        self._haves.forget()
        self._bulk.forget()
        for work in self._work:
            work.cancel()
        self._bulk.left()

    # --- What the fetcher says -------------------------------------------------------------------

    def _handle(self, message: wire.FromFetcher) -> None:
        if not self._greeted and not isinstance(message, wire.Hello | wire.Bye):
            raise RemoteProtocolError("spoke before hello", code="order")
        if self._claims is not None:
            self._set_deadline(IDLE_S, "idle")
        if isinstance(message, wire.Hello):
            self._hello_heard(message)
        elif isinstance(message, wire.Ticket):
            self._ticket_heard(message)
        elif isinstance(message, wire.Ping):
            self._outlet.say(wire.Pong(message.n))
        elif isinstance(message, wire.Bye):
            self._hang_up(None)
        elif isinstance(message, wire.Get | wire.GetOutline | wire.GetGroup | wire.GetHave | wire.Cancel):
            if self._claims is None:
                raise RemoteProtocolError("a request before the ticket", code="no_ticket")
            self._request_heard(message)

    def _hello_heard(self, hello: wire.Hello) -> None:
        if self._greeted:
            raise RemoteProtocolError("a second hello", code="order")
        if wire.VERSION not in hello.versions:
            raise RemoteProtocolError(f"this end speaks version {wire.VERSION} only", code="version")
        if hello.role != "fetch":
            raise RemoteProtocolError("both ends want to serve", code="role")
        self._greeted = True
        self._outlet.say(wire.Hello((wire.VERSION,), self._agent, "serve", (wire.FEATURE_HAVE,)))

    def _ticket_heard(self, message: wire.Ticket) -> None:
        if self._key is None:
            return
        try:
            claims = self._uploads.admit(message.ticket, self._key.id)
        except Denied as error:
            self._hang_up(wire.Bye(error.code, error.message))
            return
        before, self._claims = self._claims, claims
        if before is not None and before.account != claims.account:
            # What it has asked for stands in another user's line.
            self._hang_up(wire.Bye("bad_ticket", "the ticket is of another account than before: connect anew"))
            return
        self._bulk.claims = claims
        if before is None:
            if not self._bulk.enter():
                self._hang_up(wire.Bye("limit", "this user has too many connections"))
                return
            self._set_deadline(IDLE_S, "idle")
            self._outlet.say(wire.Admitted())

    def _request_heard(self, message: wire.Get | wire.GetOutline | wire.GetGroup | wire.GetHave | wire.Cancel) -> None:
        if isinstance(message, wire.Cancel):
            self._bulk.cancel(message.id)
            self._haves.cancel(message.id)
            return
        if len(self._bulk) + len(self._manifests) >= wire.MAX_OUTSTANDING:
            raise RemoteProtocolError(f"over {wire.MAX_OUTSTANDING} requests open", code="limit")
        shared = None if self._claims is None else self._uploads.find(ContentId(message.content), self._claims)
        if shared is None:
            self._outlet.say(wire.Gone(message.id))
        elif isinstance(message, wire.GetHave):
            self._haves.ask(message, shared)
        elif not isinstance(message, wire.Get):
            if self._manifests.ask(message):
                self._start("serving manifests", self._manifests.serve())
        # The only chunk of an empty content has no bytes; it may be asked for all the same.
        elif message.first + message.count > max(1, chunk_count(shared.size)):
            self._outlet.say(wire.Error("out_of_bounds", "the content has no such chunk", message.id))
        elif not shared.has(message.first):
            # Before a slot is asked for.
            self._outlet.say(wire.Gone(message.id))
        elif self._bulk.ask(message):
            self._start("serving", self._bulk.serve())

    # --- Small change ----------------------------------------------------------------------------

    def _hang_up(self, last: wire.Bye | None) -> None:
        self._manifests.forget()
        self._haves.forget()
        self._bulk.forget()
        self._outlet.hang_up(last)

    def close(self) -> None:
        """This daemon stops."""
        self._hang_up(wire.Bye("shutdown", "the daemon is stopping"))

    def _misbehaved(self, error: RemoteProtocolError) -> None:
        self._uploads.misbehaved(self._bulk.peer, error)

    def _set_deadline(self, seconds: float, why: str) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        if self._outlet.link is not None:
            self._deadline = self._clock.callLater(seconds, self._too_late, why)

    def _too_late(self, why: str) -> None:
        if len(self._bulk) or len(self._manifests):
            self._set_deadline(IDLE_S, "idle")
        elif self._outlet.link is not None:
            self._outlet.link.abort(TimedOut(f"the link was closed: {why}"))

    def _start(self, name: str, work: Coroutine[Deferred[Any], Any, None]) -> None:
        running = self._background.start(name, work)
        self._work = [one for one in self._work if not one.called]
        self._work.append(running)
