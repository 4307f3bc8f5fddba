"""What items and holdings cost the index in memory, and what coming and going costs in time.

::

    python -m tests.benchmarks.index_memory [HOLDINGS]

Three items in memory for eight holdings, their words by Zipf's law, a fifth of them a second name of a content, shares
of 2,000 files in which a few items are very common. Times are CPU time; memory is what the process has resident, its
start taken off.
"""

from __future__ import annotations

import hashlib
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from random import Random
from statistics import median
from string import ascii_lowercase
from tempfile import TemporaryDirectory
from typing import Any

from napd.index.engine import MemoryEngine
from napd.index.items import Item
from napd.index.presence import Online, Presence
from napd.index.snapshot import restored
from napd.index.snapshot_file import SnapshotWriter, read_parts
from napd.index.store.interface import Account
from napd.index.table import ItemTable
from napd.model import PeerId
from napd.wire.catalogue import Entry

VOCABULARY = 100_000
SHARE = 2_000
#: Comings and goings that are measured.
MOVES = 200


class Corpus:
    def __init__(self, items: int) -> None:
        self.items = items
        self.random = Random(1)
        choose = self.random.choice
        self.words = [
            "".join(choose(ascii_lowercase) for _ in range(self.random.randint(3, 9))) for _ in range(VOCABULARY)
        ]
        self._weights = list(accumulate(1 / rank for rank in range(1, VOCABULARY + 1)))

    def text(self, words: int) -> str:
        return " ".join(self.random.choices(self.words, cum_weights=self._weights, k=words))

    def all_items(self) -> Iterator[Item]:
        contents = self.items * 4 // 5
        folder = ""
        for item in range(1, self.items + 1):
            if item % 10 == 1:
                folder = f"{self.text(2)}/{self.text(2)}"
            content = item if item <= contents else self.random.randint(1, contents)
            name = self.text(4) + self.random.choice([".mp3", ".mkv", ".jpg"])
            digest = hashlib.sha256(str(content).encode()).hexdigest()
            yield Item(item, content, Entry(digest, self.random.randint(1, 1 << 30), folder, name))


def timed(work: Callable[..., Any], *arguments: Any) -> float:
    """Seconds of CPU: what else the machine does is no part of it."""
    began = time.process_time()
    work(*arguments)
    return time.process_time() - began


def resident_mb() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


def share(random: Random, items: int) -> array[int]:
    """As the store gives it: sorted ids."""
    common = {int(items ** random.random()) for _ in range(SHARE // 2)}
    while len(common) < min(SHARE, items // 2):
        common.add(random.randint(1, items))
    return array("I", sorted(common))


def measure_snapshot(engine: MemoryEngine, items: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "index.snapshot"

        def write() -> None:
            writer = SnapshotWriter(path)
            for part in engine.parts():
                writer.begin(part.name, part.length)
                for chunk in part.chunks:
                    writer.add(chunk)
            writer.finish()

        writing = timed(write)
        loading = timed(lambda: restored(read_parts(path)))
        size = path.stat().st_size
    print(f"a snapshot has {size / items:.0f} bytes an item, is written in {writing:.2f} s and read in {loading:.2f} s")


def main(holdings: int) -> None:
    items, start = holdings * 3 // 8, resident_mb()
    corpus = Corpus(items)
    table = ItemTable()
    presence = Presence(table)
    engine = MemoryEngine(table, presence)
    before, spent, batch = resident_mb(), 0.0, []
    for item in corpus.all_items():
        batch.append(item)
        if len(batch) == 1000 or item.id == items:
            spent += timed(engine.learn, batch)
            batch = []
    print(f"{items:,} items: {spent / items * 1e6:.0f} us, {(resident_mb() - before) * 1e6 / items:.0f} bytes each")
    before, random = resident_mb(), Random(2)
    spent, here = 0.0, list[Online]()
    for number in range(1, holdings // SHARE + 1):
        online = presence.connect(Account(number, f"id{number}", f"user{number}", PeerId("peer")), 1, 0.0)
        one = share(random, items)
        spent += timed(presence.add, online, one)
        here.append(online)
    held = presence.listings
    print(f"{held:,} holdings: {spent / held * 1e6:.2f} us, {(resident_mb() - before) * 1e6 / held:.0f} bytes each")
    print(f"all in all {resident_mb() - start:.0f} MB")
    leaving, coming = [], []
    for number in range(MOVES):
        online = here[number % len(here)]
        one = array("I", online.items)
        leaving.append(timed(presence.disconnect, online) * 1e6)
        online = presence.connect(online.account, 1, 0.0)
        coming.append(timed(presence.add, online, one) * 1e6)
        here[number % len(here)] = online
    measure_snapshot(engine, items)
    print(f"a share of {SHARE:,} files comes back in {median(coming):.0f} us and goes in {median(leaving):.0f} us")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
