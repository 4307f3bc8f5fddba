"""Small contents that have come: they wait for their turn, and are written, synced and named together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred

from ...background import Background
from ...errors import NapError, SourceFailed
from ...model import PeerId
from ..files.bundle import MAX_FILES, Bundle, Parcel
from ..files.disk import Disk
from ..files.journal import Journal
from ..item import Item
from ..sources.pool import SourcePool
from .incoming import held_bytes

#: Bundles at work at a time: one is written and synced while the one before it gets its names; and how many files must
#: have come for the second.
MAX_FLIGHTS = 2
OVERLAP_FILES = 64


class LandingOwner(Protocol):
    """Whose downloads these are; implemented by `peer.fetch.scheduler`."""

    limit: int

    def may_land(self, item: Item) -> bool:
        """Whether it may get its name now."""

    async def landed(self, parcels: Sequence[Parcel]) -> None:
        """These have their names; returns when they are done. In the order of the queue."""

    def goes_alone(self, item: Item) -> None:
        """From now on it is an ordinary download."""

    def wrong(self, item: Item, peer: PeerId, failure: SourceFailed) -> None:
        """It is not what its content id says: that is charged to its source."""

    def reschedule(self) -> None: ...


@define(eq=False)
class _Flight:
    """A bundle that is being written and named."""

    parcels: Sequence[Parcel]
    _over: bool = False
    _waiting: list[Deferred[None]] = field(factory=list)

    async def ended(self) -> None:
        """Returns when it has ended; may be waited for by several."""
        if not self._over:
            over: Deferred[None] = Deferred(self._waiting.remove)
            self._waiting.append(over)
            await over

    def end(self) -> None:
        self._over = True
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)


class Landing:
    """What has come and has no name yet, by the id of its download.

    :param run: runs a function on a disk thread.
    :ivar held_bytes: the memory that all of it takes up.
    """

    def __init__(
        self,
        *,
        owner: LandingOwner,
        sources: SourcePool,
        journal: Journal,
        disk: Disk,
        run: Callable[..., Deferred[Any]],
        background: Background,
    ) -> None:
        self.held_bytes = 0
        self._owner = owner
        self._sources = sources
        self._journal = journal
        self._disk = disk
        self._run = run
        self._background = background
        self._came: dict[int, Parcel] = {}
        self._landing: dict[int, _Flight] = {}
        self._flights: list[_Flight] = []

    def __contains__(self, item: Item) -> bool:
        return item.id in self._came or item.id in self._landing

    def __bool__(self) -> bool:
        return bool(self._came or self._landing)

    def came(self, parcel: Parcel) -> None:
        self._came[parcel.item.id] = parcel
        self.held_bytes += held_bytes(len(parcel.data))

    def keep_only(self, wanted: Sequence[Item]) -> None:
        """What has come of others is not wanted any more."""
        numbers = {item.id for item in wanted}
        for parcel in [parcel for parcel in self._came.values() if parcel.item.id not in numbers]:
            del self._came[parcel.item.id]
            self.held_bytes -= held_bytes(len(parcel.data))

    async def settled(self, item: Item) -> None:
        """Returns when no file of this download is at work."""
        while (flight := self._landing.get(item.id)) is not None:
            await flight.ended()

    async def all_settled(self) -> None:
        while self._flights:
            await self._flights[-1].ended()

    def begin(self, line: Sequence[Item]) -> None:
        """Write what has come, unless that is better done with what comes while others are written.

        :param line: the downloads in the order of the queue.
        """
        worth_it = len(self._came) >= OVERLAP_FILES if self._flights else bool(self._came)
        if not worth_it or len(self._flights) >= MAX_FLIGHTS:
            return
        parcels = self._may_land(line)
        if parcels:
            for parcel in parcels:
                del self._came[parcel.item.id]
            before = self._flights[-1] if self._flights else None
            flight = _Flight(parcels)
            self._flights.append(flight)
            self._landing.update((parcel.item.id, flight) for parcel in parcels)
            self._background.start("landing small downloads", self._land_bundle(flight, before))

    def _may_land(self, line: Sequence[Item]) -> list[Parcel]:
        """Those that could be active once the ones before them are done."""
        parcels: list[Parcel] = []
        before = 0
        for item in line:
            parcel = self._came.get(item.id)
            if parcel is not None:
                if not self._owner.may_land(item):
                    continue
                parcels.append(parcel)
                if len(parcels) == MAX_FILES:
                    break
            elif item.runnable and item.id not in self._landing:
                before += 1
                if before >= self._owner.limit:
                    break
        return parcels

    async def _land_bundle(self, flight: _Flight, before: _Flight | None) -> None:
        bundle = Bundle(flight.parcels, self._disk, self._journal, self._run)
        try:
            landed = await bundle.land(lambda item: item.runnable, None if before is None else before.ended)
            if landed:
                await self._owner.landed(landed)
        except NapError:
            # Each meets the disk on its own, and says what is wrong with it; what has its name already is found.
            for parcel in flight.parcels:
                self._owner.goes_alone(parcel.item)
        else:
            for parcel in flight.parcels:
                self._judge(parcel)
        finally:
            for parcel in flight.parcels:
                self.held_bytes -= held_bytes(len(parcel.data))
                del self._landing[parcel.item.id]
            self._flights.remove(flight)
            flight.end()
        self._owner.reschedule()

    def _judge(self, parcel: Parcel) -> None:
        source = self._sources.source(parcel.source)
        if parcel.partial is not None:
            # If it was not wanted any more, its partial file is there.
            parcel.item.new = False
        if parcel.verified:
            if source is not None:
                self._sources.served(source)
        elif parcel.may_be_longer:
            self._owner.goes_alone(parcel.item)
        else:
            self._owner.wrong(parcel.item, parcel.source, SourceFailed("it sent a wrong chunk", code="integrity"))
