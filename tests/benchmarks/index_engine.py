"""How long searches take in the engine alone, and what items and holdings cost.

::

    python -m tests.benchmarks.index_engine [ITEMS]

The corpus is synthetic and seeded: words by Zipf's law, a fifth of the items a second name of a content, shares of
log-normal size in which a few items are very common. Prints a table; times are CPU time, in milliseconds.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from random import Random
from string import ascii_lowercase
from typing import Any

from napd.index.engine import MemoryEngine
from napd.index.items import Asker, Item
from napd.index.presence import Presence
from napd.index.search import wanted_of
from napd.index.store.interface import Account
from napd.index.table import ItemTable
from napd.model import PeerId
from napd.wire import index as wire
from napd.wire.catalogue import Entry

VOCABULARY = 100_000
ASKER = Asker(1 << 40, "asker", "peer")


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

    def share(self) -> list[int]:
        size = min(self.items, int(self.random.lognormvariate(6.5, 1)))
        common = [int(self.items ** self.random.random()) for _ in range(size // 2)]
        return common + [self.random.randint(1, self.items) for _ in range(size // 2)]


def timed(work: Callable[..., Any], *arguments: Any) -> float:
    """Seconds of CPU: what else the machine does is no part of it."""
    began = time.process_time()
    work(*arguments)
    return time.process_time() - began


def resident_mb() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


def main(items: int) -> None:
    corpus = Corpus(items)
    table = ItemTable()
    presence = Presence(table)
    engine = MemoryEngine(table, presence)
    before = resident_mb()
    spent = 0.0
    batch: list[Item] = []
    for item in corpus.all_items():
        batch.append(item)
        if len(batch) == 1000 or item.id == items:
            spent += timed(engine.learn, batch)
            batch = []
    print(f"{items:,} items: {spent / items * 1e6:.0f} us and {(resident_mb() - before) / items * 1e6:.0f} bytes each")
    before, spent = resident_mb(), 0.0
    for number in range(max(10, items // 400)):
        online = presence.connect(Account(number, f"id{number}", f"user{number}", PeerId("peer")), 1, 0.0)
        share = corpus.share()
        spent += timed(presence.add, online, share)
    held = presence.listings
    print(f"{held:,} holdings: {spent / held * 1e6:.1f} us and {(resident_mb() - before) / held * 1e6:.0f} bytes each")
    searches(engine, corpus)
    leaving = list(presence.all())[:50]
    left = sum(len(online.items) for online in leaving)
    spent = sum(timed(presence.disconnect, online) for online in leaving)
    print(f"a holding that leaves: {spent / left * 1e6:.1f} us")


def searches(engine: MemoryEngine, corpus: Corpus) -> None:
    words, random = corpus.words, corpus.random
    pairs = [f"{words[random.randint(0, 50)]} {words[random.randint(0, 50)]}" for _ in range(100)]
    classes: dict[str, tuple[Sequence[str], dict[str, Any]]] = {
        "ten commonest words": ([words[n % 10] for n in range(50)], {}),
        "common words": (words[10:110], {}),
        "two common words": (pairs, {}),
        "rare words": (words[20_000:20_100], {}),
        "three letters and *": ([word[:3] + "*" for word in words[:100]], {}),
        "common -common": ([f"{words[n]} -{words[n + 1]}" for n in range(50)], {}),
        "common, video": (words[:100], {"type": "video"}),
        "common, over 512 MiB": (words[:100], {"min_size": 1 << 29}),
        "by name": (words[:50], {"sort": "name"}),
        "by size": (words[:50], {"sort": "size"}),
    }
    print(f"{'search':24}{'p50':>8}{'p99':>8}")
    for name, (queries, options) in classes.items():
        asked = [wanted_of(wire.Search(1, query, **options), 1000) for query in queries]
        times = sorted(timed(engine.search, wanted, ASKER) * 1000 for wanted in asked)
        print(f"{name:24}{times[len(times) // 2]:8.2f}{times[len(times) * 99 // 100]:8.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
