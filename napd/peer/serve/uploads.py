"""What others get from here: who may have what, where its bytes are, and how much has gone out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from ...content.digest import CHUNK_BYTES
from ...discovery.interface import Discovery
from ...errors import Denied, DiskFailed, RemoteProtocolError
from ...model import ContentId, PeerId
from ...net.pacing import Pacer
from ...ops.events import Events
from ...wire.documents import UploadRow, UploadTotals
from ...wire.ticket import Claims
from ..files.disk import Disk
from ..rates import RateMeter
from .copies import Copies
from .permissions import may_fetch
from .rate_shares import RateShares
from .read_ahead import MAX_FILES, ReadAhead
from .run_reader import RunReader, RunReaders
from .upload_turns import Holder, UploadTurns, user_of

#: Bytes handed to a link at once: few enough for others to have their turn, many enough not to be felt.
BLOCK_BYTES = 256 * 1024
#: Under a limit everybody who is served gets a block this often, so that nobody takes it for a stall.
BLOCK_S = 0.5
LEAST_BLOCK_BYTES = 64
#: Seconds without a request after which an upload that has not sent everything counts as finished.
IDLE_UPLOAD_S = 10.0
#: Contents of a connection that are kept open between requests: each costs a descriptor, and one alone is being sent.
MAX_OPEN = 32
#: Seconds that what was found for somebody counts as found, and how many such things are remembered.
FOUND_S = 1.0
MAX_FOUND = 4096
#: Contents of a connection that are looked at for what may be read ahead.
MAX_NEXT = 3 * MAX_FILES


class Shared(Protocol):
    """One listing, as `peer.shares` gives it."""

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def audience(self) -> Sequence[str]: ...
    def has(self, chunk: int) -> bool:
        """Whether this chunk is there: of what is still being fetched, not all are."""

    def open(self) -> int:
        """A descriptor of the very file that was hashed. Blocks.

        :raises LookupError: it is another file now. :raises OSError: it cannot be opened.
        """


class Library(Protocol):
    """What uploads need of `peer.shares`."""

    def find(self, content: ContentId) -> Sequence[Shared]: ...
    async def outline(self, content: ContentId) -> tuple[int, bytes]: ...
    async def group(self, content: ContentId, group: int) -> bytes: ...


@define(eq=False)
class Upload:
    """One content on its way to one connection."""

    content: ContentId
    transfer: str
    user: str
    peer: str
    name: str
    size: int
    #: All of it, if that is one chunk; otherwise a descriptor to read it with.
    source: memoryview | int
    has: Callable[[int], bool]
    started: float
    active_at: float
    bytes_sent: int = 0
    meter: RateMeter = field(factory=RateMeter)
    idle_timer: IDelayedCall | None = None


class Uploads:
    """The serving side of the daemon.

    :param run: runs a function on a disk thread.
    """

    def __init__(
        self,
        *,
        clock: IReactorTime,
        events: Events,
        library: Library,
        discovery: Discovery,
        disk: Disk,
        run: Callable[..., Deferred[Any]],
        pacer: Pacer,
        turns: UploadTurns,
    ) -> None:
        self._clock = clock
        self._events = events
        self._library = library
        self._discovery = discovery
        self._disk = disk
        self._run = run
        self._pacer = pacer
        self._rate_shares = RateShares(clock, pacer)
        self.turns = turns
        self._sessions: dict[Holder, dict[ContentId, Upload]] = {}
        self._read_ahead: dict[Holder, ReadAhead] = {}
        self._found: dict[tuple[ContentId, Claims], tuple[Shared, float]] = {}
        self._meter = RateMeter()
        self.copies = Copies()
        self._readers = RunReaders(disk, run)

    # --- Who may ---------------------------------------------------------------------------------

    def admit(self, ticket: str, peer: PeerId) -> Claims:
        """:raises Denied: if our index does not vouch for this peer."""
        try:
            return self._discovery.check_ticket(ticket, peer)
        except Denied as error:
            self._events.emit("upload.denied", peer=peer, code=error.code)
            raise

    def find(self, content: ContentId, claims: Claims) -> Shared | None:
        """A listing of the content that this asker may fetch; unknown and not allowed look the same.

        What was found is taken to be so for a second: a small content is looked up several times in a row. A larger one
        may be a download's parts, which may be over in the next moment.
        """
        now = self._clock.seconds()
        shared, at = self._found.get((content, claims), (None, now))
        if shared is not None and now - at < FOUND_S:
            return shared
        for shared in self._library.find(content):
            if may_fetch(claims, [shared.audience]):
                if shared.size <= CHUNK_BYTES:
                    if len(self._found) >= MAX_FOUND:
                        self._found.clear()
                    self._found[content, claims] = shared, now
                return shared
        return None

    def misbehaved(self, peer: str, error: RemoteProtocolError) -> None:
        self._events.emit("peer.misbehaved", error.message, peer=peer, code=error.code, error=error.message)

    def left(self, holder: Holder) -> None:
        """The connection is gone."""
        for upload in self._sessions.pop(holder, {}).values():
            self._finish(upload)
        self._read_ahead.pop(holder, None)
        self.turns.release(holder)

    # --- Bytes -----------------------------------------------------------------------------------

    async def open(self, holder: Holder, claims: Claims, content: ContentId, transfer: str, chunk: int) -> Upload:
        """The upload of this content to this holder, begun if none is under way that has this chunk.

        :raises LookupError: the chunk is not to be had (any more). :raises DiskFailed: it cannot be read.
        """
        uploads = self._sessions.setdefault(holder, {})
        known = uploads.get(content)
        if known is not None and known.has(chunk):
            known.active_at = self._clock.seconds()
            return known
        shared = self.find(content, claims)
        if shared is None or not shared.has(chunk):
            raise LookupError(content)
        if known is not None:
            # It was a download's parts; that is over, and the content lies in a share, or is fetched once more.
            self._end(holder, known)
        source = await self._source(holder, claims, content, shared)
        if self._sessions.get(holder) is not uploads:
            await self._close(source)
            raise LookupError(content)
        now = self._clock.seconds()
        upload = Upload(
            content=content,
            transfer=transfer,
            user=claims.user,
            peer=holder.peer,
            name=shared.name,
            size=shared.size,
            source=source,
            has=shared.has,
            started=now,
            active_at=now,
        )
        uploads[content] = upload
        self.copies.begins(content)
        self._events.emit("upload.started", transfer=transfer, content=content, user=upload.user, peer=upload.peer)
        if isinstance(source, int):
            upload.idle_timer = self._clock.callLater(IDLE_UPLOAD_S, self._finish_idle, holder, upload)
            self._close_longest_idle(holder)
        return upload

    async def _source(self, holder: Holder, claims: Claims, content: ContentId, shared: Shared) -> memoryview | int:
        """:raises LookupError, DiskFailed: it is not to be had."""
        if shared.size > CHUNK_BYTES or not shared.has(0):
            return await self._open(shared)
        ahead = self._read_ahead.get(holder)
        if ahead is None:
            ahead = self._read_ahead[holder] = ReadAhead(self._clock, self._disk, self._run)
        # Who is about to pass the slot on keeps nothing in memory meanwhile.
        others = () if self.turns.contended else self._next_small(holder, claims)
        data = await ahead.take(content, shared, others)
        if data is None:
            raise LookupError(content)
        return data

    def _next_small(self, holder: Holder, claims: Claims) -> Iterator[tuple[ContentId, Shared]]:
        """What this connection asks for after what is being sent to it, as far as that is of one chunk."""
        for content in islice(holder.contents(), 1, MAX_NEXT):
            shared = self.find(content, claims)
            if shared is not None and shared.size <= CHUNK_BYTES and shared.has(0):
                yield content, shared

    def _open(self, shared: Shared) -> Deferred[int]:
        """A descriptor; if nobody waits for it any more when it is there, it is closed again."""
        opened: Deferred[int] = Deferred()

        def there(descriptor: int) -> None:
            if opened.called:
                self._on_disk_thread(os.close, descriptor).addErrback(lambda _: None)
            else:
                opened.callback(descriptor)

        def failed(failure: Failure) -> None:
            if not opened.called:
                opened.errback(failure)

        self._on_disk_thread(_open, shared).addCallbacks(there, failed)
        return opened

    def reader(self, upload: Upload, chunks: range) -> RunReader:
        """Of a run's bytes: short for a chunk if the file has shrunk; `NoSuchThing` is raised for one not here."""
        return self._readers.of(upload, chunks)

    async def outline(self, content: ContentId) -> tuple[int, bytes]:
        return await self._library.outline(content)

    async def group(self, content: ContentId, group: int) -> bytes:
        return await self._library.group(content, group)

    def block_bytes(self, holder: Holder) -> int:
        """How much to send to it at once just now."""
        rate = self._pacer.rate
        if rate is None:
            return BLOCK_BYTES
        return int(min(BLOCK_BYTES, max(LEAST_BLOCK_BYTES, rate * BLOCK_S * self.turns.share(holder))))

    def pace(self, holder: Holder, size: int) -> Deferred[None] | None:
        """None if so much may be sent to it now; otherwise fires when it may."""
        return self._rate_shares.spend(user_of(holder), self.turns.weight(holder.claims), size)

    def sent(self, holder: Holder, upload: Upload, size: int) -> None:
        now = self._clock.seconds()
        upload.bytes_sent += size
        upload.active_at = now
        upload.meter.add(size, now)
        self._meter.add(size, now)
        self.turns.sent(holder, size)

    def run_ended(self, holder: Holder, upload: Upload) -> None:
        """One request is answered: with the last of them, and the whole content sent, the upload is over."""
        uploads = self._sessions.get(holder, {})
        # Of one chunk nothing more is sent, whether it has been or was cancelled.
        whole = upload.bytes_sent >= upload.size or isinstance(upload.source, memoryview)
        if whole and not holder.wants(upload.content) and uploads.get(upload.content) is upload:
            self._end(holder, upload)

    def _finish_idle(self, holder: Holder, upload: Upload) -> None:
        idle = self._clock.seconds() - upload.active_at
        if idle >= IDLE_UPLOAD_S and not holder.wants(upload.content):
            self._end(holder, upload)
        else:
            wait = max(1.0, IDLE_UPLOAD_S - idle)
            upload.idle_timer = self._clock.callLater(wait, self._finish_idle, holder, upload)

    def _close_longest_idle(self, holder: Holder) -> None:
        """If one more is open now than may be. Should more of it be asked for, it is opened again."""
        opened = [upload for upload in self._sessions[holder].values() if isinstance(upload.source, int)]
        if len(opened) > MAX_OPEN:
            self._end(holder, min(opened, key=lambda upload: upload.active_at))

    def _end(self, holder: Holder, upload: Upload) -> None:
        del self._sessions[holder][upload.content]
        self._finish(upload)

    def _finish(self, upload: Upload) -> None:
        if upload.idle_timer is not None and upload.idle_timer.active():
            upload.idle_timer.cancel()
        self.copies.ends(upload.content)
        self._close(upload.source).addErrback(lambda _: None)
        self._events.emit(
            "upload.finished",
            transfer=upload.transfer,
            content=upload.content,
            user=upload.user,
            peer=upload.peer,
            bytes=upload.bytes_sent,
        )

    # --- For people ------------------------------------------------------------------------------

    def rows(self) -> list[UploadRow]:
        """Those being sent, then those that wait, in the order of their turns."""
        waiting = self.turns.waiting()
        active = [_row(upload, self._clock.seconds()) for upload in self._active({holder for holder, _ in waiting})]
        queued = []
        for holder, place in waiting:
            claims = holder.claims
            if claims is None:
                continue
            for nth, content in enumerate(holder.contents()):
                begun = self._sessions.get(holder, {}).get(content)
                shared = self.find(content, claims)
                name = begun.name if begun else shared.name if shared else content
                sent = begun.bytes_sent if begun else 0
                at = place(nth)
                row = UploadRow(claims.user, content, name, "queued", at.position, sent, 0.0, at.estimate_s)
                queued.append(row)
        return active + sorted(queued, key=lambda row: row.position or 0)

    def totals(self) -> UploadTotals:
        waiting = {holder for holder, _ in self.turns.waiting()}
        return UploadTotals(
            active=sum(1 for _ in self._active(waiting)), queued=sum(len(holder.contents()) for holder in waiting)
        )

    def _active(self, waiting: set[Holder]) -> Iterator[Upload]:
        now = self._clock.seconds()
        for holder, uploads in self._sessions.items():
            if holder not in waiting:
                wanted = set(holder.contents())
                yield from (u for u in uploads.values() if u.content in wanted or now - u.active_at < 1.0)

    def bytes_per_s(self) -> float:
        return self._meter.per_s(self._clock.seconds())

    def stop(self) -> None:
        for holder in list(self._sessions):
            holder.close()
        self.turns.stop()

    def _close(self, source: memoryview | int) -> Deferred[None]:
        return self._on_disk_thread(os.close, source) if isinstance(source, int) else succeed(None)

    def _on_disk_thread(self, work: Callable[..., Any], *args: object) -> Deferred[Any]:
        return self._run(work, *args)


def _row(upload: Upload, now: float) -> UploadRow:
    return UploadRow(
        upload.user, upload.content, upload.name, "active", None, upload.bytes_sent, upload.meter.per_s(now), None
    )


def _open(shared: Shared) -> int:
    """On a disk thread."""
    try:
        descriptor = shared.open()
        with suppress(OSError):
            # It is only advice: to read further ahead.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        return descriptor
    except OSError as error:
        raise DiskFailed(f"{shared.name}: {error.strerror}") from error
