"""The fetching end of a peer link: requests out, verified-later bytes in.

One `FetchSession` serves all downloads that use the same source. It knows the protocol and nothing of files, queues
or choices; what comes in is handed to the request that asked for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ...content.digest import CHUNK_BYTES
from ...errors import NapError, RemoteProtocolError, SourceFailed, TimedOut, printable
from ...model import ContentId
from ...net.buffers import Buffers
from ...net.identity import PublicKey
from ...net.link import SecureLink
from ...net.pacing import Pacer
from ...wire import peer as wire
from ..sources.throughput import Throughput
from .outstanding import Outstanding
from .patience import WATCH_S, Patience
from .places_told import PlacesTold
from .watches import Watcher, Watches

#: Seconds from the secured link to `admitted`.
ADMISSION_S = 10.0
#: Seconds without a word from us to a source that tells what it has, after which we ping.
KEEP_ALIVE_S = 20.0
#: Chunks from this size on are put into a buffer as they come; shorter ones are not worth a whole one.
BUFFERED_BYTES = 512 * 1024


class Receiver(Protocol):
    """Who asked for chunks; implemented by `peer.fetch.download`."""

    def chunk_came(self, chunk: int, data: bytes | memoryview) -> None:
        """The bytes of one chunk, unverified. Called in the order of the run."""

    def get_ended(self, failure: SourceFailed | None) -> None:
        """Nothing more comes for this request; None: all of it came, or it was cancelled by the asker."""

    def place_told(self, position: int | None) -> None:
        """All slots of the source are taken and this is our place; None: it is being served."""


@define(eq=False)
class GetRequest:
    """Chunks that are asked for and have not all come; those from `wanted_end` on are cancelled."""

    id: int
    content: ContentId
    next_chunk: int
    end_chunk: int
    wanted_end: int
    receiver: Receiver
    #: The source will not answer it (any further).
    refused: bool = False

    @property
    def cancelled(self) -> bool:
        return self.wanted_end < self.end_chunk

    @property
    def left(self) -> int:
        """Chunks that are still wanted."""
        return max(0, self.wanted_end - self.next_chunk)


@define(eq=False)
class _ManifestRequest:
    id: int
    done: Deferred[tuple[int, bytes]]


@define(eq=False)
class _Incoming:
    """Raw bytes that are on their way."""

    request: GetRequest | _ManifestRequest
    number: int
    size: int
    #: Where they are put; None: they are collected.
    into: memoryview | None
    came: int = 0
    pieces: list[bytes | memoryview] = field(factory=list)

    def take(self, data: bytes | memoryview) -> bool:
        """Whether that was the last of it."""
        self.came += len(data)
        if self.into is None:
            self.pieces.append(data)
        return self.came == self.size

    def whole(self) -> bytes | memoryview:
        if self.into is not None:
            return self.into[: self.size]
        return self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)


def held_bytes(size: int) -> int:
    """The memory that a chunk of this size takes up when it has come."""
    return size if size < BUFFERED_BYTES else max(size, CHUNK_BYTES)


class FetchSession:
    """A `LinkUser` in the role ``fetch``.

    :param ticket: what to show; asked when it is needed.
    :param ready: called once the source has admitted us.
    :param ended: called once when the link is gone, with the reason.
    :param buffers: what large chunks are put into, of the size of a chunk; all sessions may share it.
    """

    def __init__(
        self,
        clock: IReactorTime,
        agent: str,
        ticket: Callable[[], str | None],
        pacer: Pacer,
        ready: Callable[[FetchSession], None],
        ended: Callable[[FetchSession, NapError], None],
        buffers: Buffers,
    ) -> None:
        self._clock = clock
        self._agent = agent
        self._ticket = ticket
        self._pacer = pacer
        self._ready = ready
        self._ended = ended
        self._buffers = buffers
        self._link: SecureLink | None = None
        self._greeted = False
        self._admitted = False
        self._next_id = 1
        self._gets: dict[int, GetRequest] = {}
        self._manifests: dict[int, _ManifestRequest] = {}
        self._watches = Watches()
        self._outstanding = Outstanding()
        self._queued = PlacesTold()
        self._incoming: _Incoming | None = None
        self._said_at = 0.0
        self._patience = Patience()
        self._pinged_at: float | None = None
        self._check: IDelayedCall | None = None
        self._resume: IDelayedCall | None = None
        self.rtt_s: float | None = None

    def attach(self, link: SecureLink) -> None:
        """The link that carries this session; before it connects."""
        self._link = link

    @property
    def alive(self) -> bool:
        return self._admitted and self._link is not None

    def position(self, content: ContentId) -> int | None:
        """Our place in the source's upload queue for this content, if it makes us wait."""
        return self._queued.position(content)

    def estimate_s(self, content: ContentId) -> float | None:
        """For how long we wait there yet, as the source expects; None if it does not say."""
        return self._queued.estimate_s(content, self._clock.seconds())

    # --- How it does -----------------------------------------------------------------------------

    @property
    def throughput(self) -> Throughput:
        return self._patience.throughput

    @property
    def stuck_s(self) -> float:
        """Seconds since the last byte of what is owed."""
        return self._patience.stuck_s

    @property
    def doubtful(self) -> bool:
        """It owes something and sends nothing: what it was asked for had better be asked of others."""
        return self._patience.doubtful

    @property
    def throttled(self) -> bool:
        """Our own limit slows it down: its pace says nothing about it."""
        return self._patience.throttled(self._clock.seconds())

    # --- Asking ----------------------------------------------------------------------------------

    def outline(self, content: ContentId) -> Deferred[tuple[int, bytes]]:
        """(size, group digests), unverified. Fails with `SourceFailed`."""
        return self._ask_manifest(lambda number: wire.GetOutline(number, content))

    def group(self, content: ContentId, group: int) -> Deferred[tuple[int, bytes]]:
        """(0, chunk digests of the group), unverified. Fails with `SourceFailed`."""
        return self._ask_manifest(lambda number: wire.GetGroup(number, content, group))

    def get(
        self,
        content: ContentId,
        first: int,
        count: int,
        transfer: str,
        receiver: Receiver,
        priority: int = wire.NORMAL,
        *,
        loose: bool = False,
    ) -> GetRequest:
        """Ask for a run of chunks; they come to the receiver.

        :param loose: those of other loose requests may come before.
        """
        wanted = (other.left for other in self._gets.values() if other.content == content)
        if content in self._queued and not any(wanted):
            # The place was told for what is cancelled; the source tells it anew if it makes us wait again.
            self._queued.is_over(content)
        request = GetRequest(self._new_id(), content, first, first + count, first + count, receiver)
        self._gets[request.id] = request
        self._owes_changed()
        get = wire.Get(request.id, content, first, count, transfer, priority, loose)
        self._say(*self._outstanding.ask(request.id, get))
        return request

    def cancel(self, request: GetRequest, *, but_current: bool = False) -> None:
        """What has not come yet is not wanted; the receiver hears nothing more.

        :param but_current: the chunk of which bytes have come is wanted still, and is the last that the receiver hears.
        """
        if request.id not in self._gets:
            return
        said = request.cancelled
        current = self._incoming is not None and self._incoming.request is request
        request.wanted_end = min(request.wanted_end, request.next_chunk + (but_current and current))
        if said or not request.cancelled:
            return
        if self._outstanding.withdraw(request.id):
            del self._gets[request.id]
        else:
            self._say(wire.Cancel(request.id))
        self._owes_changed()

    def prove(self) -> None:
        """The peer is said to have come back: unless it gives a sign of life soon, this link is of the time before."""
        if self._admitted:
            self._patience.ask_for_proof(self._clock.seconds())
            if self._pinged_at is None:  # This is said once for each content that the peer has.
                self._ping()

    def watch(self, content: ContentId, watcher: Watcher) -> int | None:
        """Have the watcher told which chunks are there, until `unwatch`; None: this source cannot tell (any more)."""
        if not self._watches.room:
            return None
        number = self._new_id()
        self._watches.begin(number, watcher)
        self._say(wire.GetHave(number, content))
        return number

    def unwatch(self, number: int) -> None:
        if self._watches.end(number):
            self._say(wire.Cancel(number))

    def close(self) -> None:
        """Hang up; whoever still waits is told."""
        if self._link is not None:
            self._link.hang_up()

    # --- LinkUser --------------------------------------------------------------------------------

    def link_secured(self, key: PublicKey) -> None:
        self._patience.heard(self._clock.seconds())
        self._check = self._clock.callLater(ADMISSION_S, self._not_admitted)
        self._say(wire.Hello((wire.VERSION,), self._agent, "fetch", (wire.FEATURE_HAVE,)))

    def line_heard(self, line: bytes) -> None:
        self._patience.heard(self._clock.seconds())
        try:
            message = wire.decode_from_server(line)
        except RemoteProtocolError as error:
            if error.fatal:
                raise
            self._say(wire.Error(error.code, error.message[:4096], error.about))
            return
        if not self._greeted and not isinstance(message, wire.Hello | wire.Bye):
            raise RemoteProtocolError("spoke before hello", code="order")
        self._handle(message)

    def raw_heard(self, data: bytes | memoryview) -> None:
        self._progressed(len(data))
        incoming = self._incoming
        if incoming is None:
            raise RemoteProtocolError("raw bytes that nothing announced")
        whole = incoming.take(data)
        self._slow_down(len(data))
        if whole:
            self._incoming = None
            self._deliver(incoming)

    def link_lost(self, reason: NapError) -> None:
        self._link = None
        self._admitted = False
        for call in (self._check, self._resume):
            if call is not None and call.active():
                call.cancel()
        failure = reason if isinstance(reason, SourceFailed) else SourceFailed(reason.message, code=_lost_code(reason))
        gets, self._gets = self._gets, {}
        manifests, self._manifests = self._manifests, {}
        self._watches.clear()
        self._outstanding.clear()
        self._incoming = None
        for manifest in manifests.values():
            manifest.done.errback(failure)
        for request in gets.values():
            if request.left:
                request.receiver.get_ended(failure)
        self._buffers.trim()
        self._ended(self, failure)

    # --- What the source says --------------------------------------------------------------------

    def _handle(self, message: wire.FromServer) -> None:
        if isinstance(message, wire.Chunk):
            self._chunk_announced(message)
        elif isinstance(message, wire.Outline | wire.Group):
            self._manifest_announced(message)
        elif isinstance(message, wire.Queued):
            self._progressed()
            self._queued_told(message)
            self._owes_changed()
        elif isinstance(message, wire.Have):
            self._watches.told(message)
        elif isinstance(message, wire.Gone):
            self._refused(message.id, SourceFailed("the source does not have it any more", code="gone"))
        elif isinstance(message, wire.Busy):
            failure = SourceFailed("the source is busy", code="busy", retry_after_s=message.retry_after_s)
            self._refused(message.id, failure)
        elif isinstance(message, wire.Cancelled):
            # Nobody hears of it if it was cancelled here; a source that drops what is wanted is no use.
            self._refused(message.id, SourceFailed("the source dropped a request", code="refused"))
        elif isinstance(message, wire.Error):
            failure = SourceFailed(f"the source refused: {printable(message.message)}", code="refused")
            self._refused(message.id, failure)
        elif isinstance(message, wire.Ping):
            self._say(wire.Pong(message.n))
        elif isinstance(message, wire.Pong):
            if self._pinged_at is not None:
                self.rtt_s = self._clock.seconds() - self._pinged_at
                self._pinged_at = None
        elif isinstance(message, wire.Hello):
            self._hello_heard(message)
        elif isinstance(message, wire.Admitted):
            self._admitted_heard()
        else:
            self._bye_heard(message)

    def _hello_heard(self, hello: wire.Hello) -> None:
        if self._greeted:
            raise RemoteProtocolError("a second hello", code="order")
        if wire.VERSION not in hello.versions:
            raise RemoteProtocolError("no common version", code="version")
        if hello.role != "serve":
            raise RemoteProtocolError("both ends want to fetch", code="role")
        self._greeted = True
        self._watches.features = hello.features
        ticket = self._ticket()
        if ticket is None:
            raise RemoteProtocolError("there is no ticket to show yet", code="no_ticket")
        self._say(wire.Ticket(ticket))
        # The answer to this is the first measure of how near the source is.
        self._ping()

    def _admitted_heard(self) -> None:
        if self._admitted:
            return
        self._admitted = True
        if self._check is not None:
            self._check.cancel()
        self._patience.look(self._clock.seconds())
        self._check = self._clock.callLater(WATCH_S, self._watch)
        self._ready(self)

    def _bye_heard(self, bye: wire.Bye) -> None:
        link = self._link
        if link is not None:
            link.abort(SourceFailed(f"the source hung up: {printable(bye.message)}", code=printable(bye.code, 40)))

    def _chunk_announced(self, header: wire.Chunk) -> None:
        request = self._gets.get(header.id)
        if request is None or header.chunk != request.next_chunk or header.chunk >= request.end_chunk:
            raise RemoteProtocolError(f"chunk {header.chunk} was not asked for", code="unasked")
        self._progressed()
        self._served(request)
        into = self._buffers.take() if BUFFERED_BYTES <= header.bytes <= self._buffers.size else None
        self._await(_Incoming(request, header.chunk, header.bytes, into))

    def _manifest_announced(self, header: wire.Outline | wire.Group) -> None:
        request = self._manifests.get(header.id)
        if request is None:
            raise RemoteProtocolError("a manifest that was not asked for", code="unasked")
        self._progressed()
        number = header.size if isinstance(header, wire.Outline) else 0
        self._await(_Incoming(request, number, header.bytes, None))

    def _await(self, incoming: _Incoming) -> None:
        if incoming.size:
            self._incoming = incoming
            if self._link is not None:
                self._link.expect_raw(incoming.size, incoming.into)
        else:
            self._deliver(incoming)

    def _deliver(self, incoming: _Incoming) -> None:
        data = incoming.whole()
        request = incoming.request
        if isinstance(request, _ManifestRequest):
            del self._manifests[request.id]
            self._ended_here(request.id)
            self._owes_changed()
            request.done.callback((incoming.number, bytes(data)))
            return
        request.next_chunk += 1
        ended = request.next_chunk == request.end_chunk
        if ended:
            self._gets.pop(request.id, None)
            self._ended_here(request.id)
        self._owes_changed()
        if incoming.number < request.wanted_end:
            request.receiver.chunk_came(incoming.number, data)
            if ended:
                request.receiver.get_ended(None)

    def _refused(self, about: int | None, failure: SourceFailed) -> None:
        """One request fails; the link and the others go on."""
        self._progressed()
        if about is None:
            return
        if self._watches.refused(about, failure):
            return
        self._ended_here(about)
        manifest = self._manifests.pop(about, None)
        if manifest is not None:
            self._owes_changed()
            manifest.done.errback(failure)
        request = self._gets.pop(about, None)
        if request is None:
            return
        if all(other.content != request.content for other in self._gets.values()):
            # The next request for it begins anew.
            self._queued.is_over(request.content)
        self._owes_changed()
        request.refused = True
        if request.left:
            request.receiver.get_ended(failure)

    def _queued_told(self, told: wire.Queued) -> None:
        content = ContentId(told.content)
        waiting = [request for request in self._gets.values() if request.content == content]
        if waiting and self._queued.told(told, self._clock.seconds()):
            for receiver in {id(request.receiver): request.receiver for request in waiting}.values():
                receiver.place_told(told.position)

    def _served(self, request: GetRequest) -> None:
        if self._queued.is_over(request.content):
            request.receiver.place_told(None)

    # --- Deadlines -------------------------------------------------------------------------------

    def _not_admitted(self) -> None:
        if self._link is not None:
            self._link.abort(SourceFailed("the source did not admit us in time", code="timeout"))

    def _watch(self) -> None:
        """Is the source still there, and does it still send what it owes?"""
        link = self._link
        if link is None:
            return
        self._owes_changed()
        why = self._patience.look(self._clock.seconds())
        if why is not None:
            link.abort(SourceFailed(why, code="stalled"))
            return
        # One that tells what it has is not silent, and must hear of us all the same.
        quiet_s = self._clock.seconds() - self._said_at if self._watches else 0.0
        due = self._patience.silent_s >= wire.HEARTBEAT_S or quiet_s >= KEEP_ALIVE_S
        if due and self._pinged_at is None and self._incoming is None:
            self._ping()
        self._check = self._clock.callLater(WATCH_S, self._watch)

    def _progressed(self, size: int = 0) -> None:
        """Something of what is owed has come."""
        self._patience.progressed(self._clock.seconds(), size)

    def _owes_changed(self) -> None:
        """Something was asked for, has come, or has to be waited for."""
        owes = bool(self._manifests) or any(r.content not in self._queued for r in self._gets.values())
        self._patience.owes(self._clock.seconds(), owes)

    def _ping(self) -> None:
        self._pinged_at = self._clock.seconds()
        self._say(wire.Ping())

    def _slow_down(self, size: int) -> None:
        """Stop reading for a while if the download limit says so; what the source sends waits in its own buffers."""
        delay = self._pacer.delay_after(size)
        link = self._link
        if delay > 0.01 and self._resume is None and link is not None:
            self._patience.pause(self._clock.seconds(), delay)
            link.pause_reading()
            self._resume = self._clock.callLater(min(delay, 2.0), self._read_on)

    def _read_on(self) -> None:
        self._resume = None
        self._patience.resume(self._clock.seconds())
        delay = self._pacer.delay_after(0)
        link = self._link
        if link is None:
            return
        if delay > 0.01:
            self._patience.pause(self._clock.seconds(), delay)
            self._resume = self._clock.callLater(min(delay, 2.0), self._read_on)
        else:
            link.resume_reading()

    # --- Small change ----------------------------------------------------------------------------

    def _ask_manifest(self, build: Callable[[int], wire.FromFetcher]) -> Deferred[tuple[int, bytes]]:
        request = _ManifestRequest(self._new_id(), Deferred())
        self._manifests[request.id] = request
        self._owes_changed()
        self._say(*self._outstanding.ask(request.id, build(request.id)))
        return request.done

    def _ended_here(self, number: int) -> None:
        """The source has answered it: another may take its place."""
        self._say(*self._outstanding.ended(number))

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _say(self, *messages: wire.FromFetcher) -> None:
        self._said_at = self._clock.seconds()
        for message in messages:
            if self._link is not None:
                self._link.say(message)


def _lost_code(reason: NapError) -> str:
    return reason.code if reason.code not in ("failed", TimedOut.code) else "lost"
