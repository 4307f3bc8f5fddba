"""One download's bytes over several runs of a daemon, each of which may end at any step that reaches the disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed

from napd.content.digest import CHUNK_BYTES
from napd.content.manifest import Manifest
from napd.model import Priority
from napd.ops.database import open_database
from napd.peer.files.disk import Disk
from napd.peer.files.journal import SCHEMA, Journal
from napd.peer.files.received import Received
from napd.peer.item import Item
from tests.support.swarm import manifest_of_bytes

MIB = CHUNK_BYTES
DATA = Random(1).randbytes(2 * MIB + 5)
CHUNKS = [DATA[at : at + MIB] for at in range(0, len(DATA), MIB)]
MANIFEST = manifest_of_bytes(DATA)


class Crash(Exception):
    """The process ends here."""


@define
class Fuse:
    """Counts the steps that reach the disk or the journal; ends the process before or after one of them, for good."""

    at: int = -1
    after: bool = False
    lit: bool = False
    blown: bool = False
    steps: list[str] = field(factory=list)

    def step(self, name: str, act: Callable[[], Any]) -> Any:
        if self.blown:
            raise Crash
        self.steps.append(name)
        self.blown = self.lit and len(self.steps) == self.at
        if self.blown and not self.after:
            raise Crash
        result = act()
        if self.blown:
            raise Crash
        return result


class WatchedDisk(Disk):
    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self._fuse = fuse


def _watched(name: str) -> Callable[..., Any]:
    def operation(self: WatchedDisk, *args: Any) -> Any:
        return self._fuse.step(name, lambda: getattr(Disk, name)(self, *args))

    return operation


_WATCHED = (
    "make_directory",
    "create",
    "write_at",
    "truncate",
    "sync_data",
    "sync",
    "sync_directory",
    "close",
    "remove",
    "remove_empty_directory",
    "publish",
    "create_nameless",
    "give_name",
)
for _name in _WATCHED:
    setattr(WatchedDisk, _name, _watched(_name))


def run(work: Callable[..., Any], /, *args: Any) -> Deferred[Any]:
    try:
        return succeed(work(*args))
    except Exception as error:
        return fail(error)


@define
class JournalWorker:
    fuse: Fuse

    def run(self, work: Callable[..., Any], /, *args: Any) -> Deferred[Any]:
        return run(self.fuse.step, "journal", lambda: work(*args))


def now(work: Any) -> Any:
    """The result of a coroutine or Deferred that waits for nothing outside."""
    outcome: list[Any] = []
    (work if isinstance(work, Deferred) else Deferred.fromCoroutine(work)).addBoth(outcome.append)
    assert outcome, "it waits for something"
    if hasattr(outcome[0], "raiseException"):
        outcome[0].raiseException()
    return outcome[0]


class Process:
    """One run of the daemon, as far as one download is concerned; a new one finds what the last one left."""

    def __init__(
        self, directory: Path, *, fuse: Fuse | None = None, disk: Disk | None = None, manifest: Manifest = MANIFEST
    ) -> None:
        self.fuse = fuse or Fuse()
        self.connection = open_database(directory / "queue.sqlite", SCHEMA, synchronous="OFF")
        self.journal = Journal(self.connection, JournalWorker(self.fuse))
        saved, _ = self.journal.load()
        self.item = saved[0] if saved else new_item(directory, manifest)
        if not saved:
            now(self.journal.save([self.item], 2))
        self.fuse.steps.clear()
        self.fuse.lit = True
        self.received = Received(self.item, self.journal, disk or WatchedDisk(self.fuse), run)

    async def take_up(self) -> str | None:
        """As a running download does it: what is flushed, then what the disk holds beyond that."""
        published = await self.received.take_up()
        if published is None:
            await self.received.rehash(lambda chunk: self.received.picker.verified(chunk))
            await self.received.flush()
        return published

    def end(self) -> None:
        self.connection.close()


def new_item(directory: Path, manifest: Manifest) -> Item:
    return Item(
        id=1,
        content=manifest.outline.content,
        transfer="0123456789abcdef",
        name="song.mp3",
        size=None,
        directory=str(directory / "downloads"),
        priority=Priority.NORMAL,
        place=1,
        added=1.0,
    )
