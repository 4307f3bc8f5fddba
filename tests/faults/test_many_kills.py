"""`kill -9` at any moment, hundreds of times: the queue is as it was shown last, and every file comes out right.

The downloader is a real process of the real `nappeer`, forked from one that has imported it, so that a life is mostly
downloading and not starting (`tests.support.quick_start`). More of them: ``make crash N=1000``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support.community import MIB, random_file
from tests.support.processes import Processes
from tests.support.quick_peer import Gone, QuickPeer, QuickStart
from tests.support.waiting import until

KILLS = int(os.environ.get("CRASH_KILLS", "200"))
SEED = int(os.environ.get("CRASH_SEED", "1"))
#: Seconds of a life after which it is killed; most lives are shorter than the middle.
LIFE_S = (0.05, 0.4, 0.1)
#: What a kill may cost of each download.
MAX_LOST = 64 * MIB
FOREIGN = {"mine.txt": b"mine", "film 1.bin": b"mine too"}
ENDED = ("done", "cancelled", "failed")

#: By name. Some of several chunks, many of one.
FILES = {
    **{f"film {n}.bin": 9 * MIB + n for n in range(6)},
    **{f"song {n}.bin": 3 * MIB for n in range(6)},
    **{f"note {n}.bin": 1000 + n for n in range(30)},
}


@pytest.fixture
def quick() -> Iterator[QuickStart]:
    made = QuickStart()
    yield made
    made.stop()


class Loop:
    """One downloader, killed again and again."""

    def __init__(self, bob: QuickPeer, data: dict[str, bytes], rng: Random) -> None:
        self.bob = bob
        self.data = data
        self.rng = rng
        self.shown: list[dict[str, Any]] = []
        self.kills = 0
        self.rounds = 0
        self.lives: dict[int, int] = {}

    def start(self) -> None:
        self.bob.start()
        if self.shown:
            self._compare(self.bob.queue())

    def _compare(self, now: list[dict[str, Any]]) -> None:
        found = {row["id"]: row for row in now}
        for row in self.shown:
            assert row["id"] in found, f"download {row['id']} is lost"
            after = found[row["id"]]
            assert (after["content"], after["priority"]) == (row["content"], row["priority"])
            if row["state"] in ("paused", "cancelled", "done"):
                assert after["state"] == row["state"], (row, after)
            assert after["bytes_done"] >= row["bytes_done"], (row, after)
            assert after["state"] != "failed", after
        unfinished = [row["id"] for row in now if row["state"] not in ENDED]
        before = [row["id"] for row in self.shown if row["state"] not in ENDED]
        assert unfinished == [number for number in before if number in unfinished], (before, unfinished)

    def want(self) -> None:
        """Everything, once it is to be had."""
        results = self.bob.search("bin", len(self.data))
        contents = [result["content"] for result in results]
        self.rng.shuffle(contents)
        self.bob.call("get", results=contents)
        self.shown = self.bob.queue()
        self.rounds += 1

    def disturb(self) -> None:
        """What a person does meanwhile; what was answered has to hold."""
        number = str(self.rng.choice(self.shown)["id"])
        method, params = self.rng.choice(
            [
                ("queue.pause", {"selectors": [number]}),
                ("queue.resume", {"selectors": ["all"]}),
                ("queue.resume", {"selectors": ["all"]}),
                ("queue.priority", {"selectors": [number], "priority": self.rng.choice(["high", "low", "urgent"])}),
                ("queue.move", {"selectors": [number], "to": self.rng.choice(["top", "bottom"])}),
                ("queue.cancel", {"selectors": [number]}),
                ("queue.retry", {"selectors": ["all"]}),
            ]
        )
        self.bob.call(method, **params)

    def live_and_die(self) -> None:
        ends = time.monotonic() + self.rng.triangular(*LIFE_S)
        if self.rng.random() < 0.3:
            self.disturb()
            self.shown = self.bob.queue()

        def is_time_up() -> bool:
            if time.monotonic() >= ends:
                return True
            self.shown = self.bob.queue()
            return False

        until(is_time_up, "its time is up", every_s=self.rng.uniform(0.001, 0.02))
        for row in self.shown:
            if row["state"] not in ENDED:
                self.lives[row["id"]] = self.lives.get(row["id"], 0) + 1
        self.bob.kill()
        self.kills += 1

    def over(self) -> bool:
        return all(row["state"] in ENDED for row in self.shown)

    def next_round(self) -> None:
        """All files are there: they are looked at and removed, and wanted again."""
        self.check()
        self.bob.call("queue.clear")
        for path in self.bob.downloads.iterdir():
            if path.name not in FOREIGN and path.name != ".napd":
                path.unlink()
        self.lives.clear()
        self.want()

    def finish(self) -> None:
        self.bob.call("queue.resume", selectors=["all"])
        self.bob.call("queue.retry", selectors=["all"])

        def is_over() -> bool:
            self.shown = self.bob.queue()
            return self.over()

        until(is_over, "all downloads have ended", 60, every_s=0.05)
        self.check()

    def check(self) -> None:
        """Every finished file is right, and nothing else is there."""
        for row in self.shown:
            if row["state"] == "done":
                data = Path(row["path"]).read_bytes()
                assert data in self.data.values(), f"{row['path']} is wrong"
                assert row["bytes_received"] <= row["size"] + self.lives.get(row["id"], 0) * MAX_LOST
        for name, data in FOREIGN.items():
            assert (self.bob.downloads / name).read_bytes() == data
        paths = {Path(row["path"]).name for row in self.shown if row["state"] == "done"}
        there = {path.name for path in self.bob.downloads.iterdir()} - {".napd"} - set(FOREIGN)
        assert there == paths, there ^ paths
        left = list((self.bob.downloads / ".napd").glob("*")) if (self.bob.downloads / ".napd").exists() else []
        assert left == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_downloads_survive_hundreds_of_kills(processes: Processes, quick: QuickStart, in_memory: Path) -> None:
    index = processes.index()
    ada = processes.peer("ada", index=index, start=False)
    data = {
        name: random_file(ada.shared / name, size, seed=number) for number, (name, size) in enumerate(FILES.items())
    }
    ada.start()
    ada.ctl("limit", "--up", "30MiB")
    bob = QuickPeer(quick, in_memory / "bob", f"{index.address}#{index.id}")
    for name, mine in FOREIGN.items():
        (bob.downloads / name).write_bytes(mine)
    loop = Loop(bob, data, Random(SEED))
    try:
        loop.start()
        loop.want()
        while True:
            loop.live_and_die()
            loop.start()
            if loop.kills >= KILLS:
                break
            if loop.over():
                loop.next_round()
        loop.finish()
    except Gone as error:
        raise AssertionError(f"the daemon ended by itself: {error}\n{bob.log_tail()}") from error
    except AssertionError as error:
        raise AssertionError(f"seed {SEED}, kill {loop.kills}: {error}\n{bob.log_tail()}") from error
    finally:
        bob.kill()
    assert '"daemon.fault"' not in bob.log.read_text()
    print(f"{loop.kills} kills, {loop.rounds} rounds of {len(data)} files")
