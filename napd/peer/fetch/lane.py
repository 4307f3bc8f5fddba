"""One source at work for one download: what is asked of it, and what it may be asked next."""

from __future__ import annotations

import math
from typing import Protocol

from attrs import define, field

from ...content.digest import CHUNK_BYTES
from ...errors import SourceFailed
from ...model import ContentId
from ...wire.peer import MAX_RUN
from ..picker import Picker
from ..rates import RateMeter
from ..sources.source import Source
from .in_flight import InFlight
from .requests import GetRequest
from .swarm import Swarm
from .window import Window

#: The last so many chunks are asked for one by one: each can then be given to another or cancelled by itself.
SINGLES = 32
#: Refusals in a row by a source that says that it has what it was asked for, after which it is left.
MAX_REFUSALS = 8
#: Chunks that one who has all is asked for at a time, one by one, where others fetch the same: it sends first what it
#: has sent to the fewest, and what it has not begun another may have by then.
SWARM_WINDOW = 6
#: One of unknown pace gets the benefit of the doubt: it should need only this long for a chunk. So it gets measured.
HOPED_S = 0.5
#: One of unknown pace that has sent nothing for so many seconds is late.
LATE_S = 2.0


class LaneOwner(Protocol):
    """The download that a lane works for."""

    @property
    def rank(self) -> int:
        """How urgent the download is just now: `Priority.rank`."""

    def room_for(self, lane: Lane) -> int:
        """How many chunks it may be asked for in all, beside what is asked of others and not journalled yet."""

    def chunk_came(self, lane: Lane, chunk: int, data: bytes | memoryview) -> None: ...
    def lane_moved(self, lane: Lane) -> None:
        """The lane can take more, or must wait its turn now."""

    def lane_failed(self, lane: Lane, failure: SourceFailed) -> None:
        """This source will not serve this content; its link may be fine."""

    def have_told(self, lane: Lane, group: int, bits: int) -> None:
        """The source has these chunks of a group now."""

    def lacked(self, lane: Lane, chunk: int) -> None:
        """The source does not have this chunk after all."""

    def whole_told(self, lane: Lane) -> None:
        """The source has all of it."""


@define(eq=False)
class Lane:
    """A `Receiver` of chunks from one source, and a `Watcher` of what it has.

    `doubtful`: it owes and sends nothing. `crawling`: far slower than the best. `alone`: on parole, one chunk at once.
    """

    owner: LaneOwner
    source: Source
    content: ContentId
    transfer: str
    #: Bytes per second that it gave in the past, until this session has measured it.
    expected_per_s: float | None = None
    doubtful: bool = False
    crawling: bool = False
    alone: bool = False
    #: It is fetching the content itself, and serves what it has of it.
    partial: bool = False
    #: It has all of it, and others fetch it too, or may.
    shared_out: bool = False
    #: How many chunks it has, if it has only parts.
    parts: int = 0
    served: int = 0
    #: Bytes per second that its source is expected to give; looked at now and then.
    score: float = 0.0
    #: Asked for the outline or a group of digests, which has not come.
    asking: bool = False
    #: Looks at it (`crew.LOOK_S` apart) since then.
    looks: int = 0
    meter: RateMeter = field(factory=RateMeter)
    #: There was nothing left to ask of it when it was looked at last.
    _sated: bool = False
    _window: Window = field(init=False)
    _in_flight: InFlight = field(init=False)
    #: It makes us wait: others may have what it was asked for.
    _lent: bool = False
    _watch: int | None = None
    _refusals: int = 0

    def __attrs_post_init__(self) -> None:
        self._in_flight = InFlight(self, self.source)
        self._window = Window.of(self.pace_per_s)
        self.source.workers.add(self)
        self.press()

    # --- How it does -----------------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """Chunks that it was asked for and that are still wanted of it."""
        return len(self._in_flight)

    @property
    def position(self) -> int | None:
        """Our place in its queue while it makes us wait for something that is still wanted of it."""
        session = self.source.session
        return None if session is None else session.requests.position(self.content)

    @property
    def estimate_s(self) -> float | None:
        """For how long it makes us wait in its queue yet, as it expects; None if it does not, or does not say."""
        session = self.source.session
        return None if session is None else session.requests.estimate_s(self.content)

    @property
    def waits(self) -> bool:
        """Nothing comes for now: others may have what it was asked for."""
        session = self.source.session
        return session is None or not session.alive or self.doubtful or self.position is not None

    @property
    def window(self) -> int:
        """How many chunks it may be asked for at a time."""
        if self.alone:
            return 1
        if self.shared_out:
            return max(self._window.chunks, SWARM_WINDOW)
        return 1 if self.crawling else self._window.chunks

    @property
    def room(self) -> int:
        """How many more chunks it may be asked for now."""
        return 0 if self.waits or self.held_back else max(0, self.window - self.in_flight)

    @property
    def bytes_per_s(self) -> float | None:
        """What its source gives while it owes something, to all downloads; None while that is not known."""
        session = self.source.session
        return None if session is None else session.throughput.per_s()

    @property
    def pace_per_s(self) -> float | None:
        """The same, or what it gave in the past while it is not measured anew."""
        measured = self.bytes_per_s
        return self.expected_per_s if measured is None else measured

    def eta_s(self, chunk: int) -> float:
        """Seconds in which it should have delivered this chunk, which it was asked for."""
        session = self.source.session
        if self.waits or session is None:
            return math.inf
        rate = self.bytes_per_s
        if rate is None:
            return math.inf if session.stuck_s >= LATE_S else 0.0
        return math.inf if rate == 0 else (self._in_flight.before(chunk) + 1) * CHUNK_BYTES / rate

    @property
    def next_eta_s(self) -> float:
        """Seconds in which it should deliver one more chunk."""
        pace = self.pace_per_s
        if pace is None:
            return HOPED_S
        return math.inf if pace == 0 else (self.in_flight + 1) * CHUNK_BYTES / pace

    # --- Asking ----------------------------------------------------------------------------------

    def ask(self, picker: Picker, below: int, most: int, swarm: Swarm) -> bool:
        """Ask for one more run; False if there is none for this source.

        Half a window at a time, so that the next request is on its way before the last is served; and not less, which
        would cost both ends a message, a look-up and a wait for the disk with each chunk.
        """
        session = self.source.session
        run_length = self._run_length(picker)
        if session is None or self.room < run_length:
            return False
        most = min(most, self.room, run_length, MAX_RUN)
        run = picker.take(self, most, below, self.sooner, swarm=swarm, partial=self.partial)
        if run is None:
            self.be_sated(True)
            return False
        first, count = run
        self._in_flight.picker = picker
        self.be_sated(False)
        loose = self.shared_out
        request = session.requests.get(self.content, first, count, self.transfer, self, self.owner.rank, loose=loose)
        self._take_on(request)
        return True

    def _run_length(self, picker: Picker) -> int:
        return 1 if picker.left <= SINGLES or self.shared_out else max(1, self.window // 2)

    def has_room(self, picker: Picker) -> bool:
        """Whether it can be asked for one more run."""
        return self.room >= self._run_length(picker)

    def sooner(self, other: object, chunk: int) -> float:
        """By how many seconds this lane should beat another one that was asked for this chunk."""
        if not isinstance(other, Lane) or math.isinf(self.next_eta_s):
            return 0.0
        return other.eta_s(chunk) - 1.25 * self.next_eta_s

    def ask_blind(self) -> bool:
        """Ask for the only chunk of a content whose manifest is not needed."""
        session = self.source.session
        if session is None:
            return False
        request = session.requests.get(self.content, 0, 1, self.transfer, self, self.owner.rank)
        self._take_on(request)
        return True

    def _take_on(self, request: GetRequest) -> None:
        if not self.in_flight:
            # It is asked anew, and has not made us wait for this yet.
            self._lent = False
        self._in_flight.add(request)

    def stop(self) -> None:
        """Nothing more is wanted of this source for this download."""
        self._unwatch()
        self._in_flight.drop_all()
        if self in self.source.workers:
            self.source.workers.remove(self)

    def trim(self) -> None:
        """Take back what has not begun to come; the chunk that is on its way is kept."""
        self._in_flight.trim()

    def give_up(self, chunk: int) -> bool:
        """Take this one back, unless it has begun to come, or is not the only one of its request."""
        return self._in_flight.give_up(chunk)

    def reject(self, chunk: int) -> None:
        """It sent this one wrong: from now on it is asked for one at a time, so that little is lost."""
        self.alone = True
        self._in_flight.release(chunk)
        self.trim()

    def unwanted(self) -> None:
        """Somebody else delivered what it was asked for: cancel the requests of which nothing else is left."""
        self._in_flight.drop_verified()

    # --- What it has -----------------------------------------------------------------------------

    def watch(self) -> bool:
        """Have a source that has only parts tell which; whether it can."""
        session = self.source.session
        if self._watch is None and session is not None:
            self._watch = session.requests.watch(self.content, self)
        return self._watch is not None

    def _unwatch(self) -> None:
        session, watch, self._watch = self.source.session, self._watch, None
        if session is not None and watch is not None:
            session.requests.unwatch(watch)

    def is_whole(self) -> None:
        """It has all of it by now."""
        self.partial = False
        self._unwatch()

    def have_told(self, group: int, bits: int) -> None:
        self.owner.have_told(self, group, bits)

    def whole_told(self) -> None:
        self._watch = None
        self.owner.whole_told(self)

    def watch_ended(self, failure: SourceFailed) -> None:
        self._watch = None
        self.owner.lane_failed(self, failure)

    # --- Beside other downloads from the same source ---------------------------------------------

    @property
    def rank(self) -> int:
        return self.owner.rank

    @property
    def presses(self) -> bool:
        return not (self._sated or self.waits or self.alone or self.crawling)

    @property
    def held_back(self) -> bool:
        """A more urgent download takes all that the source gives."""
        return self.source.workers.is_held_back(self)

    def give_way(self) -> None:
        # One that waits in its source's line keeps its place there.
        if not self.waits:
            self.trim()

    def go_on(self) -> None:
        self.owner.lane_moved(self)

    def be_sated(self, sated: bool) -> None:
        """Whether there is nothing that it could be asked for now."""
        if sated != self._sated:
            self._sated = sated
            if sated:
                self.source.workers.let_others_go_on(self)
            else:
                self.press()

    def press(self) -> None:
        """What is less urgent gives way; also when that has only now become so."""
        self.source.workers.press(self)

    # --- Waiting ---------------------------------------------------------------------------------

    def doubt(self, doubtful: bool) -> None:
        """It owes something and has sent nothing for a while; or it has gone on."""
        if not self.waits:
            # What others might have had of it is not in flight any more.
            self._lent = False
        self.doubtful = doubtful
        self._waits_or_serves()

    def _waits_or_serves(self) -> None:
        """While it makes us wait, others may have what it was asked for; once it serves, it takes up the rest."""
        if self.waits == self._lent:
            return
        self._lent = self.waits
        if self._lent:
            self.source.workers.let_others_go_on(self)
            self._in_flight.lend()
        else:
            self.press()
            self._in_flight.take_up(self.owner.room_for(self))

    # --- Receiver --------------------------------------------------------------------------------

    def chunk_came(self, chunk: int, data: bytes | memoryview) -> None:
        self.served += 1
        self._refusals = 0
        self._window.widen(self.pace_per_s)
        self._in_flight.came()
        self.owner.chunk_came(self, chunk, data)
        self.unwanted()

    def get_ended(self, failure: SourceFailed | None) -> None:
        if failure is not None and self.partial and failure.code == "gone":
            self._lacks()
        elif failure is not None and self.source.session is not None and self.source.session.alive:
            self.owner.lane_failed(self, failure)

    def _lacks(self) -> None:
        """It does not have what it was asked for (any more, or has never had): only that is over."""
        for chunk in self._in_flight.drop_refused():
            self.owner.lacked(self, chunk)
        self._refusals += 1
        if self._refusals >= MAX_REFUSALS:
            self.owner.lane_failed(self, SourceFailed("it does not have what it says it has", code="refused"))
        else:
            self.owner.lane_moved(self)

    def place_told(self, position: int | None) -> None:
        self._waits_or_serves()
        self.owner.lane_moved(self)
