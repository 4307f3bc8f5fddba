"""Whoever means harm to a real index does not keep others from searching in it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import pytest

from tests.support.flood import KINDS
from tests.support.plain_peer import PlainPeer, online
from tests.support.processes import ROOT, IndexProcess, Processes, environment

#: Seconds that are searched for in each flood; searches that are made at least, and seconds that they may take.
SEARCHED_S = 0.7
SEARCHES = 10
PATIENCE_S = 30.0
#: Seconds that one may take in the median, whatever else goes on here. In quiet it is milliseconds; when a session had
#: the reactor for as long as it had something to say, it was half a second and more.
MOST_S = 0.2
FILES = 300
#: What an index may grow by while one session floods it: what it keeps for one that does not read, and some more.
MOST_GROWN_BYTES = 64 << 20


@contextmanager
def flood(kind: str, index: IndexProcess) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.flood", kind, index.address],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"at it\n"
        yield
        assert process.poll() is None, "it has given up"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def searches_s(peer: PlainPeer) -> list[float]:
    """What each took, one after the other."""
    took: list[float] = []
    began = time.monotonic()
    while (passed := time.monotonic() - began) < SEARCHED_S or (len(took) < SEARCHES and passed < PATIENCE_S):
        asked = time.monotonic()
        assert len(peer.search("heron", limit=50)) == 50
        took.append(time.monotonic() - asked)
    return took


@pytest.fixture
def index(processes: Processes, tmp_path: Path) -> IndexProcess:
    # So many that searching, too, can be a flood.
    file = tmp_path / "index.toml"
    file.write_text("searches_per_s = 1000\n")
    return processes.index("index", "--config", str(file))


def test_a_flood_of_whatever_kind_leaves_searches_quick_and_the_index_small(index: IndexProcess) -> None:
    before = index.resident_bytes()
    slow: dict[str, float] = {}
    with online(index.address, "ada") as ada, online(index.address, "bob") as bob:
        ada.offer([f"heron {number}" for number in range(FILES)])
        ada.hear("ack")
        for kind in KINDS:
            with flood(kind, index):
                took_s = median(searches_s(bob))
            # A sign of life.
            ada.say({"t": "pong"})
            if took_s > MOST_S:
                slow[kind] = took_s
        assert not slow
        assert len(bob.search("heron", limit=1000)) == FILES
    assert index.resident_bytes() - before < MOST_GROWN_BYTES
    assert not index.seen("daemon.fault")
