"""A crash at any step of a bundle leaves each of its files complete or not begun, and nothing foreign touched."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from typing import Any

import pytest

from napd.model import Priority
from napd.ops.database import open_database
from napd.peer.files.bundle import Bundle, Parcel
from napd.peer.files.disk import Disk
from napd.peer.files.journal import SCHEMA, Done, Journal
from napd.peer.files.received import Received
from napd.peer.item import Item
from tests.support.one_download import Crash, Fuse, JournalWorker, WatchedDisk, now, run
from tests.support.swarm import manifest_of_bytes

COUNT = 4
DATA = {f"leaf{n}.txt": Random(n).randbytes(100 + n) for n in range(COUNT)}


class NoNamelessFiles(WatchedDisk):
    """A file system that cannot do it."""

    def create_nameless(self, directory: int) -> int | None:
        return None


class NoNaming(WatchedDisk):
    """One that makes them, and cannot name them."""

    def give_name(self, descriptor: int, directory: int, name: str) -> bool | None:
        self._no_naming.add(os.fstat(directory).st_dev)
        return None


class Process:
    """One run of the daemon, as far as the bundle is concerned; a new one finds what the last one left."""

    def __init__(self, directory: Path, disk: type[WatchedDisk], fuse: Fuse | None = None) -> None:
        self.fuse = fuse or Fuse()
        self.disk: Disk = disk(self.fuse)
        self._connection = open_database(directory / "queue.sqlite", SCHEMA, synchronous="OFF")
        self.journal = Journal(self._connection, JournalWorker(self.fuse))
        self.items, _ = self.journal.load()
        if not self.items:
            self.items = [_item(n, name, directory) for n, name in enumerate(DATA, 1)]
            now(self.journal.save(self.items, COUNT + 1))
        self.fuse.steps.clear()
        self.fuse.lit = True
        self.paths: dict[str, str] = {}

    def work(self) -> None:
        """The whole job from wherever the last run left it."""
        left = [item for item in self.items if item.state.value != "done"]
        for item in left:
            if not item.bare:
                # What may have its name already goes the way of every download.
                self._alone(item)
        parcels = [Parcel(item, DATA[item.name], "source") for item in left if item.bare]  # type: ignore[arg-type]
        if parcels:
            landed = now(Bundle(parcels, self.disk, self.journal, run).land(lambda item: True))
            assert len(landed) == len(parcels)
            now(self.journal.done((p.item, Done(str(p.path), len(p.data), 2.0)) for p in landed))
            self.paths.update((p.item.name, str(p.path)) for p in landed)

    def _alone(self, item: Item) -> None:
        received = Received(item, self.journal, self.disk, run)
        path = now(received.take_up())
        if path is None:
            if not received.complete:
                assert now(received.store_only_chunk(DATA[item.name]))
                received.picker.verified(0)
            path = now(received.publish())
        now(self.journal.done([(item, Done(path, len(DATA[item.name]), 2.0))]))
        self.paths[item.name] = path

    def end(self) -> None:
        self._connection.close()


def _item(number: int, name: str, directory: Path) -> Item:
    return Item(
        id=number,
        content=manifest_of_bytes(DATA[name]).outline.content,
        transfer=f"{number:016x}",
        name=name,
        size=len(DATA[name]),
        directory=str(directory / "downloads"),
        priority=Priority.NORMAL,
        place=number,
        added=1.0,
        new=True,
        bare=True,
    )


@pytest.mark.parametrize("after", [False, True], ids=["before a step", "after a step"])
@pytest.mark.parametrize("disk", [WatchedDisk, NoNamelessFiles, NoNaming], ids=["nameless", "partial", "unnamed"])
def test_a_crash_at_any_step_leaves_each_complete_or_not_begun(
    disk: type[WatchedDisk], after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that it is written in several parts.
    monkeypatch.setattr("napd.peer.files.bundle.FEW_FILES", 2)
    at = 0
    while True:
        at += 1
        directory = tmp_path / str(at)
        downloads = directory / "downloads"
        downloads.mkdir(parents=True)
        (downloads / "leaf3.txt").write_text("mine")
        first = Process(directory, disk, Fuse(at, after))
        try:
            first.work()
        except Crash:
            first.fuse.blown = True
        first.end()

        second = Process(directory, disk)
        second.work()
        second.end()

        third = Process(directory, disk)
        assert all(item.state.value == "done" and item.path for item in third.items)
        for item in third.items:
            assert Path(str(item.path)).read_bytes() == DATA[item.name]
        third.end()
        assert (downloads / "leaf3.txt").read_text() == "mine"
        expected = {*DATA, "leaf3 (1).txt"}
        assert {entry.name for entry in downloads.iterdir()} == expected
        if not first.fuse.blown:
            break
    assert at > 3 * COUNT


def test_a_file_that_fails_its_check_is_not_written(tmp_path: Path) -> None:
    process = Process(tmp_path, WatchedDisk)
    good, bad = process.items[:2]
    parcels = [Parcel(good, DATA[good.name], "a"), Parcel(bad, b"something else", "b")]  # type: ignore[arg-type]
    landed = now(Bundle(parcels, process.disk, process.journal, run).land(lambda item: True))
    process.end()
    assert [parcel.item for parcel in landed] == [good]
    assert [entry.name for entry in (tmp_path / "downloads").iterdir()] == [good.name]


def test_nothing_is_left_of_what_is_not_wanted_any_more(tmp_path: Path) -> None:
    process = Process(tmp_path, WatchedDisk)
    parcels = [Parcel(item, DATA[item.name], "a") for item in process.items]  # type: ignore[arg-type]
    landed: Any = now(Bundle(parcels, process.disk, process.journal, run).land(lambda item: item.id != 2))
    process.end()
    assert len(landed) == COUNT - 1
    assert "leaf1.txt" not in {entry.name for entry in (tmp_path / "downloads").iterdir()}


def test_what_an_earlier_run_had_begun_goes_with_the_finished_file(tmp_path: Path) -> None:
    process = Process(tmp_path, WatchedDisk)
    item = process.items[0]
    item.new = False
    begun = tmp_path / "downloads" / ".napd" / f"{item.transfer}.part"
    begun.parent.mkdir(parents=True)
    begun.write_bytes(b"half")
    parcel = Parcel(item, DATA[item.name], "a")  # type: ignore[arg-type]
    now(Bundle([parcel], process.disk, process.journal, run).land(lambda item: True))
    process.end()
    assert not begun.parent.exists()
    assert Path(str(parcel.path)).read_bytes() == DATA[item.name]
