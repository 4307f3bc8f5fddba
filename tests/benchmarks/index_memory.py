"""What items and holdings cost the index in memory, and what coming and going costs in time.

::

    python -m tests.benchmarks.index_memory [HOLDINGS]

Three items in memory for eight holdings, a fifth of them a second name of a content, shares of 2,000 files in which a
few items are very common. Times are CPU time; memory is what the process has resident, its start taken off.
"""

from __future__ import annotations

import sys
from array import array
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory

from napd.index.engine import MemoryEngine
from napd.index.presence import Online, Presence
from napd.index.snapshot import restored
from napd.index.snapshot_file import SnapshotWriter, read_parts
from napd.index.store.interface import Account
from napd.index.table import ItemTable
from napd.model import PeerId
from tests.benchmarks.index_engine import Corpus, resident_mb, timed

SHARE = 2_000
#: Comings and goings that are measured.
MOVES = 200


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
