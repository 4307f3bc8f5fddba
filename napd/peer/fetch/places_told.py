"""Where one source says that we wait: by content, with the estimate that it gave. Pure; the caller brings the time."""

from __future__ import annotations

from attrs import define, field, frozen

from ...model import ContentId
from ...wire.peer import Queued


@frozen
class _Place:
    position: int
    estimate_s: float | None
    told_at: float


@define
class PlacesTold:
    """Contents that wait in the source's queue."""

    _places: dict[ContentId, _Place] = field(factory=dict)

    def __contains__(self, content: ContentId) -> bool:
        return content in self._places

    def told(self, message: Queued, now: float) -> bool:
        """Whether the place is another than before."""
        content = ContentId(message.content)
        before = self.position(content)
        self._places[content] = _Place(message.position, message.estimate_s, now)
        return message.position != before

    def is_over(self, content: ContentId) -> bool:
        """It waits no more; whether it did."""
        return self._places.pop(content, None) is not None

    def position(self, content: ContentId) -> int | None:
        place = self._places.get(content)
        return None if place is None else place.position

    def estimate_s(self, content: ContentId, now: float) -> float | None:
        """For how long yet, as the source expects; None if it does not say."""
        place = self._places.get(content)
        if place is None or place.estimate_s is None:
            return None
        return max(0.0, place.told_at + place.estimate_s - now)
