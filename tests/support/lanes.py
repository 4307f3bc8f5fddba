"""What a lane needs of its source's session, without a link: it remembers what it was asked for."""

from __future__ import annotations

from typing import Any

from attrs import define, field

from napd.model import ContentId
from napd.peer.fetch.lane import Lane
from napd.peer.fetch.requests import GetRequest
from napd.peer.sources.throughput import Throughput


@define
class FakeRequests:
    """Of one content; `place`: what the source told last."""

    asked: list[GetRequest] = field(factory=list)
    place: int | None = None

    def get(
        self, content: ContentId, first: int, count: int, transfer: str, receiver: Any, *_: Any, **more: Any
    ) -> GetRequest:
        if not self._wanted():
            self.place = None
        self.asked.append(GetRequest(len(self.asked), content, first, first + count, first + count, receiver))
        return self.asked[-1]

    def cancel(self, request: GetRequest, *, but_current: bool = False) -> None:
        request.wanted_end = request.next_chunk

    def position(self, content: ContentId) -> int | None:
        return self.place if self._wanted() else None

    def estimate_s(self, content: ContentId) -> float | None:
        return None

    def watch(self, content: ContentId, watcher: Any) -> int:
        return 1

    def _wanted(self) -> bool:
        return any(request.left for request in self.asked)


@define
class FakeSession:
    alive: bool = True
    doubtful: bool = False
    stuck_s: float = 0.0
    throughput: Throughput = field(factory=Throughput)
    requests: FakeRequests = field(factory=FakeRequests)


def tell_place(lane: Lane, position: int | None) -> None:
    """The source of this lane says that it makes us wait; None: that it does not any more."""
    session: Any = lane.source.session
    session.requests.place = position
    lane.place_told(position)
