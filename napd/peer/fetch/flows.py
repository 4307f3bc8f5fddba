"""The sources at work for small downloads: how many, which of them, and until when.

One is enough as long as it has room. Of the others that hold a content the best is joined when none that is joined can
take a request for it, and none is about to; one that was asked for nothing for a while is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from ...content.digest import CHUNK_BYTES
from ...discovery.interface import Holder
from ...errors import SourceFailed
from ...model import PeerId
from ..item import Item
from ..sources.pool import SourcePool
from ..sources.scoring import choose, score
from ..sources.source import Source, SourceState, SourceUser
from ..sources.throughput import crawls
from .fetching import FetchSession
from .lane import LATE_S
from .recruits import HEAD_START_S
from .requests import GetRequest

#: Sources at work at a time for all small downloads together; only what runs now may have more, if all are busy.
MAX_FLOWS = 64
#: Seconds without a request after which a source is left.
IDLE_S = 5.0
#: Requests under way on one link; so many again are left for big downloads from the same source.
MAX_REQUESTS = 128
#: Requests that stay in the line of a source that makes us wait; the others may be asked of somebody else.
WAITING_REQUESTS = 8
#: Bytes asked for of one source: at first, and at most. The window grows by what comes, up to what the source sends in
#: so many seconds: what becomes urgent has to wait for it.
FIRST_WINDOW_BYTES = 256 << 10
LAST_WINDOW_BYTES = 8 << 20
WINDOW_S = 0.5
#: What a source that was not measured yet is taken to give, beside one that may crawl.
UNKNOWN_BYTES_PER_S = CHUNK_BYTES / LATE_S
#: The slowness of a source from which nothing comes; whoever may be as slow as that may be anybody.
STUCK = 2


class Asker(Protocol):
    """Who hears what becomes of a request; implemented by `peer.fetch.ahead`."""

    def came(self, asked: Asked, data: bytes | memoryview) -> None: ...
    def refused(self, asked: Asked, failure: SourceFailed) -> None: ...
    def place_told(self, flow: Flow, position: int | None) -> None: ...


@define(eq=False)
class Asked:
    """One request: a `Receiver`. `size`: as claimed."""

    asker: Asker
    item: Item
    flow: Flow
    size: int
    request: GetRequest | None = None

    def chunk_came(self, chunk: int, data: bytes | memoryview) -> None:
        self.asker.came(self, data)

    def get_ended(self, failure: SourceFailed | None) -> None:
        if failure is not None:
            self.asker.refused(self, failure)

    def place_told(self, position: int | None) -> None:
        self.asker.place_told(self.flow, position)


@define(eq=False)
class Flow:
    """One source at work for many small downloads.

    `session`: whose window this is, and whose line we wait in. `asked`: by the id of the download. `waiting`: the last
    that was heard of any of them is that it has to wait; that others still have their places there does not matter.
    """

    source: Source
    joined_at: float
    touched_at: float
    session: FetchSession | None = None
    window: int = FIRST_WINDOW_BYTES
    asked: dict[int, Asked] = field(factory=dict)
    asked_bytes: int = 0
    waiting: bool = False
    crawling: bool = False
    #: It refused what it was asked for last.
    let_down: bool = False

    def add(self, asked: Asked, now: float) -> None:
        self.asked[asked.item.id] = asked
        self.asked_bytes += asked.size
        self.touched_at = now

    def remove(self, asked: Asked, now: float) -> None:
        del self.asked[asked.item.id]
        self.asked_bytes -= asked.size
        self.touched_at = now

    def widen(self, size: int, now: float) -> None:
        """So much has come."""
        self.source.meter.add(size, now)
        enough = max(FIRST_WINDOW_BYTES, int(self.source.meter.per_s(now) * WINDOW_S))
        self.window = min(LAST_WINDOW_BYTES, self.window + size, enough)

    def renew(self) -> bool:
        """Whether its link is a new one: then nothing of what was known of the last one holds."""
        if self.session is self.source.session:
            return False
        self.session = self.source.session
        self.waiting = False
        self.window = FIRST_WINDOW_BYTES
        return True

    def room(self) -> bool:
        """A quarter of the window at a time: requests go out, and are heard, several together."""
        session = self.source.session
        if session is None or not session.alive:
            return False
        if self.waiting:
            return len(self.asked) < WAITING_REQUESTS
        return len(self.asked) < MAX_REQUESTS and self.asked_bytes < self.window

    def low(self) -> bool:
        return len(self.asked) <= MAX_REQUESTS * 3 // 4 and self.asked_bytes <= self.window * 3 // 4

    @property
    def slowness(self) -> int:
        """0: none; 1: it crawls; 2: nothing comes, since it makes us wait in its queue, or is stuck."""
        session = self.source.session
        if self.waiting or (session is not None and session.doubtful):
            return STUCK
        return int(self.crawling)

    @property
    def pace(self) -> float | None:
        """Bytes per second that it gives; None while that is not known, or is what our own limit lets through."""
        session = self.source.session
        return None if session is None or session.throttled else session.throughput.per_s()

    @property
    def connecting(self) -> bool:
        return self.source.state is SourceState.CONNECTING

    @property
    def occupies(self) -> bool:
        """Whether it takes up a place: it serves, or is about to."""
        return self.connecting or (self.source.state is SourceState.READY and not self.slowness)

    @property
    def owes(self) -> tuple[int, int]:
        return self.slowness, self.asked_bytes


class Flows:
    """All of them, for one user of the sources."""

    def __init__(self, clock: IReactorTime, sources: SourcePool, user: SourceUser) -> None:
        self._clock = clock
        self._sources = sources
        self._user = user
        self._flows: dict[PeerId, Flow] = {}

    def __iter__(self) -> Iterator[Flow]:
        return iter(list(self._flows.values()))

    def __len__(self) -> int:
        return len(self._flows)

    def of(self, peer: PeerId) -> Flow | None:
        return self._flows.get(peer)

    def choose(self, holders: Sequence[Holder], *, slower_than: int = STUCK + 1, active: bool = False) -> Flow | None:
        """Of those that can take a request now, and are less slow than this, the one that owes us least.

        If there is none, and none is about to be ready, one more is joined.

        :param holders: of one content; those that may be asked. :param active: its turn has come.
        """
        joined = [flow for holder in holders if (flow := self._flows.get(holder.peer)) is not None]
        flow = _least_owing(joined, slower_than)
        if flow is None and not any(self._is_awaited(flow) for flow in joined):
            self._join_best_of([holder for holder in holders if holder.peer not in self._flows], joined, active)
            flow = _least_owing([flow for holder in holders if (flow := self._flows.get(holder.peer))], slower_than)
        return flow

    def _is_awaited(self, flow: Flow) -> bool:
        """It is being dialled, and has not had its time yet."""
        return flow.connecting and self._clock.seconds() - flow.joined_at < HEAD_START_S

    def _join_best_of(self, holders: Sequence[Holder], joined: Sequence[Flow], active: bool) -> None:
        """If there is a place: at most as many are at work for a content as for any other download."""
        places = self._sources.places
        if not holders or sum(flow.occupies for flow in joined) >= places:
            return
        if len(joined) >= 2 * places and not self._leave_one_of(joined):
            return
        if len(self._flows) >= MAX_FLOWS and not self._leave_one_of(list(self)) and not active:
            return
        usable = [holder for holder in holders if self._sources.may_be_tried(holder.addresses)]
        by_peer = {holder.peer: holder for holder in usable or holders}
        for peer in choose({peer: score(self._sources.facts(peer)) for peer in by_peer}, 1):
            source = self._sources.want(by_peer[peer])
            now = self._clock.seconds()
            self._flows[peer] = Flow(source, now, now)
            self._sources.join(source, self._user)

    def _leave_one_of(self, flows: Sequence[Flow]) -> bool:
        """The one that was asked for nothing for longest; False if all are at work, or about to be."""
        idle = [flow for flow in flows if not flow.asked and not flow.connecting]
        if not idle:
            return False
        self._leave(min(idle, key=lambda flow: flow.touched_at))
        return True

    def look(self) -> None:
        """Every now and then: who crawls, and who is not needed any more."""
        paces = [(_pace(flow), flow) for flow in self if flow.room()]
        paces.sort(key=lambda pair: -pair[0])
        for flow in self:
            best = next((pace for pace, other in paces if other is not flow), UNKNOWN_BYTES_PER_S)
            flow.crawling = crawls(flow.pace, best, before=flow.crawling)
        now = self._clock.seconds()
        for flow in self:
            if not flow.asked and not flow.connecting and now - flow.touched_at >= IDLE_S:
                self._leave(flow)

    def leave_all(self) -> None:
        for flow in self:
            self._leave(flow)

    def _leave(self, flow: Flow) -> None:
        del self._flows[flow.source.peer]
        self._sources.leave(flow.source, self._user)


def _pace(flow: Flow) -> float:
    return UNKNOWN_BYTES_PER_S if flow.pace is None else flow.pace


def _least_owing(flows: Sequence[Flow], slower_than: int) -> Flow | None:
    able = [flow for flow in flows if flow.room() and flow.slowness < slower_than]
    return min(able, key=lambda flow: flow.owes, default=None)
