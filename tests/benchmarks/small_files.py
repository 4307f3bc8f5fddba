"""Many small files from peer to peer, beside the same files kept as safely by a loop."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

from attrs import define, field

from tests.support.processes import Processes

from .children import Child
from .community import Community
from .figures import Figure, Section
from .files import small_files, warm
from .scale import Scale
from .usage import resident_bytes, spent


@define
class SmallFiles:
    scale: Scale
    folder: Path
    said: Callable[[str], None]
    time: Section = field(init=False)
    napd: Figure = field(init=False)
    use: Section = field(init=False, factory=lambda: Section("What the small files take"))

    def __attrs_post_init__(self) -> None:
        self.time = Section(f"{self.scale.files:,} files of {self.scale.file_size / 1024:,.0f} KiB")
        alone = self.time.figure("one after another, synced, without napd", "files/s")
        self.napd = self.time.figure("napd", "files/s", alone)

    @property
    def sections(self) -> list[Section]:
        return [self.time, self.use]

    def run(self) -> None:
        count = self.scale.files
        shared = self.folder / "shared"
        small_files(shared, count, self.scale.file_size, Random(3))
        warm(shared)
        (alone,) = self.napd.against
        cpu = {name: self.use.figure(f"CPU, {name}", "ms/file") for name in ("giver", "taker", "index")}
        processes = Processes(self.folder)
        try:
            community = Community.start(processes, shared)
            idle = self.use.figure(f"idle peer that shares {count:,} files", "MB")
            idle.add(resident_bytes(community.giver.process.pid) / 1e6)
            contents = community.find("leaflet")
            if len(contents) != count:
                raise RuntimeError(f"{len(contents)} of {count} files were found")
            for number in range(self.scale.rounds):
                self.said(f"small files, round {number + 1} of {self.scale.rounds}")
                os.sync()
                alone.add(count / self._kept_alone(shared))
                os.sync()
                took = community.spent_fetching(*contents)
                self.napd.add(count / took.wall_s)
                for figure, used in zip(cpu.values(), took.cpu_s, strict=True):
                    figure.add(used * 1000 / count)
                if number == 0:
                    _all_same(shared, community.taker.downloads)
                community.clear()
        finally:
            processes.stop()

    def _kept_alone(self, shared: Path) -> float:
        target = self.folder / "copies"
        target.mkdir()
        with Child("synced_files", shared, target) as child:
            child.hear()
            took = spent([child.pid], child.go)
        shutil.rmtree(target)
        return took.wall_s


def _all_same(source: Path, saved: Path) -> None:
    names = [path.name for path in source.iterdir()]
    _, different, missing = filecmp.cmpfiles(source, saved, names, shallow=False)
    if different or missing:
        raise RuntimeError(f"{len(different)} files differ, {len(missing)} are missing")
