"""The serving end's answers to `get`: runs of chunks, in turn with everybody else's, the most urgent first."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from itertools import islice

from attrs import define
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ...content.digest import chunk_bytes, chunk_count
from ...errors import NapError, NoSuchThing
from ...model import ContentId
from ...net.link import SecureLink
from ...wire import peer as wire
from ...wire.ticket import Claims
from .outlet import Outlet
from .places import Place
from .uploads import Upload, Uploads

#: Seconds a slot is kept for the rest of a file, so that a fetcher between two windows does not lose its turn.
SLOT_GRACE_S = 0.5
#: Seconds without a byte taken, and seconds in all in which a turn's bytes were not taken, that cost a turn.
STUCK_S = 9.0
SLOW_S = 20.0
#: Contents of a link whose places are told as soon as they change; of the others so many at a time, in turn.
TOLD_FIRST = 4
TOLD_IN_TURN = 4
#: Of those that were not told at all so many at a time.
TOLD_ANEW = 32
#: Requests among which the next is chosen, where several fetch the same content.
CHOICE = 8
#: An estimate is told again when it has changed by more than this part, and not within so many seconds.
ESTIMATE_CHANGE = 0.25
ESTIMATE_S = 1.0


@define(eq=False)
class _Run:
    """A `get` that is not answered in full yet."""

    id: int
    content: ContentId
    next_chunk: int
    end_chunk: int
    transfer: str
    rank: int
    loose: bool
    cancelled: bool = False


class BulkAnswers:
    """One link's runs; a `Holder` of one upload slot at most.

    :param hang_up: ends the link in good order.
    """

    def __init__(self, clock: IReactorTime, uploads: Uploads, outlet: Outlet, hang_up: Callable[[], None]) -> None:
        self._clock = clock
        self._uploads = uploads
        self._turns = uploads.turns
        self._outlet = outlet
        self.close = hang_up
        self.peer = ""
        self.claims: Claims | None = None
        # One line for each rank.
        self._lines: tuple[deque[_Run], ...] = tuple(deque() for _ in range(wire.LEAST_URGENT + 1))
        self._runs_of: Counter[ContentId] = Counter()
        self._order: list[ContentId] | None = None
        self._entered = False
        self._serving = False
        self._waiting = False
        # The file that the present turn is for, once it has begun.
        self._file: ContentId | None = None
        self._told: dict[ContentId, tuple[Place, float]] = {}
        self._told_until = 0
        self._slot_grace: IDelayedCall | None = None
        # Since when what was sent waits to be taken; how much was left at the last look, and since when it is so much.
        self._unread_since: float | None = None
        self._unread: tuple[int, float] = (0, 0.0)
        self._unread_s = 0.0

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines)

    def contents(self) -> Sequence[ContentId]:
        """What is asked for and not sent yet, each once, in the order in which it will be sent."""
        if self._order is None:
            self._order = list(dict.fromkeys(run.content for line in self._lines for run in line))
        return self._order

    def wants(self, content: ContentId) -> bool:
        return content in self._runs_of

    def ask(self, get: wire.Get) -> bool:
        """Whether `serve` has to be started for it."""
        content = ContentId(get.content)
        if content not in self._runs_of and (retry_after_s := self._turns.take_on(self)) is not None:
            self._outlet.say(wire.Busy(get.id, round(retry_after_s, 1)))
            return False
        run = _Run(get.id, content, get.first, get.first + get.count, get.transfer, get.priority, get.loose)
        self._lines[run.rank].append(run)
        self._runs_of[content] += 1
        self._order = None
        self._asks_for_more()
        started, self._serving = self._serving, True
        return not started

    def cancel(self, number: int) -> None:
        """What is not yet sent of this request need not be."""
        run = next((run for line in self._lines for run in line if run.id == number), None)
        if run is None:
            return
        run.cancelled = True
        if self._waiting:
            # Nothing of it is being sent, and nothing that is wanted any more keeps a place.
            self._over(run)
            self._outlet.say(wire.Cancelled(number))
            self._asks_for_more()

    def forget(self) -> None:
        """Nothing more is read from the disk for somebody who is hung up on."""
        for line in self._lines:
            for run in line:
                run.cancelled = True
            line.clear()
        self._turns.drop(self, len(self._runs_of))
        self._runs_of.clear()
        self._told.clear()
        self._order = None

    def enter(self) -> bool:
        """The user is known now; False if it has too many links already."""
        self._entered = self._turns.enter(self)
        return self._entered

    def left(self) -> None:
        """The link is gone."""
        if self._entered:
            self._turns.leave(self)
        if self._slot_grace is not None and self._slot_grace.active():
            self._slot_grace.cancel()
        self._uploads.left(self)

    # --- Turns -----------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Answer the runs, the most urgent first, as long as there are any and whenever there is a slot."""
        in_a_file = False
        try:
            while (run := self._first()) is not None and self._outlet.link is not None:
                if run.cancelled:
                    self._over(run)
                    self._outlet.say(wire.Cancelled(run.id))
                    continue
                await self._my_turn(run)
                if self._first() is not run:
                    # While it waited it was cancelled, or a more urgent one came.
                    continue
                run = self._chosen(run)
                self._file = run.content
                upload = await self._open(run)
                if upload is not None and not await self._send_run(upload, run):
                    continue
                self._over(run)
                if upload is not None:
                    in_a_file = run.end_chunk < chunk_count(upload.size)
                    self._uploads.run_ended(self, upload)
        finally:
            self._serving = False
            if self._outlet.link is not None:
                self._rest(in_a_file=in_a_file)

    def _first(self) -> _Run | None:
        """The most urgent; of these the oldest."""
        return next((line[0] for line in self._lines if line), None)

    def _chosen(self, first: _Run) -> _Run:
        """Of the next loose requests of a content that others fetch too, one whose chunk was sent to the fewest."""
        line = self._lines[first.rank]
        alike = [
            run for run in islice(line, CHOICE) if run.loose and not run.cancelled and run.content == first.content
        ]
        if not first.loose or len(alike) < 2:
            return first
        chosen = alike[self._uploads.copies.fewest(first.content, [run.next_chunk for run in alike])]
        line.remove(chosen)
        line.appendleft(chosen)
        return chosen

    def _over(self, run: _Run) -> None:
        """Nothing more is said of this run."""
        line = self._lines[run.rank]
        if run not in line:
            return
        line.remove(run)
        self._order = None
        self._runs_of[run.content] -= 1
        if not self._runs_of[run.content]:
            del self._runs_of[run.content]
            self._told.pop(run.content, None)
            self._turns.drop(self)

    async def _my_turn(self, run: _Run) -> None:
        if self._slot_grace is not None and self._slot_grace.active():
            self._slot_grace.cancel()
        turn = self._turns.ask(self, run.rank, another=self._file not in (None, run.content))
        if turn is not None:
            self._waiting = True
            try:
                await turn
            finally:
                self._waiting = False

    def _asks_for_more(self) -> None:
        """What is asked for has changed, perhaps while it waits."""
        if self._waiting:
            first = self._first()
            if first is None:
                self._turns.gives_up(self)
            else:
                self._turns.asks_for_more(self, first.rank)

    def _rest(self, *, in_a_file: bool) -> None:
        """Nothing is left to send now."""
        if in_a_file:
            self._slot_grace = self._clock.callLater(SLOT_GRACE_S, self._turns.release, self)
        else:
            self._turns.release(self)

    def turn_began(self) -> None:
        self._file = None
        self._unread_s = 0.0

    def lets_us_wait(self) -> bool:
        """Whether so little is taken that others should have the slot. Looked at every second while they wait."""
        link = self._outlet.link
        if self._unread_since is None or link is None:
            return False
        now = self._clock.seconds()
        left, since = self._unread
        if link.unsent_bytes != left:
            left, since = self._unread = link.unsent_bytes, now
        return now - max(since, self._unread_since) >= STUCK_S or now - self._unread_since + self._unread_s >= SLOW_S

    def tell_places(self, place: Callable[[int], Place]) -> bool:
        contents = self.contents()
        now = self._clock.seconds()
        count = len(contents)
        if self._told_until >= count:
            self._told_until = TOLD_FIRST
        from_here, self._told_until = self._told_until, self._told_until + TOLD_IN_TURN
        anew = TOLD_ANEW
        for nth, content in enumerate(contents):
            known = content in self._told
            if nth < TOLD_FIRST or from_here <= nth < self._told_until or (not known and anew > 0):
                self._tell(content, place(nth), now)
                anew -= not known
        return len(self._told) < len(contents)

    def _tell(self, content: ContentId, place: Place, now: float) -> None:
        told = self._told.get(content)
        if told is not None and told[0].position == place.position:
            before, at = told
            if now - at < ESTIMATE_S or not _differ(before.estimate_s, place.estimate_s):
                return
        self._told[content] = place, now
        self._outlet.say(wire.Queued(content, place.position, place.estimate_s))

    # --- Bytes -----------------------------------------------------------------------------------

    async def _open(self, run: _Run) -> Upload | None:
        try:
            if self.claims is None:
                return None
            return await self._uploads.open(self, self.claims, run.content, run.transfer, run.next_chunk)
        except (LookupError, NapError):
            self._outlet.say(wire.Gone(run.id))
            return None

    async def _send_run(self, upload: Upload, run: _Run) -> bool:
        """One header and its bytes per chunk; the next chunks are read while this one is sent.

        Returns whether the run is over; it is not if a more urgent one has come, the turn has ended, or the source has
        no more.
        """
        reader = self._uploads.reader(upload, range(run.next_chunk, run.end_chunk))
        try:
            while True:
                if run.cancelled:
                    self._outlet.say(wire.Cancelled(run.id))
                    return True
                chunk = run.next_chunk
                data = await reader.next()
                if len(data) != chunk_bytes(upload.size, chunk):
                    self._outlet.say(wire.Gone(run.id))
                    return True
                await self._send_chunk(upload, wire.Chunk(run.id, chunk, len(data)), data)
                self._told.pop(run.content, None)
                run.next_chunk += 1
                if run.next_chunk >= run.end_chunk:
                    return True
                if self._first() is not run:
                    # It is still the same turn: another file of the same connection has only come before this one.
                    self._file = None
                    return False
                if self._turns.is_over(self, run.rank):
                    return False
        except NoSuchThing:
            return False
        except NapError:
            # A disk that fails, or one that is too busy now: let others serve it.
            self._outlet.say(wire.Gone(run.id))
            return True
        finally:
            reader.stop()

    async def _send_chunk(self, upload: Upload, header: wire.Chunk, data: memoryview) -> None:
        link = self._outlet.begin_chunk(header)
        if link is None:
            return
        self._uploads.copies.sends(upload.content, header.chunk)
        while data:
            block = data[: self._uploads.block_bytes(self)]
            data = data[len(block) :]
            moved = self._uploads.pace(self, len(block))
            if moved is not None:
                await moved
            link.send_raw(block)
            self._uploads.sent(self, upload, len(block))
            await self._taken(link)
        self._outlet.end_chunk()

    async def _taken(self, link: SecureLink) -> None:
        """Returns when the other end has taken enough for more to be sent."""
        began = self._unread_since = self._clock.seconds()
        try:
            await self._outlet.drained(link)
        finally:
            self._unread_since = None
            self._unread_s += self._clock.seconds() - began


def _differ(before: float | None, after: float | None) -> bool:
    if before is None or after is None:
        return before is not after
    return abs(after - before) > ESTIMATE_CHANGE * before
