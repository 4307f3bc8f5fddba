"""The measurements: each takes a folder to work in and returns figures."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from attrs import define, field, frozen
from blake3 import blake3

from tests.support.processes import DaemonProcess, PeerProcess, Processes, environment
from tests.support.waiting import until

CHUNK = 1 << 20
#: Seconds between two looks at a process's memory.
SAMPLE_S = 0.05
PATIENCE_S = 1800.0


@frozen
class Sizes:
    """How much is moved: bytes of the big file, number and bytes of the small ones, bytes of the scanned tree."""

    big: int = 1 << 30
    small_files: int = 2000
    small: int = 16 << 10
    tree: int = 1 << 30
    rounds: int = 3
    calls: int = 20


@define
class Figures:
    """What came out; rates in bytes, files or calls per second, times in seconds, memory in bytes."""

    tcp_bytes_per_s: list[float] = field(factory=list)
    tls_bytes_per_s: list[float] = field(factory=list)
    napd_bytes_per_s: list[float] = field(factory=list)
    small_files_per_s: float = 0.0
    scan_bytes_per_s: float = 0.0
    hash_bytes_per_s: float = 0.0
    status_s: list[float] = field(factory=list)
    memory: dict[str, int] = field(factory=dict)


def write_random(path: Path, size: int) -> None:
    rng = random.Random(size)
    with path.open("wb") as file:
        while size > 0:
            size -= file.write(rng.randbytes(min(size, CHUNK)))


def transfers(folder: Path, sizes: Sizes, figures: Figures) -> None:
    """The big file by plain TCP, by bare TLS, and by napd, in turns, so that the machine's moods hit all three."""
    processes = Processes(folder / "d")
    try:
        index = processes.index()
        giver = processes.peer("giver", index=index, start=False)
        big = giver.shared / "big.bin"
        write_random(big, sizes.big)
        giver.start()
        taker = processes.peer("taker", index=index)
        figures.memory["index, idle"] = index.resident_bytes()
        figures.memory["peer, idle"] = taker.resident_bytes()
        wait_for_listings(giver, 1)
        content = found(taker, "big", 1)[0]
        with serving("tcp", big) as tcp, serving("tls", big) as tls:
            for _ in range(sizes.rounds):
                figures.tcp_bytes_per_s.append(sizes.big / fetched("tcp", tcp, folder))
                figures.tls_bytes_per_s.append(sizes.big / fetched("tls", tls, folder))
                with watched(giver, "giver, in transfer", figures), watched(taker, "taker, in transfer", figures):
                    figures.napd_bytes_per_s.append(sizes.big / downloaded(taker, content))
                (taker.downloads / "big.bin").unlink()
        for _ in range(sizes.calls):
            began = time.monotonic()
            taker.ctl("status")
            figures.status_s.append(time.monotonic() - began)
    finally:
        processes.stop()


def small_files(folder: Path, sizes: Sizes, figures: Figures) -> None:
    """Many small files, each searched, queued, fetched, synced and journalled."""
    processes = Processes(folder / "d")
    try:
        index = processes.index()
        giver = processes.peer("giver", index=index, start=False)
        for n in range(sizes.small_files):
            (giver.shared / f"small {n}.bin").write_bytes(random.Random(n).randbytes(sizes.small))
        giver.start()
        wait_for_listings(giver, sizes.small_files)
        taker = processes.peer("taker", index=index)
        wanted = found(taker, "small", sizes.small_files)
        began = time.monotonic()
        for start in range(0, len(wanted), 1000):
            queued = taker.ctl("get", *wanted[start : start + 1000], timeout=PATIENCE_S)
            if queued.status:
                raise RuntimeError(f"get failed: {queued}")
        waited = taker.ctl("wait", "all", timeout=PATIENCE_S)
        if waited.status:
            raise RuntimeError(f"not everything arrived: exit status {waited.status}")
        figures.small_files_per_s = len(wanted) / (time.monotonic() - began)
    finally:
        processes.stop()


def scan(folder: Path, sizes: Sizes, figures: Figures) -> None:
    """A tree is shared: until it is all hashed, beside hashing alone of the same files."""
    processes = Processes(folder / "d")
    try:
        tree = folder / "tree"
        tree.mkdir()
        files = [tree / f"{n}.bin" for n in range(32)]
        for file in files:
            write_random(file, sizes.tree // len(files))
        # What changed under two seconds ago is not hashed yet: it might still change.
        old = time.time() - 3600
        for file in files:
            os.utime(file, (old, old))
        time.sleep(2.1)
        threads = os.cpu_count() or 1
        began = time.monotonic()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(hash_file, files))
        figures.hash_bytes_per_s = sizes.tree / (time.monotonic() - began)
        peer = processes.peer("peer")
        began = time.monotonic()
        added = peer.ctl("share", "add", str(tree))
        if added.status:
            raise RuntimeError(f"share add failed: {added}")
        wait_for_listings(peer, len(files))
        figures.scan_bytes_per_s = sizes.tree / (time.monotonic() - began)
    finally:
        processes.stop()


def hash_file(path: Path) -> str:
    digest = blake3()
    with path.open("rb", buffering=0) as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


def wait_for_listings(peer: PeerProcess, number: int) -> None:
    def hashed() -> bool:
        shares = peer.ctl("status").json["shares"]
        return bool(shares["listings"] >= number and shares["hashing"] == 0)

    until(hashed, f"{number} listings", PATIENCE_S, every_s=0.05)


def found(peer: PeerProcess, words: str, number: int) -> list[str]:
    """The content ids of a search, once there are so many."""

    def search() -> list[str]:
        contents: list[str] = []
        page: list[str] = []
        while True:
            document = peer.ctl("search", words, "--limit", "1000", *page).json
            contents += [result["content"] for result in document["results"]]
            if document["next"] is None:
                return contents if len(contents) >= number else []
            page = ["--page", document["next"]]

    return until(search, f"{number} results for {words!r}", 60, every_s=0.2)


def downloaded(peer: PeerProcess, content: str) -> float:
    """Seconds from the command to the file under its final name."""
    peer.ctl("queue", "clear")
    mark = peer.mark()
    began = time.monotonic()
    queued = peer.ctl("get", content)
    if queued.status:
        raise RuntimeError(f"get failed: {queued}")
    peer.wait_for_event("download.finished", after=mark, timeout=PATIENCE_S)
    return time.monotonic() - began


def fetched(how: str, port: int, folder: Path) -> float:
    target = folder / "copy.bin"
    done = subprocess.run(
        copying("fetch", how, str(port), str(target)), capture_output=True, env=environment(), check=True
    )
    target.unlink()
    return float(done.stdout)


@contextmanager
def serving(how: str, file: Path) -> Iterator[int]:
    server = subprocess.Popen(copying("serve", how, str(file)), stdout=subprocess.PIPE, env=environment())
    try:
        assert server.stdout is not None
        yield int(server.stdout.readline())
    finally:
        server.kill()
        server.wait()
        server.stdout.close()  # type: ignore[union-attr]


def copying(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.benchmarks.copying", *arguments]


@contextmanager
def watched(daemon: DaemonProcess, name: str, figures: Figures) -> Iterator[None]:
    """Notes the most memory that the daemon had meanwhile."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(SAMPLE_S):
            figures.memory[name] = max(figures.memory.get(name, 0), daemon.resident_bytes())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def all_figures(folder: Path, sizes: Sizes) -> Iterator[tuple[str, Figures]]:
    """One part after the other, in a folder that is emptied in between; the figures so far, with what comes next."""
    figures = Figures()
    for name, part in (("a big file", transfers), ("small files", small_files), ("a share's scan", scan)):
        yield name, figures
        work = folder / "work"
        work.mkdir()
        try:
            part(work, sizes, figures)
        finally:
            shutil.rmtree(work)
    yield "", figures


def middle(values: list[float]) -> float:
    return median(values) if values else 0.0
