"""Learning what a download's chunks have to be: its outline and its groups of digests, from any source that tells."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from twisted.internet.defer import Deferred, fail, succeed

from ...background import Background
from ...content.digest import CHUNK_BYTES
from ...content.manifest import Manifest, Outline
from ...errors import IntegrityFailure, NapError, SourceFailed
from ...model import ContentId
from ..files.received import Received
from .lane import Lane

#: Looks after which a manifest that has not come is asked of another source, too.
LATE_LOOKS = 5

#: Raw bytes with what stands in their header: (size, group digests) or (0, chunk digests).
_Answer = Deferred[tuple[int, bytes]]


class LearningOwner(Protocol):
    """Whose sources are asked; implemented by `peer.fetch.crew`."""

    def outline_learnt(self, journalled: Deferred[None]) -> None: ...
    def group_learnt(self, journalled: Deferred[None]) -> None: ...
    def lane_failed(self, lane: Lane, failure: SourceFailed) -> None:
        """This source refused, or lied about the content."""

    @property
    def over(self) -> bool:
        """Nothing is of interest any more."""


class Learning:
    """The manifest of one download: asked of one source at a time, and checked against the content id."""

    def __init__(self, owner: LearningOwner, content: ContentId, received: Received, background: Background) -> None:
        self._owner = owner
        self._content = content
        self._received = received
        self._background = background
        #: What discovery says of the size, while nothing better is known.
        self.size_claim: int | None = None
        self._loading = False

    def learn_outline(self, lane: Lane, lanes: Iterable[Lane]) -> None:
        """Ask for size and digests, with the first group's along; a content of one chunk needs neither."""
        # One that makes us wait does not keep others from being asked; one that is slow, a single other one.
        busy = [other for other in lanes if not other.waits and (other.asking or other.in_flight)]
        hedges = len(busy) == 1 and (_is_late(busy[0]) if busy[0].asking else lane.sooner(busy[0], 0) > 0.0)
        if (
            (busy and not hedges)
            or lane.waits
            or lane.asking
            or self._received.unjournalled
            or lane.source.session is None
        ):
            return
        if self.size_claim is not None and self.size_claim <= CHUNK_BYTES:
            lane.ask_blind()
            return
        lane.asking, lane.looks = True, 0
        outline = lane.source.session.requests.outline(self._content)
        group = lane.source.session.requests.group(self._content, 0)
        # If the outline fails, so does this, and nobody waits for it.
        group.addErrback(lambda _: (0, b""))
        self._background.start("learning a manifest", self._take_outline(lane, outline, group))

    async def _take_outline(self, lane: Lane, outline: _Answer, group: _Answer) -> None:
        try:
            size, digests = await outline
            _, first = await group
            manifest = Manifest(Outline.verified(self._content, size, digests))
            manifest.add_group(0, first)
        except (SourceFailed, IntegrityFailure) as error:
            lane.asking = False
            self._failed(lane, error)
            return
        lane.asking = False
        if not self._owner.over and not self._received.has_outline:
            self._owner.outline_learnt(self._received.learn(manifest))

    def learn_group(self, lane: Lane, group: int, lanes: Iterable[Lane]) -> None:
        """Ask for the digests of the chunks that come soon, unless an earlier run has."""
        if self._received.keeps_digests(group):
            if not self._loading:
                self._loading = True
                self._background.start("loading digests", self._load_group(group))
            return
        asked = [other for other in lanes if other.asking and not other.waits]
        if lane.source.session is None or lane.asking or not all(map(_is_late, asked)):
            return
        lane.asking, lane.looks = True, 0
        answer = lane.source.session.requests.group(self._content, group)
        self._background.start("learning digests", self._take_group(lane, group, answer))

    async def _take_group(self, lane: Lane, group: int, asked: _Answer) -> None:
        try:
            _, digests = await asked
            lane.asking = False
            if not self._owner.over:
                self._owner.group_learnt(self._received.learn_group(group, digests))
        except (SourceFailed, IntegrityFailure) as error:
            lane.asking = False
            self._failed(lane, error)

    async def _load_group(self, group: int) -> None:
        loaded: Deferred[None] = succeed(None)
        try:
            await self._received.load_digests(group)
        except NapError as error:
            loaded = fail(error)
        self._loading = False
        if not self._owner.over:
            self._owner.group_learnt(loaded)

    def _failed(self, lane: Lane, error: NapError) -> None:
        """A link that broke is the pool's matter; a refusal or a lie is this lane's."""
        if lane.source.session is not None and lane.source.session.alive:
            self._owner.lane_failed(lane, SourceFailed(error.message, code=error.code))


def _is_late(lane: Lane) -> bool:
    """What is a moment's work elsewhere waits behind something big on its link."""
    return lane.looks >= LATE_LOOKS
