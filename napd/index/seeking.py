"""Who waits for which content: told the whole truth whenever it changes, at once but not too often."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from itertools import count
from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..wire import index as wire
from .columns import Ids
from .items import Asker
from .presence import Presence
from .sources import sources_for
from .table import ItemTable
from .watched import Watched

#: Seconds between two messages about one content to one session.
SPACING_S = 0.5
#: Seekers of one content up to which it stays at that when only those change who have parts of it. Of more each hears
#: the more rarely: a crowd whose members all come to have parts costs so many messages a second, however large it is.
CROWD = 16
#: Messages before the reactor gets its turn: some 3 ms.
TOLD_AT_ONCE = 50


class Seeker(Protocol):
    """A session that seeks."""

    @property
    def asker(self) -> Asker: ...

    def tell_sources(self, message: wire.Sources) -> None: ...


@define(eq=False)
class _Sought:
    """One content, sought by one session. `due_at`: when a change that waits is told.

    Whoever has parts of it is looked up more rarely than told: `looked_at`.
    """

    last: wire.Sources
    told_at: float
    looked_at: float
    due_at: float | None = None


@define(order=True)
class _Due:
    """A change that is told at `at`, unless the seeker is gone by then. Nothing else of it shows in the order."""

    at: float
    content: str
    place: int
    seeker: Seeker = field(order=False)
    sought: _Sought = field(order=False)


class Seeking:
    """Contents are named by their ids: one may be sought that nobody has ever announced."""

    def __init__(self, clock: IReactorTime, table: ItemTable, presence: Presence) -> None:
        self._clock = clock
        self._table = table
        self._presence = presence
        self._seekers: dict[str, dict[Seeker, _Sought]] = {}
        self._watched = Watched()
        self._contents: dict[Seeker, set[str]] = {}
        self._due: list[_Due] = []
        self._places = count()
        self._timer: IDelayedCall | None = None
        #: Messages in this turn.
        self._told = 0

    def sought_by(self, seeker: Seeker) -> int:
        return len(self._contents.get(seeker, ()))

    def seek(self, seeker: Seeker, contents: Iterable[str]) -> None:
        """Tell who holds these now, and whenever it changes; one that is sought already is told anew."""
        mine = self._contents.setdefault(seeker, set())
        now = self._clock.seconds()
        for content in contents:
            message = self._message(content, seeker)
            mine.add(content)
            if content not in self._seekers:
                self._seekers[content] = {}
                self._watched.add(content)
            self._seekers[content][seeker] = _Sought(message, now, now)
            seeker.tell_sources(message)

    def unseek(self, seeker: Seeker, contents: Iterable[str]) -> None:
        mine = self._contents.get(seeker)
        for content in list(contents):
            if mine is None or content not in mine:
                continue
            mine.discard(content)
            seekers = self._seekers[content]
            del seekers[seeker]
            if not seekers:
                del self._seekers[content]
                self._watched.discard(content)
        if not mine:
            self._contents.pop(seeker, None)

    def leave(self, seeker: Seeker) -> None:
        """The session is over."""
        self.unseek(seeker, list(self._contents.get(seeker, ())))

    def changed(self, contents: Ids) -> None:
        """The holders of these contents (by number), or where they can be reached, may be others now."""
        self._told = 0
        # In an order that tells nothing of what else there is.
        for content in sorted(self._watched.among(contents, self._table)):
            # Telling one may end its session, and with it what it seeks.
            for seeker, sought in list(self._seekers.get(content, {}).items()):
                self._tell_at(sought.told_at + SPACING_S, content, seeker, sought)
        self._set_timer()

    def swarms_changed(self, contents: Iterable[str]) -> None:
        """Other peers have parts of these, or can be reached elsewhere."""
        self._told = 0
        for content in sorted(content for content in contents if content in self._seekers):
            seekers = self._seekers.get(content, {})
            spacing_s = SPACING_S * max(1.0, len(seekers) / CROWD)
            for seeker, sought in list(seekers.items()):
                self._tell_at(sought.looked_at + spacing_s, content, seeker, sought)
        self._set_timer()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _message(self, content: str, seeker: Seeker) -> wire.Sources:
        return sources_for(self._table, self._presence, content, seeker.asker)

    def _tell_at(self, at: float, content: str, seeker: Seeker, sought: _Sought) -> None:
        """At once if it is past that and not much was told in this turn, and not later than it would be anyhow."""
        if sought.due_at is not None and sought.due_at <= at:
            return
        if at <= self._clock.seconds() and self._told < TOLD_AT_ONCE:
            self._tell(content, seeker, sought)
        else:
            sought.due_at = at
            heappush(self._due, _Due(at, content, next(self._places), seeker, sought))

    def _tell(self, content: str, seeker: Seeker, sought: _Sought) -> None:
        """Nothing is said if nothing that this seeker may see is different."""
        self._told += 1
        sought.due_at = None
        sought.looked_at = self._clock.seconds()
        message = self._message(content, seeker)
        if message != sought.last:
            sought.last = message
            sought.told_at = sought.looked_at
            seeker.tell_sources(message)

    def _set_timer(self) -> None:
        if self._due and (self._timer is None or self._due[0].at < self._timer.getTime()):
            self.stop()
            self._timer = self._clock.callLater(max(0.0, self._due[0].at - self._clock.seconds()), self._tell_due)

    def _tell_due(self) -> None:
        self._timer = None
        self._told = 0
        now = self._clock.seconds()
        while self._due and self._due[0].at <= now and self._told < TOLD_AT_ONCE:
            due = heappop(self._due)
            if due.sought.due_at != due.at:
                # It was told before.
                continue
            if self._seekers.get(due.content, {}).get(due.seeker) is due.sought:
                self._tell(due.content, due.seeker, due.sought)
        self._set_timer()
