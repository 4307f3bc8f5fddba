"""A large file from peer to peer, beside the same bytes over plain TCP and over bare Twisted TLS, into synced files."""

from __future__ import annotations

import filecmp
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from time import sleep

from attrs import define, field

from tests.support.processes import Processes

from .children import Child
from .community import Community, answer_ms
from .figures import Figure, Section
from .files import MIB, random_file, warm
from .scale import Scale
from .usage import Spent, forget_peak, peak_bytes, resident_bytes, spent

#: The other size whose memory is shown: what a transfer adds must not grow with the file.
SMALLER_BYTES = 64 * MIB
#: Seconds between two questions to the daemons of a transfer that is watched.
ASK_EVERY_S = 0.02


@define
class _Cost:
    """What is measured of each way to move the file. `cpu`: of each of its processes, if it has several."""

    seconds: Figure
    cpu: list[Figure]
    all_cpu: Figure

    def add(self, spent: Spent, gigabytes: float) -> None:
        self.seconds.add(spent.wall_s)
        if self.cpu:
            for figure, used in zip(self.cpu, spent.cpu_s, strict=True):
                figure.add(used / gigabytes)
        self.all_cpu.add(sum(spent.cpu_s) / gigabytes)


@define
class Transfer:
    """Runs the part; the sections are what came of it."""

    scale: Scale
    folder: Path
    said: Callable[[str], None]
    time: Section = field(init=False)
    cpu: Section = field(init=False, factory=lambda: Section("CPU of a transfer, user and system"))
    memory: Section = field(init=False, factory=lambda: Section("Resident memory"))
    answers: Section = field(init=False, factory=lambda: Section("The daemons' own answer to `status`"))

    def __attrs_post_init__(self) -> None:
        self.time = Section(f"One file of {self.scale.size / MIB:,.0f} MiB, to a complete and synced file")

    @property
    def sections(self) -> list[Section]:
        return [self.time, self.cpu, self.memory, self.answers]

    def run(self) -> None:
        shared = self.folder / "shared"
        source = shared / "large.bin"
        smaller = shared / "smaller.bin"
        random_file(source, self.scale.size, Random(1))
        random_file(smaller, min(SMALLER_BYTES, self.scale.size // 4), Random(2))
        warm(shared)
        processes = Processes(self.folder)
        try:
            community = Community.start(processes, shared)
            self._idle(community)
            (content,) = community.find("large")
            (smaller_content,) = community.find("smaller")
            self._added(community, smaller_content, smaller.stat().st_size)
            self._added(community, content, self.scale.size)
            self._rounds(community, source, content)
            self._watched(community, content)
        finally:
            processes.stop()

    # --- Time and CPU ----------------------------------------------------------------------------

    def _rounds(self, community: Community, source: Path, content: str) -> None:
        gigabytes = self.scale.size / 1e9
        disk = self._cost("the disk alone: written and synced", [])
        unsynced = self._cost("plain TCP copy, not synced", ["giver", "taker"])
        tcp = self._cost("plain TCP copy", ["giver", "taker"])
        tls = self._cost("Twisted TLS copy", ["giver", "taker"], tcp)
        napd = self._cost("napd", ["giver", "taker", "index"], tls, tcp)
        ways: list[tuple[_Cost, Callable[[], Spent]]] = [
            (disk, lambda: self._copied_alone(source)),
            (unsynced, lambda: self._copied(source, "tcp_copy", "unsynced")),
            (tcp, lambda: self._copied(source, "tcp_copy", "synced")),
            (tls, lambda: self._copied(source, "tls_copy")),
            (napd, lambda: self._fetched(community, source, content)),
        ]
        for number in range(self.scale.rounds):
            self.said(f"transfer, round {number + 1} of {self.scale.rounds}")
            first = number % len(ways)
            for cost, work in ways[first:] + ways[:first]:
                # What the one before wrote and removed is not this one's burden, nor is it always the same one's.
                os.sync()
                cost.add(work(), gigabytes)

    def _cost(self, name: str, processes: list[str], *against: _Cost) -> _Cost:
        seconds = self.time.figure(name, "s", *(other.seconds for other in against), moved=self.scale.size)
        each = [self.cpu.figure(f"{name}, {process}", "s/GB") for process in processes]
        total = self.cpu.figure(f"{name}, in all", "s/GB", *(other.all_cpu for other in against))
        return _Cost(seconds, each, total)

    def _fetched(self, community: Community, source: Path, content: str) -> Spent:
        took = spent(community.pids, lambda: community.get(content))
        (saved,) = community.taker.downloads.iterdir()
        _same(source, saved)
        community.clear()
        return took

    def _copied_alone(self, source: Path) -> Spent:
        target = self.folder / "copy.bin"
        with Child("disk_copy", source, target) as child:
            child.hear()
            took = spent([child.pid], child.go)
        target.unlink()
        return took

    def _copied(self, source: Path, module: str, *how: str) -> Spent:
        target = self.folder / "copy.bin"
        with Child(module, "give", source) as giver:
            port = giver.hear()
            with Child(module, "take", port, target, *how) as taker:
                taker.hear()
                took = spent([giver.pid, taker.pid], taker.go)
        _same(source, target)
        target.unlink()
        return took

    # --- Memory ----------------------------------------------------------------------------------

    def _idle(self, community: Community) -> None:
        giver, taker, index = community.pids
        for name, pid in (("index", index), ("peer", taker), ("peer that has hashed its shares", giver)):
            self.memory.figure(f"idle {name}", "MB").add(resident_bytes(pid) / 1e6)

    def _added(self, community: Community, content: str, size: int) -> None:
        """What the peak of one transfer is above the idle daemon."""
        giver, taker, _ = community.pids
        ends = (("giver", giver), ("taker", taker))
        before = {pid: resident_bytes(pid) for _, pid in ends}
        for _, pid in ends:
            forget_peak(pid)
        community.get(content)
        for name, pid in ends:
            added = self.memory.figure(f"added by {size / MIB:,.0f} MiB, {name}", "MB")
            added.add((peak_bytes(pid) - before[pid]) / 1e6)
        community.clear()

    # --- Responsiveness --------------------------------------------------------------------------

    def _watched(self, community: Community, content: str) -> None:
        """One more transfer, not timed, during which the daemons are asked for their status again and again."""
        self.said("transfer, watched")
        for name, daemon in (("giver", community.giver), ("taker", community.taker)):
            idle = self.answers.figure(f"{name}, idle", "ms")
            for _ in range(100):
                idle.add(answer_ms(daemon))
            busy = self.answers.figure(f"{name}, in a transfer", "ms", idle)
            with _asking(lambda daemon=daemon: answer_ms(daemon), busy):  # type: ignore[misc]
                community.get(content)
            community.clear()


@contextmanager
def _asking(ask: Callable[[], float], into: Figure) -> Iterator[None]:
    """Ask from another thread until the block ends."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            into.add(ask())
            sleep(ASK_EVERY_S)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _same(one: Path, other: Path) -> None:
    if not filecmp.cmp(one, other, shallow=False):
        raise RuntimeError(f"{other} is not {one}")
