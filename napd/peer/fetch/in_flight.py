"""What one source was asked for and is still wanted of it: requests, and the picker's marks of them, kept in step."""

from __future__ import annotations

from collections.abc import Hashable

from attrs import define, field

from ..picker import Picker
from ..sources.source import Source
from .requests import GetRequest


@define(eq=False)
class InFlight:
    """Of one lane, as which the picker knows it (`owner`). Without a picker, of a content of one chunk alone."""

    owner: Hashable
    source: Source
    picker: Picker | None = None
    _requests: dict[int, GetRequest] = field(factory=dict)

    def __len__(self) -> int:
        return sum(request.left for request in self._requests.values())

    def before(self, chunk: int) -> int:
        """How many come before this one, which is among them."""
        ahead = 0
        for request in self._requests.values():
            if request.next_chunk <= chunk < request.wanted_end:
                return ahead + chunk - request.next_chunk
            ahead += request.left
        return ahead

    def add(self, request: GetRequest) -> None:
        self._requests[request.id] = request

    def came(self) -> None:
        """A chunk has come; what is answered in full goes."""
        self._requests = {number: request for number, request in self._requests.items() if request.left}

    # --- Taking back -----------------------------------------------------------------------------

    def drop_all(self) -> None:
        """Nothing of it is wanted any more."""
        session = self.source.session
        requests, self._requests = self._requests, {}
        for request in requests.values():
            if session is not None:
                session.requests.cancel(request)
        if self.picker is not None:
            self.picker.release_all(self.owner)
            # Its source may keep a cancelled request for long; it must not keep the whole download with it.
            self.picker = None

    def trim(self) -> None:
        """Take back what has not begun to come; the chunk that is on its way is kept."""
        session = self.source.session
        if session is None:
            return
        for request in list(self._requests.values()):
            before = range(request.next_chunk, request.wanted_end)
            session.requests.cancel(request, but_current=True)
            self.release(*before[request.left :])
            if not request.left:
                del self._requests[request.id]

    def give_up(self, chunk: int) -> bool:
        """Take this one back, unless it has begun to come, or is not the only one of its request."""
        session = self.source.session
        if session is None or self.picker is None:
            return False
        for request in list(self._requests.values()):
            if (request.next_chunk, request.wanted_end) != (chunk, chunk + 1):
                continue
            session.requests.cancel(request, but_current=True)
            if not request.left:
                del self._requests[request.id]
                self.picker.release(self.owner, chunk)
                return True
        return False

    def drop_verified(self) -> None:
        """Somebody else delivered some of it: cancel the requests of which nothing else is left."""
        session, picker = self.source.session, self.picker
        if session is None or picker is None:
            return
        for request in list(self._requests.values()):
            if all(picker.is_verified(chunk) for chunk in _wanted(request)):
                del self._requests[request.id]
                session.requests.cancel(request)

    def drop_refused(self) -> list[int]:
        """The source does not answer some of it: the first chunk of each such request."""
        refused = [request for request in self._requests.values() if request.refused]
        for request in refused:
            del self._requests[request.id]
            self.release(*_wanted(request))
        return [request.next_chunk for request in refused]

    # --- Waiting ---------------------------------------------------------------------------------

    def lend(self) -> None:
        """While nothing comes, others may have it."""
        for request in self._requests.values():
            self.release(*_wanted(request))

    def take_up(self, room: int) -> None:
        """It is the source's own again, but that for which there is no room any more, and that of which others have, or
        were asked for, everything meanwhile.
        """
        session, picker = self.source.session, self.picker
        if picker is None:
            return
        for request in list(self._requests.values()):
            chunks = _wanted(request)
            claimed = [chunk for chunk in chunks if picker.claim(self.owner, chunk)] if request.left <= room else []
            if not claimed and session is not None:
                session.requests.cancel(request, but_current=room > 0)
                for chunk in chunks[: request.left]:
                    picker.claim(self.owner, chunk)
            if not request.left:
                del self._requests[request.id]
            room -= request.left

    def release(self, *chunks: int) -> None:
        """Others may be asked for these."""
        if self.picker is not None:
            for chunk in chunks:
                self.picker.release(self.owner, chunk)


def _wanted(request: GetRequest) -> range:
    return range(request.next_chunk, request.wanted_end)
