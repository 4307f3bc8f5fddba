"""Small contents, asked for ahead of their turn: many requests under way on one link, and bundles on the disk.

A content of one chunk takes a moment, and a turn of its own for each would be all waiting. So those that come next in
the queue are asked for while others are on their way, and what has come is written, synced and named together. To the
queue that is no difference: each still becomes active in its turn, and then done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ...background import Background
from ...content.digest import CHUNK_BYTES
from ...discovery.interface import Holder, Holders
from ...errors import SourceFailed
from ...model import DownloadState
from ..files.bundle import Parcel
from ..files.disk import Disk
from ..files.journal import Journal
from ..item import Item
from ..queue import Queue
from ..sources.pool import SourcePool
from ..sources.prospects import Prospects
from ..sources.source import Source, SourceState
from .crew import LOOK_S, PATIENCE_S, Conduct
from .flows import STUCK, WAITING_REQUESTS, Asked, Flow, Flows
from .incoming import held_bytes
from .landing import Landing, LandingOwner

#: Memory for what was asked for, or is here and not in a file yet.
MAX_HELD_BYTES = 32 << 20
#: Downloads of the queue that are looked at, from its beginning.
MAX_LINE = 512
#: Downloads that are looked at for one that a source with room could serve.
MAX_PASSED_OVER = 64
#: Seconds within which discovery should have told who holds a content whose turn has come.
ANSWER_S = 3.0


class AheadOwner(LandingOwner, Conduct, Protocol):
    """Whose downloads these are; implemented by `peer.fetch.scheduler`."""

    def received(self, size: int) -> None: ...
    def no_source(self, item: Item) -> None: ...


class Ahead:
    """A `SourceUser` and `Asker`. Small downloads that it `takes` have no run of their own.

    :param run: runs a function on a disk thread.
    """

    def __init__(
        self,
        *,
        clock: IReactorTime,
        owner: AheadOwner,
        queue: Queue,
        prospects: Prospects,
        sources: SourcePool,
        journal: Journal,
        disk: Disk,
        run: Callable[..., Deferred[Any]],
        background: Background,
    ) -> None:
        self._clock = clock
        self._owner = owner
        self._queue = queue
        self._prospects = prospects
        self._sources = sources
        self._landing = Landing(
            owner=owner, sources=sources, journal=journal, disk=disk, run=run, background=background
        )
        self._flows = Flows(clock, sources, self)
        # In the order of the queue: all that could land, and what of it is to be asked for.
        self._line: list[Item] = []
        self._plan: deque[Item] = deque()
        # By the id of the download; and the memory that the answers will take up.
        self._asked: dict[int, Asked] = {}
        self._asked_bytes = 0
        self._unanswered: dict[int, IDelayedCall] = {}
        self._soon: IDelayedCall | None = None
        self._look: IDelayedCall | None = None
        self._review_due = False
        self._stopped = False

    # --- For the owner ---------------------------------------------------------------------------

    def takes(self, item: Item) -> bool:
        """Whether this download is fetched here, in its turn and before."""
        return item.bare and item.size is not None and 0 < item.size <= CHUNK_BYTES

    def hopeless(self, item: Item) -> bool:
        """Whether nobody can be asked for it now, and nobody is about to be tried."""
        if self._has(item):
            return False
        found = self._prospects.holders(item.content)
        return found is not None and not any(self._promises(item, holder) for holder in found.holders)

    def started(self, item: Item) -> None:
        """Its turn has come."""
        self._stop_waiting(item)
        if self._prospects.holders(item.content) is None:
            self._unanswered[item.id] = self._clock.callLater(ANSWER_S, self._not_answered, item)

    def holders_changed(self, item: Item, found: Holders) -> None:
        self._stop_waiting(item)
        if item.id not in self._asked:
            self._review_soon()

    def _stop_waiting(self, item: Item) -> None:
        """Discovery has answered, or its turn has come once more, as it does after a pause."""
        timer = self._unanswered.pop(item.id, None)
        if timer is not None:
            timer.cancel()

    def review(self) -> None:
        """Look at the queue again: what is next, what is not wanted any more."""
        self._review_due = False
        if self._stopped:
            return
        self._line = self._next_in_line()
        wanted = {item.id for item in self._line}
        for asked in [asked for asked in self._asked.values() if asked.item.id not in wanted]:
            self._withdraw(asked)
        self._landing.keep_only(self._line)
        self._plan = deque(item for item in self._line if self.takes(item) and not self._has(item))
        self._make_way()
        for item in self._plan:
            if item.state is DownloadState.ACTIVE and self.hopeless(item):
                self._clock.callLater(0, self._give_up, item)
        self._ask()
        self._landing.begin(self._line)
        if not (self._plan or self._asked or self._landing):
            self._flows.leave_all()

    async def settled(self, item: Item) -> None:
        """Returns when no file of this download is at work."""
        await self._landing.settled(item)

    async def stop(self) -> None:
        """Ask for nothing more; returns when what is being written has ended."""
        self._stopped = True
        for call in (self._soon, self._look):
            if call is not None and call.active():
                call.cancel()
        for timer in self._unanswered.values():
            timer.cancel()
        for asked in list(self._asked.values()):
            self._withdraw(asked)
        await self._landing.all_settled()
        self._flows.leave_all()

    def _has(self, item: Item) -> bool:
        """Whether it was asked for, or has come."""
        return item.id in self._asked or item in self._landing

    @property
    def _held_bytes(self) -> int:
        """The memory for what was asked for, or is here and not in a file yet."""
        return self._asked_bytes + self._landing.held_bytes

    # --- The line --------------------------------------------------------------------------------

    def _next_in_line(self) -> list[Item]:
        """What would run if the small ones took no time: up to the last that others leave a turn to."""
        line = []
        others = 0
        for item in self._queue.runnable():
            line.append(item)
            others += not self.takes(item)
            if others >= self._owner.limit or len(line) >= MAX_LINE:
                break
        return line

    def _make_way(self) -> None:
        """What runs now is not behind what was asked for ahead of its turn, on the same link."""
        first = next((item for item in self._plan if item.state is DownloadState.ACTIVE), None)
        found = None if first is None else self._prospects.holders(first.content)
        for holder in () if found is None else found.holders:
            flow = self._flows.of(holder.peer)
            if flow is None or first is None or not self._promises(first, holder):
                continue
            for asked in list(flow.asked.values()):
                if asked.item.state is not DownloadState.ACTIVE:
                    self._withdraw(asked)
                    self._plan.append(asked.item)
        # Back into the order of the line.
        if found is not None:
            planned = {item.id for item in self._plan}
            self._plan = deque(item for item in self._line if item.id in planned)

    def _promises(self, item: Item, holder: Holder) -> bool:
        if holder.partial or not holder.addresses or self._owner.is_banned(item, holder.peer):
            return False
        source = self._sources.source(holder.peer)
        if source is None or source.state is SourceState.BACKING_OFF:
            return source is None or source.retry_at - self._clock.seconds() <= PATIENCE_S
        return source.state is not SourceState.UNREACHABLE

    def _give_up(self, item: Item) -> None:
        if self.takes(item) and self.hopeless(item):
            self._owner.no_source(item)

    def _not_answered(self, item: Item) -> None:
        del self._unanswered[item.id]
        if self.takes(item):
            self._owner.no_source(item)

    def _review_soon(self) -> None:
        self._review_due = True
        self._act_soon()

    def _act_soon(self) -> None:
        """Once for all that comes in one turn of the reactor."""
        if not self._stopped and (self._soon is None or not self._soon.active()):
            self._soon = self._clock.callLater(0, self._act)

    def _act(self) -> None:
        if self._review_due:
            self.review()
        else:
            self._ask()
            self._landing.begin(self._line)

    # --- Asking ----------------------------------------------------------------------------------

    def _ask(self) -> None:
        passed_over: list[Item] = []
        if not self._flows or any(flow.low() for flow in self._flows):
            while self._plan and len(passed_over) < MAX_PASSED_OVER:
                item = self._plan.popleft()
                size = item.size or 0
                # What runs is never kept waiting by what has come too early.
                if self._held_bytes + held_bytes(size) > MAX_HELD_BYTES and item.state is not DownloadState.ACTIVE:
                    passed_over.append(item)
                    break
                flow = self._choose(item)
                if flow is None:
                    passed_over.append(item)
                else:
                    self._ask_for(item, size, flow)
        self._plan.extendleft(reversed(passed_over))
        if self._look is None and self._flows:
            self._look = self._clock.callLater(LOOK_S, self._look_at_all)

    def _choose(self, item: Item, slower_than: int = STUCK + 1) -> Flow | None:
        found = self._prospects.holders(item.content)
        holders = [] if found is None else [holder for holder in found.holders if self._promises(item, holder)]
        return self._flows.choose(holders, slower_than=slower_than, active=item.state is DownloadState.ACTIVE)

    def _ask_for(self, item: Item, size: int, flow: Flow) -> None:
        session = flow.source.session
        if session is None:
            return
        asked = self._asked[item.id] = Asked(self, item, flow, size)
        flow.add(asked, self._clock.seconds())
        self._asked_bytes += held_bytes(size)
        asked.request = session.requests.get(item.content, 0, 1, item.transfer, asked, item.priority.rank)

    def _look_at_all(self) -> None:
        """Every now and then: what a slow source was asked for is asked of somebody else who has room for it."""
        self._flows.look()
        self._look = self._clock.callLater(LOOK_S, self._look_at_all) if self._flows else None
        for asked in [asked for asked in self._asked.values() if asked.flow.slowness]:
            other = self._choose(asked.item, asked.flow.slowness)
            if other is not None and not self._is_on_its_way(asked, other):
                self._withdraw(asked)
                self._review_soon()
        if self._plan:
            # Somebody may have been dialled for long enough, or may be joined now; or nobody is left.
            self._review_soon()

    @staticmethod
    def _is_on_its_way(asked: Asked, other: Flow) -> bool:
        """Whether its bytes come, and asking somebody else would lose them for a promise."""
        session = asked.flow.source.session
        if session is None or asked.request is None or session.doubtful:
            return False
        return session.requests.is_coming(asked.request) and (not asked.flow.crawling or other.let_down)

    def _withdraw(self, asked: Asked) -> None:
        """It is not wanted any more, or not of this source."""
        self._forget(asked)
        session = asked.flow.source.session
        if session is not None and asked.request is not None:
            session.requests.cancel(asked.request)

    def _forget(self, asked: Asked) -> None:
        del self._asked[asked.item.id]
        asked.flow.remove(asked, self._clock.seconds())
        self._asked_bytes -= held_bytes(asked.size)

    # --- What comes ------------------------------------------------------------------------------

    def came(self, asked: Asked, data: bytes | memoryview) -> None:
        self._forget(asked)
        flow, item, size = asked.flow, asked.item, len(data)
        if flow.waiting:
            # It was told for something that is not wanted of it any more.
            self.place_told(flow, None)
        flow.let_down = False
        flow.widen(size, self._clock.seconds())
        self._owner.received(size)
        item.bytes_received += size
        self._landing.came(Parcel(item, data, flow.source.peer))
        self._act_soon()

    def refused(self, asked: Asked, failure: SourceFailed) -> None:
        self._forget(asked)
        asked.flow.let_down = True
        session = asked.flow.source.session
        if session is not None and session.alive:
            self._owner.ban(asked.item, asked.flow.source.peer, failure)
        self._review_soon()

    def place_told(self, flow: Flow, position: int | None) -> None:
        """While a source makes us wait, most of what it was asked for may be had from others."""
        if flow.waiting is (position is not None):
            return
        flow.waiting = position is not None
        if flow.waiting:
            for asked in list(flow.asked.values())[WAITING_REQUESTS:]:
                self._withdraw(asked)
        self._review_soon()

    # --- SourceUser ------------------------------------------------------------------------------

    def source_ready(self, source: Source) -> None:
        """Told again and again: whenever another download has left it, too."""
        flow = self._flows.of(source.peer)
        if flow is not None and flow.renew():
            self._review_soon()

    def source_lost(self, source: Source, failure: SourceFailed) -> None:
        """What it was asked for was told apart (`refused`)."""
        self._review_soon()
