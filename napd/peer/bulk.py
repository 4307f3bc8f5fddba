"""The serving end's answers to `get`: runs of chunks, in turn with everybody else's."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..content.digest import chunk_bytes
from ..errors import NapError
from ..model import ContentId
from ..wire import peer as wire
from ..wire.ticket import Claims
from .outlet import Outlet
from .uploads import Upload, Uploads

#: Seconds a slot is kept for the next request, so that a fetcher between two windows does not lose its turn.
SLOT_GRACE_S = 0.5


@define(eq=False)
class _Run:
    """A `get` that is not answered in full yet."""

    id: int
    content: ContentId
    next_chunk: int
    end_chunk: int
    transfer: str
    cancelled: bool = False


class BulkAnswers:
    """One link's runs; a `Holder` of one upload slot at most.

    :param hang_up: ends the link in good order.
    """

    def __init__(self, clock: IReactorTime, uploads: Uploads, outlet: Outlet, hang_up: Callable[[], None]) -> None:
        self._clock = clock
        self._uploads = uploads
        self._outlet = outlet
        self.close = hang_up
        self.peer = ""
        self.claims: Claims | None = None
        self._runs: deque[_Run] = deque()
        self._serving = False
        self._turn: Deferred[None] | None = None
        self._told: dict[ContentId, int] = {}
        self._slot_grace: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._runs)

    def contents(self) -> list[ContentId]:
        """What is asked for and not sent yet, each once, in order."""
        return list(dict.fromkeys(run.content for run in self._runs))

    def ask(self, get: wire.Get) -> bool:
        """Whether `serve` has to be started for it."""
        content = ContentId(get.content)
        self._runs.append(_Run(get.id, content, get.first, get.first + get.count, get.transfer))
        self._told.pop(content, None)
        if self._turn is not None:
            self._uploads.places_changed()
        started, self._serving = self._serving, True
        return not started

    def cancel(self, number: int) -> None:
        """What is not yet sent of this request need not be."""
        for run in self._runs:
            if run.id == number:
                run.cancelled = True

    def forget(self) -> None:
        """Nothing more is read from the disk for somebody who is hung up on."""
        for run in self._runs:
            run.cancelled = True
        self._runs.clear()

    def left(self) -> None:
        """The link is gone."""
        if self._slot_grace is not None and self._slot_grace.active():
            self._slot_grace.cancel()
        self._uploads.left(self)

    # --- Turns -----------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Answer the runs in order, as long as there are any; a turn ends with a content if others wait."""
        upload: Upload | None = None
        try:
            while self._runs and self._outlet.link is not None:
                run = self._runs[0]
                if run.cancelled:
                    self._runs.popleft()
                    self._outlet.say(wire.Cancelled(run.id))
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
            if self._outlet.link is not None:
                self._slot_grace = self._clock.callLater(SLOT_GRACE_S, self._uploads.release_slot, self)

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
        """All slots are taken; this link is at that place in the line."""
        for offset, content in enumerate(self.contents()):
            if self._told.get(content) != place + offset:
                self._told[content] = place + offset
                self._outlet.say(wire.Queued(content, place + offset))

    # --- Bytes -----------------------------------------------------------------------------------

    async def _open(self, run: _Run) -> Upload | None:
        try:
            if self.claims is None:
                return None
            return await self._uploads.open(self, self.claims, run.content, run.transfer)
        except (LookupError, NapError):
            self._outlet.say(wire.Gone(run.id))
            return None

    async def _send_run(self, upload: Upload, run: _Run) -> None:
        """One header and its bytes per chunk; the next chunk is read while this one is sent."""
        coming: Deferred[memoryview] | None = None
        try:
            for chunk in range(run.next_chunk, run.end_chunk):
                if run.cancelled:
                    self._outlet.say(wire.Cancelled(run.id))
                    return
                data = await (coming or self._uploads.read(upload, chunk))
                coming = self._uploads.read(upload, chunk + 1) if chunk + 1 < run.end_chunk else None
                if len(data) != chunk_bytes(upload.size, chunk):
                    self._outlet.say(wire.Gone(run.id))
                    return
                await self._send_chunk(upload, wire.Chunk(run.id, chunk, len(data)), data)
        except NapError:
            # A disk that fails, or one that is too busy now: let others serve it.
            self._outlet.say(wire.Gone(run.id))
        finally:
            if coming is not None:
                # Read ahead for nothing; nobody needs to hear how it ends.
                coming.addErrback(lambda _: None)

    async def _send_chunk(self, upload: Upload, header: wire.Chunk, data: memoryview) -> None:
        link = self._outlet.begin_chunk(header)
        if link is None:
            return
        while data:
            block = data[: self._uploads.block_bytes()]
            data = data[len(block) :]
            await self._uploads.pace(len(block))
            link.send_raw(block)
            self._uploads.sent(upload, len(block))
            await self._outlet.drained(link)
        self._outlet.end_chunk()
