"""One source at work for one download: what is asked of it, and what it may be asked next."""

from __future__ import annotations

from typing import Protocol

from attrs import define, field

from ..errors import SourceFailed
from ..model import ContentId
from ..wire.peer import MAX_RUN
from .fetching import GetRequest
from .picker import Picker
from .rates import RateMeter
from .sources import Source

#: Chunks asked of a source at once to begin with, and at most; a source that keeps up is given more.
FIRST_WINDOW = 4
LAST_WINDOW = 16


class LaneOwner(Protocol):
    """The download that a lane works for."""

    def chunk_came(self, lane: Lane, chunk: int, data: bytes) -> None: ...
    def lane_moved(self, lane: Lane) -> None:
        """The lane can take more, or must wait its turn now."""

    def lane_failed(self, lane: Lane, failure: SourceFailed) -> None:
        """This source will not serve this content; its link may be fine."""


@define(eq=False)
class Lane:
    """A `Receiver` of chunks from one source. `position` is our place in its queue while it makes us wait."""

    owner: LaneOwner
    source: Source
    content: ContentId
    transfer: str
    position: int | None = None
    in_flight: int = 0
    served: int = 0
    #: Asked for the outline or a group of digests, which has not come.
    asking: bool = False
    meter: RateMeter = field(factory=RateMeter)
    _window: int = FIRST_WINDOW
    _requests: dict[int, GetRequest] = field(factory=dict)
    _picker: Picker | None = None

    @property
    def room(self) -> int:
        """How many more chunks it may be asked for now."""
        return 0 if self.position is not None else max(0, self._window - self.in_flight)

    def ask(self, picker: Picker, below: int, most: int) -> bool:
        """Ask for one more run; False if there is none for this source.

        Half a window at a time, so that the next request is on its way before the last is served.
        """
        session = self.source.session
        if session is None:
            return False
        run = picker.take(self, min(most, self.room, max(1, self._window // 2), MAX_RUN), below)
        if run is None:
            return False
        first, count = run
        self._picker = picker
        self.in_flight += count
        request = session.get(self.content, first, count, self.transfer, self)
        self._requests[request.id] = request
        return True

    def ask_blind(self) -> bool:
        """Ask for the only chunk of a content whose manifest is not needed."""
        session = self.source.session
        if session is None:
            return False
        self.in_flight += 1
        request = session.get(self.content, 0, 1, self.transfer, self)
        self._requests[request.id] = request
        return True

    def unwanted(self, chunk: int) -> None:
        """Somebody else delivered it: cancel the request if nothing else is left of it."""
        session = self.source.session
        for request in list(self._requests.values()):
            if request.next_chunk == chunk and request.end_chunk == chunk + 1:
                del self._requests[request.id]
                self.in_flight -= 1
                if session is not None:
                    session.cancel(request)

    def stop(self) -> None:
        """Nothing more is wanted of this source for this download."""
        session = self.source.session
        requests, self._requests = self._requests, {}
        for request in requests.values():
            if session is not None:
                session.cancel(request)
        self.in_flight = 0
        if self._picker is not None:
            self._picker.release_all(self)
            # Its source may keep a cancelled request for long; it must not keep the whole download with it.
            self._picker = None

    # --- Receiver --------------------------------------------------------------------------------

    def chunk_came(self, chunk: int, data: bytes) -> None:
        self.in_flight -= 1
        self.served += 1
        if self._window < LAST_WINDOW:
            self._window += 1
        self._requests = {number: r for number, r in self._requests.items() if r.next_chunk < r.end_chunk}
        self.owner.chunk_came(self, chunk, data)

    def get_ended(self, failure: SourceFailed | None) -> None:
        if failure is not None and self.source.session is not None and self.source.session.alive:
            self.owner.lane_failed(self, failure)

    def place_told(self, position: int | None) -> None:
        """While it makes us wait, others may have what it was asked for; once it serves, the rest is its own again."""
        self.position = position
        picker = self._picker
        if picker is not None:
            for request in self._requests.values():
                for chunk in range(request.next_chunk, request.end_chunk):
                    if position is None:
                        picker.claim(self, chunk)
                    else:
                        picker.release(self, chunk)
        self.owner.lane_moved(self)
