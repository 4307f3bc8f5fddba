"""Snapshots of the search engine: loaded at the start, so that nothing has to be read again, and written now and then.

One that is missing, damaged, or of another database is not used: everything is read from the store, and the log says
so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import frozen
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ..ops.events import Events
from ..ops.threads import Pool
from .arena import Stretch
from .catalogues import Catalogues
from .engine import MemoryEngine
from .snapshot import LEFT, Restored, restored
from .snapshot_file import Part, SnapshotRefused, SnapshotWriter, find_parts
from .store.interface import IndexStore
from .table import ItemTable

SNAPSHOT_NAME = "index.snapshot"
#: Seconds between two looks at whether so much has changed that a snapshot is worth it: one item in so many.
PERIOD_S = 600.0
WORTH_IT = 100
#: Seconds that the last snapshot may take when the index stops.
LAST_S = 60.0
#: Items that are compared with the store's, besides the newest: the database may be another one.
COMPARED = 64


@frozen
class Written:
    """A snapshot of so many bytes. `left`: its parts of the names in `LEFT`."""

    size: int
    left: Mapping[str, Stretch]


class SnapshotFile:
    """:param worker: a thread that nothing else waits for; stopped by `stop`."""

    def __init__(self, path: Path, worker: Pool) -> None:
        self._path = path
        self._worker = worker

    def read(self) -> Deferred[Restored]:
        """:raises SnapshotRefused: there is none that can be used."""
        return self._worker.run(lambda: restored(find_parts(self._path), LEFT))

    async def write(self, parts: Iterator[Part]) -> Written:
        """Between two chunks of a part the reactor does other work.

        :raises OSError: it could not be written; the one before is still there.
        """
        writer = await self._worker.run(SnapshotWriter, self._path)
        done = False
        try:
            for part in parts:
                await self._worker.run(writer.begin, part.name, part.length)
                for chunk in part.chunks:
                    await self._worker.run(writer.add, chunk)
            size = await self._worker.run(writer.finish)
            done = True
            left = await self._worker.run(lambda: {name: writer.stretch(name) for name in LEFT})
        finally:
            if not done:
                self._worker.run(writer.abandon).addErrback(lambda _: None)
        return Written(size, left)

    def remove(self) -> Deferred[None]:
        return self._worker.run(lambda: self._path.unlink(missing_ok=True))

    def stop(self) -> Deferred[None]:
        return self._worker.stop()


class Snapshots:
    """When there is a snapshot, and whether it may be used."""

    def __init__(
        self,
        file: SnapshotFile,
        clock: IReactorTime,
        events: Events,
        store: IndexStore,
        table: ItemTable,
        engine: MemoryEngine,
        catalogues: Catalogues,
    ) -> None:
        self._file = file
        self._clock = clock
        self._events = events
        self._store = store
        self._table = table
        self._engine = engine
        self._catalogues = catalogues
        #: `table.changes` when the snapshot was begun that is on the disk now.
        self._changes_then = 0

    async def load(self) -> None:
        """Take in the snapshot, if there is a good one; peers that log in meanwhile wait.

        :raises NapError: the store cannot be read.
        """
        began = self._clock.seconds()
        release = self._catalogues.hold()
        try:
            found = await self._file.read()
            await self._compare(found.table)
            self._engine.take(found)
        except SnapshotRefused as error:
            if await self._store.items_after(0, 1):
                self._events.emit("index.snapshot_refused", error=str(error))
            # So that it can never be taken for a good one later.
            await self._remove()
        else:
            self._changes_then = self._table.changes
            took_s = round(self._clock.seconds() - began, 3)
            self._events.emit("index.snapshot_loaded", items=len(self._table), took_s=took_s)
        finally:
            release()

    async def run(self) -> None:
        """For ever: write one whenever enough has changed. Not before everything is loaded."""
        while True:
            await deferLater(self._clock, PERIOD_S)
            if self._changed() * WORTH_IT > len(self._table):
                await self.write()

    async def stop(self) -> None:
        """Write the last one if anything has changed, so that the next start is quick."""
        if self._catalogues.is_loaded and self._changed():
            try:
                await Deferred.fromCoroutine(self.write()).addTimeout(LAST_S, self._clock)
            except defer.TimeoutError:
                self._events.emit("index.snapshot_failed", error=f"it was not written within {LAST_S:.0f} s")
        await self._file.stop()

    async def write(self) -> None:
        began, changes = self._clock.seconds(), self._table.changes
        try:
            written = await self._file.write(self._engine.parts())
        except OSError as error:
            self._events.emit("index.snapshot_failed", error=str(error))
            return
        freed = self._table.rest_on(written.left)
        self._changes_then = changes
        took_s = round(self._clock.seconds() - began, 3)
        self._events.emit("index.snapshot_written", items=len(self._table), bytes=written.size, took_s=took_s)
        while freed:
            freed.pop()
            await deferLater(self._clock, 0)

    def _changed(self) -> int:
        return self._table.changes - self._changes_then

    async def _compare(self, table: ItemTable) -> None:
        """Whether the store has these items, of all times, and the newest of them.

        :raises SnapshotRefused: not so.
        """
        newest = table.newest()
        if newest is None:
            return
        step = max(1, newest // COMPARED)
        ids = sorted({newest, *(item for item in range(1, newest, step) if table.knows(item))})
        have = {item.id: item for item in await self._store.items(ids)}
        if newest not in have or any(not table.has(item) for item in have.values()):
            raise SnapshotRefused("the snapshot is of another database, or of a later state of this one")

    async def _remove(self) -> None:
        try:
            await self._file.remove()
        except OSError as error:
            self._events.emit("index.snapshot_failed", error=str(error))
