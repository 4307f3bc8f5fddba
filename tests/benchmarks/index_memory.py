"""What items and holdings cost the index in memory, and what coming and going costs in time.

::

    python -m tests.benchmarks.index_memory [HOLDINGS]

Three items in memory for eight holdings, their words by Zipf's law, a fifth of them a second name of a content, shares
of 2,000 files in which a few items are very common. Times are CPU time; memory is what the process has resident, its
start taken off.
"""

from __future__ import annotations

import hashlib
import subprocess
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

import msgspec

from napd.index.engine import MemoryEngine
from napd.index.items import Item
from napd.index.presence import Online, Presence
from napd.index.snapshot import LEFT, restored
from napd.index.snapshot_file import SnapshotWriter, find_parts
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


def measure_snapshot(engine: MemoryEngine, items: int, shares: list[array[int]]) -> None:
    with TemporaryDirectory() as folder:
        path, lists = Path(folder) / "index.snapshot", Path(folder) / "shares"

        def write() -> None:
            writer = SnapshotWriter(path)
            for part in engine.parts():
                writer.begin(part.name, part.length)
                for chunk in part.chunks:
                    writer.add(chunk)
            writer.finish()

        writing = timed(write)
        size = path.stat().st_size
        print(f"a snapshot has {size / items:.0f} bytes an item, is written in {writing:.2f} s", flush=True)
        lists.write_bytes(msgspec.msgpack.encode([share.tobytes() for share in shares]))
        subprocess.run([sys.executable, "-m", "tests.benchmarks.index_memory", str(path), str(lists)], check=True)


def start_from(path: Path, lists: Path) -> None:
    """What an index has in memory that starts from a snapshot, and to which everybody comes back."""
    shares = [array("I", share) for share in msgspec.msgpack.decode(lists.read_bytes(), type=list[bytes])]
    table = ItemTable()
    presence = Presence(table)
    engine = MemoryEngine(table, presence)
    start = resident_mb()
    loading = timed(lambda: engine.take(restored(find_parts(path), LEFT)))
    for number, share in enumerate(shares, 1):
        presence.add(connected(presence, number), share)
    assert len(presence.everyone) <= len(table)
    print(f"read again in {loading:.2f} s, all in all {resident_mb() - start:.0f} MB then, with everybody online")


def connected(presence: Presence, number: int) -> Online:
    return presence.connect(Account(number, f"id{number}", f"user{number}", PeerId("peer")), 1, 0.0)


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
    shares: list[array[int]] = []
    for number in range(1, holdings // SHARE + 1):
        online = connected(presence, number)
        shares.append(share(random, items))
        spent += timed(presence.add, online, shares[-1])
        here.append(online)
    held = presence.listings
    print(f"{held:,} holdings: {spent / held * 1e6:.2f} us, {(resident_mb() - before) * 1e6 / held:.0f} bytes each")
    print(f"all in all {resident_mb() - start:.0f} MB")
    leaving, coming, looking = [], [], []
    for number in range(MOVES):
        online = here[number % len(here)]
        one = array("I", online.items)
        leaving.append(timed(presence.disconnect, online) * 1e6)
        looking.append(timed(lambda: presence.bands) * 1e6)
        online = presence.connect(online.account, 1, 0.0)
        coming.append(timed(presence.add, online, one) * 1e6)
        looking.append(timed(lambda: presence.bands) * 1e6)
        here[number % len(here)] = online
    print(
        f"a share of {SHARE:,} files comes back in {median(coming):.0f} us and goes in {median(leaving):.0f} us; "
        f"the next search takes {median(looking):.0f} us more"
    )
    measure_snapshot(engine, items, shares)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        start_from(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
