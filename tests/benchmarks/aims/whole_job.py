"""One file at A becomes a verified file at B: napd in turn with what people use, and what it costs while it runs."""

from __future__ import annotations

import filecmp
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from statistics import quantiles

from attrs import define, field

from tests.support.processes import Processes

from ..community import Community, TickingPeer
from ..figures import Figure, Section
from ..files import MIB, random_file, warm
from ..ticking import late_ms
from ..usage import Spent
from .contenders import CONTENDERS, Contender, NginxToCurl
from .rows import Outcome, Row, at_least, at_most
from .setting import WHOLE_JOBS, Setting

#: How many times as fast as each of them napd is meant to be.
AIMS = {"nginx": at_least(1.3), "libtorrent": at_least(3.0), "wormhole": at_least(3.0)}


@define
class _Way:
    """One way to move the file: seconds, and seconds of CPU per GB at both ends."""

    move: Callable[[], Spent]
    seconds: Figure
    sender: Figure
    receiver: Figure

    def measure(self, size: int) -> float:
        took = self.move()
        self.seconds.add(took.wall_s)
        self.sender.add(took.cpu_s[0] / size * 1e9)
        self.receiver.add(took.cpu_s[1] / size * 1e9)
        return took.wall_s


@define
class WholeJob:
    """In one folder, against those contenders that are there."""

    setting: Setting
    folder: Path
    said: Callable[[str], None]
    contenders: Sequence[Contender]
    outcome: Outcome = field(factory=Outcome)
    _times: Section = field(init=False)
    _cpu: Section = field(init=False)

    def run(self, place: str, faster: dict[str, Row], used: tuple[Row, Row] | None, late: Row | None) -> None:
        """:param faster: rows for the ratios, by contender. :param used: CPU rows of sender and receiver."""
        size = self.setting.size
        self._times = self.outcome.section(f"One file of {size / MIB:,.0f} MiB {place}")
        self._cpu = self.outcome.section(f"CPU of it {place}")
        source = self.folder / "shared" / "large.bin"
        random_file(source, size, Random(1))
        warm(source.parent)
        processes = Processes(self.folder)
        try:
            with ExitStack() as running:
                community = Community.start(processes, source.parent, kind=TickingPeer)
                (content,) = community.find("large")
                napd = self._way("napd", lambda: self._fetched(community, source, content, late))
                others = {}
                for one in self.contenders:
                    running.enter_context(one)
                    others[one.name] = self._way(one.name, lambda one=one: self._moved(one, source))  # type: ignore[misc]
                self._rounds(napd, others, faster)
        finally:
            processes.stop()
        if used is not None:
            for row, samples in zip(used, (napd.sender.samples, napd.receiver.samples), strict=True):
                row.figure.samples[:] = samples

    def _rounds(self, napd: _Way, others: dict[str, _Way], faster: dict[str, Row]) -> None:
        ways = [("", napd), *others.items()]
        for number in range(self.setting.rounds):
            self.said(f"whole job, round {number + 1} of {self.setting.rounds}")
            took = {}
            first = number % len(ways)
            for name, way in ways[first:] + ways[:first]:
                # What the one before wrote and removed is not this one's burden, nor is it always the same one's.
                os.sync()
                took[name] = way.measure(self.setting.size)
            for name, row in faster.items():
                if name in took:
                    row.add(took[name] / took[""])

    def _way(self, name: str, move: Callable[[], Spent]) -> _Way:
        return _Way(
            move,
            self._times.figure(name, "s", moved=self.setting.size),
            self._cpu.figure(f"{name}, sender", "s/GB"),
            self._cpu.figure(f"{name}, receiver", "s/GB"),
        )

    def _fetched(self, community: Community, source: Path, content: str, late: Row | None) -> Spent:
        began = time.monotonic()
        took = community.spent_fetching(content)
        ended = time.monotonic()
        if late is not None:
            ends = (community.giver, community.taker)
            late.add(max(_p99(late_ms(end.folder / "ticks", began, ended)) for end in ends))
        (saved,) = community.taker.downloads.glob("*.bin")
        _check(source, saved)
        community.clear()
        return took

    def _moved(self, contender: Contender, source: Path) -> Spent:
        target = self.folder / "copy.bin"
        took = contender.move(target)
        _check(source, target)
        target.unlink()
        return took


def in_memory(setting: Setting, folder: Path, said: Callable[[str], None]) -> Outcome:
    """The rows of the whole job."""
    outcome = Outcome()
    faster = {}
    contenders: list[Contender] = []
    for part in WHOLE_JOBS:
        if part not in setting.only:
            continue
        one = CONTENDERS[part](folder / "shared" / "large.bin", folder)
        row = outcome.row(f"whole job, against {one.name}", "×", AIMS[part])
        row.skipped = one.absent
        if row.skipped is None:
            contenders.append(one)
            faster[one.name] = row
    used = (
        outcome.row("CPU seconds per GB, sender", "s/GB", at_most(0.7)),
        outcome.row("CPU seconds per GB, receiver", "s/GB", at_most(1.1)),
    )
    late = outcome.row("reactor latency while it runs, 10 ms tick, p99", "ms", at_most(10))
    where = "in memory" if setting.in_memory else "on a disk"
    WholeJob(setting, folder, said, contenders, outcome).run(where, faster, used, late)
    return outcome


def on_disk(setting: Setting, folder: Path, said: Callable[[str], None]) -> Outcome:
    """The same against nginx → curl where syncing has a price: napd syncs before it says done, and curl does not."""
    outcome = Outcome()
    source = folder / "shared" / "large.bin"
    contenders: list[Contender] = []
    faster = {}
    for number, synced in enumerate((False, True)):
        (folder / f"{number}").mkdir()
        one = NginxToCurl(source, folder / f"{number}", synced=synced)
        row = outcome.row(f"on a disk, against {one.name}", "×")
        row.skipped = one.absent
        if row.skipped is None:
            contenders.append(one)
            faster[one.name] = row
    WholeJob(setting, folder, said, contenders, outcome).run("on a disk", faster, None, None)
    return outcome


def _p99(late: Sequence[float]) -> float:
    return quantiles(late, n=100, method="inclusive")[-1] if len(late) > 1 else max(late, default=0.0)


def _check(source: Path, saved: Path) -> None:
    if not filecmp.cmp(source, saved, shallow=False):
        raise RuntimeError(f"{saved} is not {source}")
