"""Several sources for one file: four against one, four shaped ones against their sum, and the memory of eight."""

from __future__ import annotations

import filecmp
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.support.processes import Processes

from ..community import Community, ask
from ..files import MIB, random_file, warm
from ..usage import forget_peak, peak_bytes
from .rows import Outcome, at_least, at_most
from .setting import Setting

SOURCES = 4
#: Bytes per second of each of the shaped sources.
SHAPED_PER_S = 40_000_000
#: Sources of the large download whose memory is looked at.
MANY_SOURCES = 8
#: A sparse file has a chunk of random bytes at each of these.
EVERY_BYTES = 64 * MIB


def four_sources(setting: Setting, folder: Path, said: Callable[[str], None]) -> Outcome:
    """One source has `alone.bin`; it and three others have `common.bin`. Both are fetched in turn."""
    outcome = Outcome()
    row = outcome.row(f"{SOURCES} sources → 1, against one source", "×", at_least(1.0))
    times = outcome.section(f"One file of {setting.size / MIB:,.0f} MiB from several sources")
    alone, common = folder / "alone" / "alone.bin", folder / "common" / "common.bin"
    random_file(alone, setting.size, Random(1))
    random_file(common, setting.size, Random(2))
    warm(folder)
    processes = Processes(folder)
    try:
        shares = [[alone.parent, common.parent], *([common.parent] for _ in range(SOURCES - 1))]
        community = Community.start(processes, *shares)
        figures = {path: times.figure(path.stem, "s", moved=setting.size) for path in (alone, common)}
        figures[alone].name, figures[common].name = "from one source", f"from {SOURCES} sources"
        contents = {path: community.find(path.stem)[0] for path in (alone, common)}
        for number in range(setting.rounds):
            said(f"{SOURCES} sources, round {number + 1} of {setting.rounds}")
            took = {}
            for path in (alone, common) if number % 2 == 0 else (common, alone):
                took[path] = _fetched(community, contents[path], path)
                figures[path].add(took[path])
            row.add(took[alone] / took[common])
    finally:
        processes.stop()
    return outcome


def shaped_sources(setting: Setting, folder: Path, said: Callable[[str], None]) -> Outcome:
    """Each source sends as fast as `napctl limit --up` lets it."""
    outcome = Outcome()
    total = SOURCES * SHAPED_PER_S
    row = outcome.row(f"{SOURCES} sources of 40 MB/s each, of their sum", "%", at_least(95))
    shared = folder / "shared" / "large.bin"
    random_file(shared, setting.size, Random(3))
    warm(shared.parent)
    processes = Processes(folder)
    try:
        community = Community.start(processes, *[shared.parent] * SOURCES)
        for giver in community.givers:
            ask(giver, "limit", up=SHAPED_PER_S)
        (content,) = community.find("large")
        for number in range(setting.rounds):
            said(f"{SOURCES} shaped sources, round {number + 1} of {setting.rounds}")
            row.add(100 * setting.size / _fetched(community, content, shared) / total)
    finally:
        processes.stop()
    return outcome


def memory(setting: Setting, folder: Path, said: Callable[[str], None]) -> Outcome:
    """The peaks of a large download from many sources, as the kernel counts them, by what the daemon does."""
    outcome = Outcome()
    name = f"resident memory, {setting.memory_size / MIB:,.0f} MiB from {MANY_SOURCES} sources, the most of any daemon"
    row = outcome.row(name, "MB", at_most(200))
    peaks = outcome.section("Peaks of resident memory in it")
    said("memory")
    shared = folder / "shared" / "large.bin"
    _sparse_file(shared, setting.memory_size)
    processes = Processes(folder)
    try:
        community = Community.start(processes, *[shared.parent] * MANY_SOURCES)
        (content,) = community.find("large")
        daemons = {"taker": [community.taker], "giver": list(community.givers), "index": [community.index]}
        for daemon in itertools.chain(*daemons.values()):
            forget_peak(daemon.process.pid)
        took = _fetched(community, content, shared)
        for role, those in daemons.items():
            figure = peaks.figure(role, "MB")
            for daemon in those:
                figure.add(peak_bytes(daemon.process.pid) / 1e6)
        row.add(max(figure.high for figure in peaks.figures))
        peaks.figure("the download", "s", moved=setting.memory_size).add(took)
    finally:
        processes.stop()
    return outcome


def _fetched(community: Community, content: str, source: Path) -> float:
    os.sync()
    took = community.spent_fetching(content)
    (saved,) = community.taker.downloads.glob("*.bin")
    if not filecmp.cmp(source, saved, shallow=False):
        raise RuntimeError(f"{saved} is not {source}")
    community.clear()
    return took.wall_s


def _sparse_file(path: Path, size: int) -> None:
    """It takes little room and little time to make; what comes of it at the other end takes all of it."""
    rng = Random(5)
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        for at in range(0, size, EVERY_BYTES):
            file.seek(at)
            file.write(rng.randbytes(min(MIB, size - at)))
        file.truncate(size)
