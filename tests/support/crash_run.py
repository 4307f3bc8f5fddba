"""A downloader's life with everything that it does to the disk recorded, and what it must be after any end of it.

One source, one downloader, real parts on a virtual clock: several downloads of one chunk and of more, names that are
taken, and a person who pauses, resumes, moves, prioritises, cancels and clears at moments that a seed picks.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from napd.errors import NapError
from napd.model import ContentId, DownloadState, Priority
from napd.net.identity import Identity
from napd.peer.fetch.downloads import Wanted
from napd.peer.files.disk import Disk
from napd.peer.item import Item
from tests.support.file_log import Fault, FileLog, Mark, no_fault
from tests.support.memory import MemoryNetwork, settle
from tests.support.swarm import Library, Node, Town, run_until

MIB = 1 << 20
#: By name: a name that is taken by a foreign file, the same name twice, several chunks, one, and none.
_SIZES = {
    "a/song.mp3": 2 * MIB + 5,
    "b/song.mp3": 20_000,
    "c/film.bin": 3 * MIB,
    "d/note.txt": 700,
    "e/empty": 0,
    "f/other.bin": MIB + 1,
    "g/whole.bin": MIB,
}
_FOREIGN = {"song.mp3": b"mine", ".napd/mine.part": b"mine too", "film (1).bin": b"also mine"}
#: Virtual seconds within which everything must have come to its end.
END_S = 400.0

_DATA = {name: Random(name).randbytes(size) for name, size in _SIZES.items()}


@frozen
class Row:
    """One download as a person sees it."""

    id: int
    content: ContentId
    priority: Priority
    place: int
    state: DownloadState
    bytes_done: int
    size: int | None
    path: str | None


#: In the order in which they will run.
Snapshot = tuple[Row, ...]


@define
class Source:
    """Who has it all; made once, for many lives of the downloader."""

    directory: Path
    library: Library = field(init=False)
    contents: dict[ContentId, bytes] = field(factory=dict)
    keys: dict[str, Identity] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.library = Library(self.directory / "shared")
        for name, data in _DATA.items():
            content = self.library.add(name, data)
            self.library.files[content] = _renamed(self.library.files[content], name.partition("/")[2])
            self.contents[content] = data


def _renamed(shared: Any, name: str) -> Any:
    # `SharedFile` has the path in its share as its name; here only the last part is told.
    return type(shared)(shared.path, name, shared.size, shared.audience, shared.manifest)


class World:
    """One life of the downloader, with its source."""

    def __init__(self, source: Source, directory: Path, *, rate: float | None, disk: Disk | None = None) -> None:
        self.clock = Clock()
        town, network = Town(self.clock), MemoryNetwork(self.clock)
        self.source = source
        self.ada = Node(town, network, "ada", source.directory / "ada")
        self.ada.library = self.ada.uploads._library = source.library
        self.ada.up.set_rate(rate)
        self.bob = Node(town, network, "bob", directory, disk=disk, limit=2, synchronous="FULL")

    def restart(self) -> None:
        """The downloader's process ends, and another one starts on what it left."""
        self.bob.crash()
        self.bob.start()

    @property
    def items(self) -> list[Item]:
        return list(self.bob.downloads.queue)

    def snapshot(self) -> Snapshot:
        return tuple(
            Row(i.id, i.content, i.priority, i.place, i.state, i.bytes_done, i.size, i.path) for i in self.items
        )

    def end(self) -> None:
        self.bob.crash()
        self.ada.crash()


# --- The recorded life ---------------------------------------------------------------------------


@frozen
class Seen:
    """What a person may rely on at this moment; `command`: one is being carried out."""

    snapshot: Snapshot
    command: bool


@define
class Life:
    """Drives one life and marks in the log what was seen."""

    world: World
    log: FileLog
    rng: Random
    refused: list[NapError] = field(factory=list)
    _last: Seen | None = None

    def turn(self, *, command: bool = False) -> None:
        calls = self.world.clock.getDelayedCalls()
        ahead = min((call.getTime() for call in calls), default=0.0) - self.world.clock.seconds()
        self.world.clock.advance(min(max(ahead, 0.0), 0.05) if calls else 0.05)
        self._see(command)

    def _see(self, command: bool) -> None:
        seen = Seen(self.world.snapshot(), command)
        if seen != self._last:
            self.log.mark(seen)
            self._last = seen

    def do(self, work: Any) -> None:
        outcome: list[Any] = []
        self.log.mark(Seen(self.world.snapshot(), True))
        self._last = None
        Deferred.fromCoroutine(work).addBoth(outcome.append)
        while not outcome:
            self.turn(command=True)
        if hasattr(outcome[0], "value"):
            if not isinstance(outcome[0].value, NapError):
                outcome[0].raiseException()
            self.refused.append(outcome[0].value)
        self._see(False)

    def wait(self, seconds: float) -> None:
        until = self.world.clock.seconds() + seconds
        while self.world.clock.seconds() < until:
            self.turn()

    def live(self) -> None:
        """Commands at moments of chance, then until nothing moves any more."""
        downloads, rng = self.world.bob.downloads, self.rng
        contents = list(self.world.source.contents)
        rng.shuffle(contents)
        first, second = contents[:4], contents[4:]
        self._get(first, None)
        commands: list[Callable[[list[Item]], Any]] = [
            downloads.pause,
            downloads.resume,
            downloads.cancel,
            downloads.retry,
            lambda items: downloads.prioritise(items, rng.choice(list(Priority))),
            lambda items: downloads.move(items, rng.choice(["top", "bottom", "up", "2"])),
            lambda items: downloads.clear(),
            downloads.pause,
        ]
        rng.shuffle(commands)
        for number, command in enumerate(commands):
            self.wait(rng.choice((0.0, 0.05, 0.3, 1.1)))
            if number == 3:
                self._get(second, Priority.HIGH)
            chosen = [item for item in self.world.items if rng.random() < 0.4]
            if chosen:
                self.do(command(chosen))
        self.do(downloads.resume(self.world.items))
        deadline = self.world.clock.seconds() + END_S
        while self.world.clock.seconds() < deadline and not all(item.state.ended for item in self.world.items):
            self.turn()

    def _get(self, contents: list[ContentId], priority: Priority | None) -> None:
        files = self.world.source.library.files
        wanted = [Wanted(content, files[content].name, None) for content in contents]
        self.do(self.world.bob.downloads.get(wanted, priority=priority, directory=None, name=None))


@frozen
class Recording:
    seed: int
    root: Path
    log: FileLog
    names: dict[str, int]
    refused: list[NapError]
    faults: list[str]


@contextmanager
def lived(source: Source, root: Path, seed: int, fault: Fault = no_fault) -> Iterator[tuple[World, Recording]]:
    """A whole life, recorded; the world as it was at its end, which comes with the block's."""
    rng = Random(seed)
    shutil.rmtree(root, ignore_errors=True)
    foreign(root, make=True)
    log = FileLog(str(root))
    with log.recording():
        names = log.existing()
        world = World(source, root, rate=rng.choice((1.0, 2.0, 8.0)) * MIB)
        world.bob.checkpoint_every(20)
        log.fault = fault
        life = Life(world, log, rng)
        try:
            life.live()
            log.fault = no_fault
            yield world, Recording(seed, root, log, names, life.refused, world.bob.faults)
        finally:
            log.fault = no_fault
            world.end()


def record(source: Source, root: Path, seed: int) -> Recording:
    """:raises AssertionError: the life itself went wrong."""
    with lived(source, root, seed) as (world, recording):
        # What follows the end is not what a cut is made in.
        recording.log.entries.append(Mark(None))
        assert recording.faults == []
        assert recording.refused == []
        check_end(world)
    return recording


def foreign(root: Path, *, make: bool = False) -> None:
    """Files that are none of the daemon's business: make them, or see that they are as they were."""
    for name, data in _FOREIGN.items():
        path = root / "downloads" / name
        if make:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        assert path.read_bytes() == data, f"a foreign file was changed: {name}"


def without_hard_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file system can only rename, and has no nameless files: names come by `renameat2`, an `os.rename` here."""

    def no_link(source: Any, target: Any, **more: Any) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    def rename(source: str, target: str) -> int:
        if os.path.lexists(target):
            return errno.EEXIST
        try:
            os.rename(source, target)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    monkeypatch.setattr(os, "link", no_link)
    monkeypatch.setattr("napd.peer.files.disk._renameat2", rename)
    monkeypatch.setattr(Disk, "create_nameless", lambda disk, directory: None)


# --- What must be so -----------------------------------------------------------------------------


def check_files(root: Path, contents: dict[ContentId, bytes]) -> None:
    """Every file that can be seen is a whole one, whatever happened."""
    foreign(root)
    whole = set(contents.values())
    for path in (root / "downloads").iterdir():
        if path.is_file() and path.name not in _FOREIGN:
            assert path.read_bytes() in whole, f"{path.name} is not whole ({path.stat().st_size} bytes)"


def check_taken_up(restarted: Snapshot, before: Snapshot, after: Snapshot | None) -> None:
    """What was seen last is what is there, or what the command that was being carried out was to make of it."""
    now = {row.id: row for row in restarted}
    then = {row.id: row for row in after} if after is not None else {}
    for row in before:
        later = then.get(row.id)
        if row.id not in now:
            assert after is not None and later is None, f"download {row.id} is lost"
            continue
        found = now[row.id]
        assert found.content == row.content
        orders = {(row.priority, row.place)} | ({(later.priority, later.place)} if later else set())
        assert (found.priority, found.place) in orders, f"download {row.id} has another place"
        _check_state(found, row, later)
    unfinished = [row.id for row in restarted if not row.state.ended]
    assert _in_order(unfinished, before) or (after is not None and _in_order(unfinished, after)), "another order"


def _in_order(unfinished: list[int], seen: Snapshot) -> bool:
    order = [row.id for row in seen if not row.state.ended and row.id in unfinished]
    return order == [number for number in unfinished if number in order]


def _check_state(found: Row, row: Row, later: Row | None) -> None:
    settled = (DownloadState.PAUSED, DownloadState.CANCELLED, DownloadState.DONE)
    if row.state in settled and (later is None or later.state is row.state):
        assert found.state is row.state, f"download {row.id} was {row.state.value}, is {found.state.value}"
    if row.state is DownloadState.DONE and found.state is DownloadState.DONE:
        assert found.path == row.path
    kept = row.state is not DownloadState.CANCELLED and (later is None or later.state is not DownloadState.CANCELLED)
    if kept and found.state is not DownloadState.DONE:
        assert found.bytes_done >= row.bytes_done, f"download {row.id}: {found.bytes_done} of {row.bytes_done} bytes"


def finish(world: World, claimed: Snapshot, *, once: bool = True) -> None:
    """Everything that is wanted comes to its end, and nothing that was told to be done is fetched again.

    :param once: each file is there under one name only.
    """
    bob = world.bob
    received = {item.id: item.bytes_received for item in world.items}
    bob.do(bob.downloads.resume(world.items))
    bob.do(bob.downloads.retry([item for item in world.items if item.state is DownloadState.FAILED]))
    run_until(world.clock, lambda: all(item.state.ended for item in world.items), END_S)
    settle(world.clock)
    for row in claimed:
        item = next((item for item in world.items if item.id == row.id), None)
        if item is None or item.state is not DownloadState.DONE or item.size is None:
            continue
        fetched = item.bytes_received - received[item.id]
        assert fetched <= item.size - row.bytes_done, (
            f"download {item.id}: {fetched} bytes fetched, {row.bytes_done} of {item.size} were there"
        )
    check_end(world, once=once)


def check_end(world: World, *, once: bool = True) -> None:
    """All is done or cancelled; the directory holds the finished files, each under one name, and what is foreign."""
    root, contents = world.bob.directory, world.source.contents
    assert world.bob.faults == []
    for item in world.items:
        assert item.state in (DownloadState.DONE, DownloadState.CANCELLED), f"{item.id} {item.state} {item.error}"
        if item.state is DownloadState.DONE:
            assert item.path is not None
            assert Path(item.path).read_bytes() == contents[item.content]
    check_files(root, contents)
    names = [path.name for path in (root / "downloads").iterdir() if path.is_file() and path.name not in _FOREIGN]
    found = [(root / "downloads" / name).read_bytes() for name in names]
    assert not once or len(found) == len(set(found)), f"a file is there twice: {sorted(names)}"
    left = {path.name for path in (root / "downloads" / ".napd").iterdir()}
    known = {f"{item.transfer}.part": f"{item.id} {item.state.value}" for item in world.items}
    assert left == {"mine.part"}, f"partial data was left: {[known.get(name, name) for name in left]}"
