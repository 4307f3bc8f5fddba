"""The serving end of a peer link: a ticket in, then requests in and verified-by-the-other-side bytes out.

A `ServeSession` knows the protocol and the order of its own requests. Whether somebody may have something, where its
bytes are, and whose turn it is, it asks its `Uploads`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..background import Background
from ..content.digest import chunk_bytes, chunk_count
from ..errors import Denied, NapError, RemoteProtocolError, TimedOut
from ..model import ContentId
from ..net.identity import PublicKey
from ..net.link import SecureLink
from ..wire import peer as wire
from ..wire.ticket import Claims
from .uploads import Upload, Uploads

#: Seconds from the secured link to a good ticket.
ADMISSION_S = 10.0
#: Seconds a slot is kept for the next request, so that a fetcher between two windows does not lose its turn.
SLOT_GRACE_S = 0.5
#: Seconds without the other end taking a byte that it asked for, after which it is cut off.
UNREAD_S = 60.0
#: Seconds of silence after which a link that is owed nothing is dead: fetchers ping.
IDLE_S = 60.0


@define(eq=False)
class _Run:
    """A `get` that is not answered in full yet."""

    id: int
    content: ContentId
    next_chunk: int
    end_chunk: int
    transfer: str
    cancelled: bool = False


class ServeSession:
    """A `LinkUser` in the role ``serve``."""

    def __init__(self, clock: IReactorTime, agent: str, uploads: Uploads, background: Background) -> None:
        self._clock = clock
        self._agent = agent
        self._uploads = uploads
        self._background = background
        self._link: SecureLink | None = None
        self._key: PublicKey | None = None
        self._greeted = False
        self.claims: Claims | None = None
        self._runs: deque[_Run] = deque()
        self._manifest_requests: deque[wire.GetOutline | wire.GetGroup] = deque()
        self._serving = False
        self._serving_manifests = False
        self._in_chunk = False
        self._after_chunk: list[wire.FromServer] = []
        self._chunk_over: Deferred[None] | None = None
        self._turn: Deferred[None] | None = None
        self._told: dict[ContentId, int] = {}
        self._deadline: IDelayedCall | None = None
        self._slot_grace: IDelayedCall | None = None
        self._work: list[Deferred[None]] = []

    def attach(self, link: SecureLink) -> None:
        """The link that carries this session; before it connects."""
        self._link = link

    @property
    def peer(self) -> str:
        return "" if self._key is None else self._key.id

    def contents(self) -> list[ContentId]:
        """What is asked for and not sent yet, each once, in order."""
        return list(dict.fromkeys(run.content for run in self._runs))

    # --- LinkUser --------------------------------------------------------------------------------

    def link_secured(self, key: PublicKey) -> None:
        self._key = key
        if self._link is not None:
            # From here on the link knows whether what it says is read.
            self._link.drained()
        self._set_deadline(ADMISSION_S, "no ticket in time")

    def line_heard(self, line: bytes) -> None:
        try:
            message = wire.decode_from_fetcher(line)
        except RemoteProtocolError as error:
            if error.fatal:
                self._misbehaved(error)
                raise
            self._send(wire.Error(error.code, error.message[:4096], error.about))
            return
        try:
            self._handle(message)
        except RemoteProtocolError as error:
            self._misbehaved(error)
            self._hang_up(wire.Bye(error.code, error.message[:4096]))

    def raw_heard(self, data: bytes) -> None:
        raise RemoteProtocolError("a fetcher sends no bulk")

    def link_lost(self, reason: NapError) -> None:
        self._link = None
        for call in (self._deadline, self._slot_grace):
            if call is not None and call.active():
                call.cancel()
        self._forget_requests()
        for work in self._work:
            work.cancel()
        self._uploads.left(self)

    # --- What the fetcher says -------------------------------------------------------------------

    def _handle(self, message: wire.FromFetcher) -> None:
        if not self._greeted and not isinstance(message, wire.Hello | wire.Bye):
            raise RemoteProtocolError("spoke before hello", code="order")
        if self.claims is not None:
            self._set_deadline(IDLE_S, "idle")
        if isinstance(message, wire.Hello):
            self._hello_heard(message)
        elif isinstance(message, wire.Ticket):
            self._ticket_heard(message)
        elif isinstance(message, wire.Ping):
            self._send(wire.Pong(message.n))
        elif isinstance(message, wire.Bye):
            self._hang_up(None)
        elif isinstance(message, wire.Get | wire.GetOutline | wire.GetGroup | wire.Cancel):
            if self.claims is None:
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
        self._send(wire.Hello((wire.VERSION,), self._agent, "serve"))

    def _ticket_heard(self, message: wire.Ticket) -> None:
        if self._key is None:
            return
        try:
            claims = self._uploads.admit(message.ticket, self._key.id)
        except Denied as error:
            self._hang_up(wire.Bye(error.code, error.message))
            return
        first, self.claims = self.claims is None, claims
        if first:
            self._set_deadline(IDLE_S, "idle")
            self._send(wire.Admitted())

    def _request_heard(self, message: wire.Get | wire.GetOutline | wire.GetGroup | wire.Cancel) -> None:
        if isinstance(message, wire.Cancel):
            for run in self._runs:
                if run.id == message.id:
                    run.cancelled = True
            return
        if len(self._runs) + len(self._manifest_requests) >= wire.MAX_OUTSTANDING:
            raise RemoteProtocolError(f"over {wire.MAX_OUTSTANDING} requests open", code="limit")
        content = ContentId(message.content)
        shared = None if self.claims is None else self._uploads.find(content, self.claims)
        if shared is None:
            self._send(wire.Gone(message.id))
        elif isinstance(message, wire.Get):
            # The only chunk of an empty content has no bytes; it may be asked for all the same.
            if message.first + message.count > max(1, chunk_count(shared.size)):
                self._send(wire.Error("out_of_bounds", "the content has no such chunk", message.id))
                return
            end = message.first + message.count
            self._runs.append(_Run(message.id, content, message.first, end, message.transfer))
            self._told.pop(content, None)
            if not self._serving:
                self._serving = True
                self._start("serving", self._serve())
            elif self._turn is not None:
                self._uploads.places_changed()
        else:
            self._manifest_requests.append(message)
            if not self._serving_manifests:
                self._serving_manifests = True
                self._start("serving manifests", self._serve_manifests())

    # --- Bulk ------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        """Answer the runs in order, as long as there are any; a turn ends with a content if others wait."""
        upload: Upload | None = None
        try:
            while self._runs and self._link is not None:
                run = self._runs[0]
                if run.cancelled:
                    self._runs.popleft()
                    self._send(wire.Cancelled(run.id))
                    continue
                if upload is not None and upload.content != run.content:
                    self._uploads.pass_slot(self)
                await self._my_turn()
                upload = await self._open(run)
                if upload is not None:
                    await self._send_run(upload, run)
                if self._runs and self._runs[0] is run:
                    self._runs.popleft()
                if upload is not None:
                    self._uploads.run_ended(self, upload)
        finally:
            self._serving = False
            if self._link is not None:
                self._keep_slot_a_moment()

    async def _my_turn(self) -> None:
        if self._slot_grace is not None and self._slot_grace.active():
            self._slot_grace.cancel()
        turn = self._uploads.ask_slot(self)
        if turn is not None:
            self._turn = turn
            try:
                await turn
            finally:
                self._turn = None
        self._told.clear()

    def tell_places(self, place: int) -> None:
        """All slots are taken; this session is at that place in the line."""
        for offset, content in enumerate(self.contents()):
            if self._told.get(content) != place + offset:
                self._told[content] = place + offset
                self._send(wire.Queued(content, place + offset))

    async def _open(self, run: _Run) -> Upload | None:
        try:
            if self.claims is None:
                return None
            return await self._uploads.open(self, self.claims, run.content, run.transfer)
        except (LookupError, NapError):
            self._send(wire.Gone(run.id))
            return None

    async def _send_run(self, upload: Upload, run: _Run) -> None:
        """One header and its bytes per chunk; the next chunk is read while this one is sent."""
        coming: Deferred[bytes] | None = None
        try:
            for chunk in range(run.next_chunk, run.end_chunk):
                if run.cancelled:
                    self._send(wire.Cancelled(run.id))
                    return
                data = await (coming or self._uploads.read(upload, chunk))
                coming = self._uploads.read(upload, chunk + 1) if chunk + 1 < run.end_chunk else None
                if len(data) != chunk_bytes(upload.size, chunk):
                    self._send(wire.Gone(run.id))
                    return
                await self._send_chunk(upload, wire.Chunk(run.id, chunk, len(data)), data)
        except NapError:
            # A disk that fails, or one that is too busy now: let others serve it.
            self._send(wire.Gone(run.id))
        finally:
            if coming is not None:
                # Read ahead for nothing; nobody needs to hear how it ends.
                coming.addErrback(lambda _: None)

    async def _send_chunk(self, upload: Upload, header: wire.Chunk, data: bytes) -> None:
        link = self._link
        if link is None:
            return
        link.say(header)
        self._in_chunk = True
        left = memoryview(data)
        while left:
            block = bytes(left[: self._uploads.block_bytes()])
            left = left[len(block) :]
            await self._uploads.pace(len(block))
            link.send_raw(block)
            self._uploads.sent(upload, len(block))
            await self._drained(link)
        self._in_chunk = False
        waiting, self._after_chunk = self._after_chunk, []
        for message in waiting:
            self._send(message)
        over, self._chunk_over = self._chunk_over, None
        if over is not None:
            over.callback(None)

    async def _drained(self, link: SecureLink) -> None:
        drained = link.drained()
        if drained.called:
            return
        late = self._clock.callLater(UNREAD_S, link.abort, TimedOut("the other end does not read what it asked for"))
        try:
            await drained
        finally:
            if late.active():
                late.cancel()

    # --- Manifests -------------------------------------------------------------------------------

    async def _serve_manifests(self) -> None:
        """They need no slot: knowing what to ask for costs next to nothing."""
        try:
            while self._manifest_requests and (link := self._link) is not None:
                header, digests = await self._manifest_answer(self._manifest_requests[0])
                await self._between_chunks()
                if not self._manifest_requests:
                    return
                # It was open until now: whoever asks for more than it takes meets the limit.
                self._manifest_requests.popleft()
                self._send(header)
                link.send_raw(digests)
                await self._drained(link)
        finally:
            self._serving_manifests = False

    async def _manifest_answer(self, request: wire.GetOutline | wire.GetGroup) -> tuple[wire.FromServer, bytes]:
        content = ContentId(request.content)
        try:
            if isinstance(request, wire.GetOutline):
                size, digests = await self._uploads.outline(content)
                return wire.Outline(request.id, size, len(digests)), digests
            digests = await self._uploads.group(content, request.group)
            return wire.Group(request.id, len(digests)), digests
        except (LookupError, NapError):
            return wire.Gone(request.id), b""

    def _between_chunks(self) -> Deferred[None]:
        """Fires when something with raw bytes may be sent: now, or after the chunk that is being sent."""
        if not self._in_chunk:
            return succeed(None)
        self._chunk_over = Deferred()
        return self._chunk_over

    # --- Small change ----------------------------------------------------------------------------

    def _send(self, message: wire.FromServer) -> None:
        """A line, never into the middle of a chunk."""
        if self._in_chunk:
            if len(self._after_chunk) > 2 * wire.MAX_OUTSTANDING:
                raise RemoteProtocolError("too much is asked at once", code="limit")
            self._after_chunk.append(message)
        elif self._link is not None:
            self._link.say(message)

    def _hang_up(self, last: wire.Bye | None) -> None:
        self._forget_requests()
        if self._link is not None:
            self._link.hang_up(None if self._in_chunk else last)

    def _forget_requests(self) -> None:
        """Nothing more is read from the disk for somebody who is hung up on."""
        for run in self._runs:
            run.cancelled = True
        self._runs.clear()
        self._manifest_requests.clear()

    def close(self) -> None:
        """This daemon stops."""
        self._hang_up(wire.Bye("shutdown", "the daemon is stopping"))

    def _misbehaved(self, error: RemoteProtocolError) -> None:
        self._uploads.misbehaved(self.peer, error)

    def _set_deadline(self, seconds: float, why: str) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        if self._link is not None:
            self._deadline = self._clock.callLater(seconds, self._too_late, why)

    def _too_late(self, why: str) -> None:
        if self._runs or self._manifest_requests:
            self._set_deadline(IDLE_S, "idle")
        elif self._link is not None:
            self._link.abort(TimedOut(f"the link was closed: {why}"))

    def _keep_slot_a_moment(self) -> None:
        self._slot_grace = self._clock.callLater(SLOT_GRACE_S, self._uploads.release_slot, self)

    def _start(self, name: str, work: Coroutine[Deferred[Any], Any, None]) -> None:
        running = self._background.start(name, work)
        self._work = [one for one in self._work if not one.called]
        self._work.append(running)
