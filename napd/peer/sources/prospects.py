"""Who could serve the contents that are wanted: what discovery says, less whom experience speaks against."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from ...discovery.interface import Discovery, Holders
from ...errors import SourceFailed
from ...model import ContentId, PeerId
from .standings import Standings

#: Contents that discovery is asked about; those further back in the queue are asked about as it moves up.
MAX_SOUGHT = 10_000
#: Contents that move up at once.
BACKLOG_STEP = 500


@define(eq=False)
class _Waiting:
    contents: set[ContentId]
    done: Deferred[None]


@define
class Prospects:
    """Holders of each sought content, and how they stand with it."""

    _clock: IReactorTime
    _discovery: Discovery
    _holders: dict[ContentId, Holders] = field(factory=dict)
    _sought: set[ContentId] = field(factory=set)
    _backlog: dict[ContentId, None] = field(factory=dict)
    standings: Standings = field(factory=Standings)
    _waiting: list[_Waiting] = field(factory=list)

    def seek(self, contents: Iterable[ContentId]) -> None:
        """Have discovery tell about these; beyond `MAX_SOUGHT` they wait until others are dropped."""
        new = []
        for content in contents:
            if content in self._sought or content in self._backlog:
                continue
            if len(self._sought) < MAX_SOUGHT:
                self._sought.add(content)
                new.append(content)
            else:
                self._backlog[content] = None
        if new:
            self._discovery.seek(new)

    def drop(self, contents: Iterable[ContentId]) -> None:
        """These are of no interest any more; what was told of them is forgotten."""
        old = []
        for content in contents:
            self._backlog.pop(content, None)
            self._holders.pop(content, None)
            if content in self._sought:
                self._sought.discard(content)
                old.append(content)
        if old:
            self._discovery.unseek(old)
        if self._backlog and len(self._sought) <= MAX_SOUGHT - BACKLOG_STEP:
            moved = list(islice(self._backlog, BACKLOG_STEP))
            for content in moved:
                del self._backlog[content]
            self.seek(moved)

    def seek_now(self, content: ContentId) -> None:
        """It is about to run: it does not wait for others to be dropped."""
        if content not in self._sought:
            self._backlog.pop(content, None)
            self._sought.add(content)
            self._discovery.seek([content])

    def seeks(self, content: ContentId) -> bool:
        """Whether discovery tells about it."""
        return content in self._sought

    def told(self, found: Holders) -> set[PeerId]:
        """Discovery's newest word on a content; returns those that were not, or not at these addresses, told before.

        Who had only parts and has all now is new.
        """
        before = self._holders.get(found.content)
        known = set() if before is None else {(one.peer, one.addresses, one.partial) for one in before.holders}
        self._holders[found.content] = found
        new = {one.peer for one in found.holders if (one.peer, one.addresses, one.partial) not in known}
        for peer in new:
            self.standings.came_back(found.content, peer)
        return new

    def tell_waiting(self, content: ContentId) -> None:
        """What discovery said of this content has been acted upon: let those go on that wait for it."""
        for waiting in [waiting for waiting in self._waiting if content in waiting.contents]:
            waiting.contents.discard(content)
            if not waiting.contents:
                self._waiting.remove(waiting)
                waiting.done.callback(None)

    def answered(self, contents: Iterable[ContentId]) -> Deferred[None]:
        """Fires when discovery's answers about all of these that are sought are acted upon; may be cancelled."""
        open_ones = {content for content in contents if content in self._sought and content not in self._holders}
        if not open_ones:
            return succeed(None)
        waiting = _Waiting(open_ones, Deferred(lambda _: self._waiting.remove(waiting)))
        self._waiting.append(waiting)
        return waiting.done

    def holders(self, content: ContentId) -> Holders | None:
        """None until discovery has answered."""
        return self._holders.get(content)

    def usable(self, content: ContentId) -> bool:
        """Whether there is a holder that can be reached and is not banned."""
        found = self._holders.get(content)
        return found is not None and any(
            holder.addresses and self.ban_code(content, holder.peer) is None for holder in found.holders
        )

    def look_for_mercy(self, content: ContentId) -> None:
        """If nobody but liars is left who could serve it, those whose wait is over are tried again, on parole."""
        found = self._holders.get(content)
        if found is not None and not self.usable(content):
            for holder in found.holders:
                self.standings.have_mercy(content, holder.peer, self._clock.seconds())

    def ban(self, content: ContentId, peer: PeerId, failure: SourceFailed) -> None:
        self.standings.ban(content, peer, failure.code, self._clock.seconds(), failure.retry_after_s)

    def ban_code(self, content: ContentId, peer: PeerId) -> str | None:
        """Why this peer is not asked for this content at present."""
        return self.standings.ban_code(content, peer, self._clock.seconds())

    def ban_left_s(self, content: ContentId, peer: PeerId) -> float:
        return self.standings.ban_left_s(content, peer, self._clock.seconds())

    def pardon(self, content: ContentId) -> None:
        """A person wants it tried again with everybody."""
        self.standings.pardon(content)
