"""The parts of a run, each to its rows: figures with what is aimed at for ten million holdings."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import IO, Any, Self

from attrs import define, field

from tests.support.processes import ROOT, IndexProcess, Processes, environment

from ..aims.rows import Outcome, at_least, at_most
from ..progress import said
from ..usage import cpu_s
from . import uhub as hub
from .corpus import Corpus
from .naive import naive
from .setting import Setting

#: Seconds that anything may take before it counts as broken.
PATIENCE_S = 3600.0
_SETTINGS = "searches_per_s = 10000\nlistings_per_user = 10000000\nconnections = 100000\n"


@define
class Work:
    """What the parts work with, and hand on.

    :ivar outcome: of all parts so far. :ivar database: what `inside` has built, for `daemon`.
    """

    setting: Setting
    folder: Path
    corpus: Corpus
    outcome: Outcome = field(factory=Outcome)

    @property
    def database(self) -> Path:
        return self.folder / "index.db"


class Crowd:
    """Peers in a process of their own (`crowd`)."""

    def __init__(self, work: Work, index: IndexProcess, corpus: Path | None) -> None:
        setting = work.setting
        command = [
            sys.executable, "-m", "tests.benchmarks.index.crowd", str(corpus or "-"), index.address, index.id,
            str(setting.peers), str(setting.seconds),
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment()
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            self._stream(stream).close()
        self._process.terminate()
        self._process.wait(PATIENCE_S)

    def hear(self) -> Any:
        line = self._stream(self._process.stdout).readline()
        if not line:
            raise RuntimeError(f"the crowd ended with {self._process.wait(10)}")
        return json.loads(line)

    def search(self) -> Any:
        stdin = self._stream(self._process.stdin)
        stdin.write("go\n")
        stdin.flush()
        return self.hear()

    def leave(self) -> Any:
        self._stream(self._process.stdin).close()
        said = self.hear()
        if said["lost"]:
            raise RuntimeError(f"{said['lost']} peers were lost: {said['why']}")
        return said

    @staticmethod
    def _stream(stream: IO[str] | None) -> IO[str]:
        if stream is None:
            raise RuntimeError("the crowd has no such stream")
        return stream


def inside(work: Work) -> None:
    """Everything registers, searches, comes and goes in one process, with the store on a disk."""
    outcome, setting, corpus = work.outcome, work.setting, work.corpus
    said(f"registering {corpus.figures['holdings']:,} holdings, and searching")
    command = [
        sys.executable, "-m", "tests.benchmarks.index.inside", str(corpus.folder), str(work.database),
        str(setting.rounds), str(setting.seconds), str(setting.rate),
    ]  # fmt: skip
    done = subprocess.run(command, stdout=subprocess.PIPE, cwd=ROOT, env=environment(), timeout=PATIENCE_S, check=True)
    found = json.loads(done.stdout)
    searches = found["searches_ms"]
    for name, took in searches.items():
        outcome.row(f"search, {name}: p50", "ms").add(percentile(took, 50))
        outcome.row(f"search, {name}: p99", "ms").add(percentile(took, 99))
    worst = max(percentile(took, 99) for took in searches.values())
    outcome.row("search, whole answer, p99, any class", "ms", at_most(10)).add(worst)
    during = outcome.row(f"search, mixed, during {setting.rate:,} holdings/s, p99", "ms", at_most(15))
    during.add(percentile(found["meanwhile_ms"], 99))
    outcome.row("  of which the median", "ms").add(percentile(found["meanwhile_ms"], 50))
    outcome.row("  registered meanwhile", "holdings/s").add(found["meanwhile_per_s"])
    outcome.row("whole answers, mixed, one core", "/s", at_least(650)).add(found["answers_per_s"])
    registered = outcome.row("registration into the full index, 30 % new", "holdings/s", at_least(55_000))
    registered.add(found["registered_per_s"])
    outcome.row("registration from nothing", "holdings/s").add(found["built_per_s"])
    files = corpus.regular.listings
    for name, took in (("reconnect unchanged", found["came_us"]), ("disconnect", found["left_us"])):
        row = outcome.row(f"{name}, {files:,} files", "µs", at_most(50))
        for one in took:
            row.add(one)


def daemon(work: Work) -> None:
    """A real index on the same database: its start, its memory, everybody's login, searches through TLS."""
    outcome, corpus = work.outcome, work.corpus
    processes = Processes(work.folder / "daemons")
    index = _index(processes, "index")
    index.state.mkdir(mode=0o700, parents=True)
    holdings = corpus.figures["holdings"] + sum(share.listings for share in corpus.newcomers)
    disk = outcome.row("disk, a holding", "bytes", at_most(75))
    for file in work.folder.glob("index.db*"):
        shutil.move(file, index.state / file.name)
    disk.add(sum(file.stat().st_size for file in index.state.iterdir()) / holdings)
    try:
        said("starting a real index, twice")
        # The first one has nothing but the database.
        outcome.row("start to searching, from the database alone", "s").add(_started_s(index))
        index.terminate()
        outcome.row("restart to searching", "s", at_most(5)).add(_started_s(index))
        with Crowd(work, index, corpus.folder) as crowd:
            said("everybody logs in, and 50 search through TLS")
            came = crowd.hear()
            outcome.row("logins with unchanged catalogues", "/s").add(came["peers"] / came["took_s"])
            answered = crowd.search()
            outcome.row("whole answers through TLS, 50 connections", "/s", at_least(400)).add(answered["answers_per_s"])
            outcome.row("  of which the median takes", "ms").add(percentile(answered["took_ms"], 50))
            outcome.row("  and p99", "ms").add(percentile(answered["took_ms"], 99))
            outcome.row("resident memory, all online", "MB", at_most(550)).add(index.resident_bytes() / 1e6)
            crowd.leave()
    finally:
        processes.stop()


def idle(work: Work) -> None:
    """Peers with nothing to offer, at an index of their own."""
    outcome = work.outcome
    processes = Processes(work.folder / "idle")
    index = _index(processes, "index")
    try:
        index.start()
        said(f"{work.setting.peers:,} idle peers log in")
        before, used = index.resident_bytes(), cpu_s(index.process.pid)
        with Crowd(work, index, None) as crowd:
            came = crowd.hear()
            spent = cpu_s(index.process.pid) - used
            outcome.row("idle peers held by one process", "", at_least(10_000)).add(came["peers"])
            grown = (index.resident_bytes() - before) / came["peers"] / 1000
            outcome.row("idle peer, memory of the index", "KB", at_most(50)).add(grown)
            outcome.row("logins", "/s", at_least(600)).add(came["peers"] / came["took_s"])
            outcome.row("  a second of the index's CPU", "").add(came["peers"] / spent)
            crowd.leave()
    finally:
        processes.stop()


def the_naive_way(work: Work) -> None:
    outcome = work.outcome
    most = min(work.setting.naive, work.corpus.figures["holdings"])
    said(f"the naive way with {most:,} holdings")
    found = naive(work.corpus, work.folder, most)
    named = f"naive (FTS5, {found.holdings:,} holdings)"
    for name, took in found.took_ms.items():
        outcome.row(f"{named}, {name}: p99", "ms").add(percentile(took, 99))
    outcome.row(f"{named}, registration", "holdings/s").add(found.per_s)
    outcome.row(f"{named}, disk, a holding", "bytes").add(found.bytes_per_holding)
    outcome.row(f"{named}, disconnect, {work.corpus.regular.listings:,} files", "ms").add(found.left_ms)


def broadcast(work: Work) -> None:
    outcome, clients = work.outcome, work.setting.clients
    cpu = outcome.row(f"uhub, {clients:,} clients: CPU of the hub for a search", "ms")
    reached = outcome.row(f"uhub, {clients:,} clients: until the last one has it", "ms")
    cpu.skipped = reached.skipped = hub.missing()
    if cpu.skipped is None:
        said(f"uhub with {clients:,} clients")
        folder = work.folder / "uhub"
        folder.mkdir()
        found = hub.uhub(folder, clients)
        cpu.add(found.cpu_ms)
        for one in found.reached_ms:
            reached.add(one)


PARTS: dict[str, Callable[[Work], None]] = {
    "inside": inside,
    "daemon": daemon,
    "idle": idle,
    "naive": the_naive_way,
    "uhub": broadcast,
}


def percentile(values: Sequence[float], hundredth: int) -> float:
    """The smallest value that so many hundredths are not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * hundredth // 100)]


def _started_s(index: IndexProcess) -> float:
    """Seconds from the command until all that is known can be found."""
    mark, began = index.mark(), perf_counter()
    index.start()
    index.wait_for_event("index.loaded", after=mark, timeout=PATIENCE_S)
    return perf_counter() - began


def _index(processes: Processes, name: str) -> IndexProcess:
    processes.folder.mkdir(exist_ok=True)
    file = processes.folder / f"{name}.toml"
    file.write_text(_SETTINGS)
    return processes.index(name, "--config", os.fspath(file), start=False)
