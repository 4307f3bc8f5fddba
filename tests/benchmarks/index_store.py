"""What the index's store costs alone: everybody registers, then those who come later, and nobody searches.

::

    python -m tests.benchmarks.index_store HOLDINGS [NEWCOMERS]

Prints holdings a second, CPU time of both processes for each, and bytes on the disk. The peers and their files are
those of `make bench-index`; ten announce at a time, as many steps as a session may have open.
"""

from __future__ import annotations

import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Sequence
from os import stat
from pathlib import Path
from random import Random
from time import perf_counter, process_time
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred, gatherResults

from napd.index.store.interface import NOWHERE, Step
from napd.index.store.sqlite.store import SqliteStore
from napd.wire import index as wire
from tests.support.index_script import identity

from .index import corpus
from .index.corpus import EPOCH, Corpus, Share
from .options import count
from .usage import cpu_s, resident_bytes

#: Peers that announce at a time, and announces that one of them has open.
AT_ONCE = 10
WINDOW = wire.ANNOUNCE_WINDOW


class Registering:
    def __init__(self, store: SqliteStore, made: Corpus) -> None:
        self._store = store
        self._corpus = made
        self._shares: deque[Share] = deque()
        self._done = 0

    async def all_of(self, shares: Iterable[Share]) -> int:
        """How many holdings it were."""
        self._shares.extend(shares)
        self._done = 0
        await gatherResults([Deferred.fromCoroutine(self._one_after_another()) for _ in range(AT_ONCE)])
        return self._done

    async def _one_after_another(self) -> None:
        while self._shares:
            share = self._shares.popleft()
            account = await self._store.account_for(share.user, identity("peer").id, 1.0)
            opened = await self._store.open_session(account.number, NOWHERE, 1.0)
            under_way: deque[Deferred[Any]] = deque()
            for line in self._corpus.announces(share):
                if len(under_way) == WINDOW:
                    await under_way.popleft()
                message = wire.decode_from_peer(line)
                assert isinstance(message, wire.Announce)
                self._done += len(message.add)
                step = Step(
                    account.number,
                    opened.session,
                    EPOCH,
                    message.base,
                    message.revision,
                    message.add,
                    (),
                    message.reset,
                )
                under_way.append(self._store.apply(step, 10_000_000))
            for one in under_way:
                await one


async def measure(reactor: Any, made: Corpus, database: Path) -> None:
    numbers = iter(range(1 << 30))
    store = SqliteStore.open(reactor, database, lambda: f"account{next(numbers)}", Random(1))
    registering = Registering(store, made)
    for name, shares in (("from empty", [*made.everybody()]), ("newcomers", made.newcomers)):
        began, here_s, there_s = perf_counter(), process_time(), cpu_s(store.writer.pid)
        holdings = await registering.all_of(shares)
        here_us = (process_time() - here_s) / holdings * 1e6
        there_us = (cpu_s(store.writer.pid) - there_s) / holdings * 1e6
        per_s = holdings / (perf_counter() - began)
        print(
            f"{name}: {holdings:,} holdings, {per_s:,.0f}/s; CPU {here_us:.1f} us here, {there_us:.1f} us in the "
            f"writer, whose memory is {resident_bytes(store.writer.pid) / 1e6:.0f} MB",
            flush=True,
        )
    counts = await store.counts()
    await store.stop()
    # Everything is in it now.
    size = stat(database).st_size
    print(f"{size / counts.listings:.1f} bytes a holding, {counts.items:,} items", flush=True)


def main(arguments: Sequence[str]) -> None:
    holdings, newcomers, *_ = [*map(count, arguments), 40_000]
    with tempfile.TemporaryDirectory() as folder:
        corpus.write(Path(folder), holdings, newcomers)
        made = Corpus.read(Path(folder))
        database = Path(folder) / "index.db"
        task.react(lambda reactor: Deferred.fromCoroutine(measure(reactor, made, database)))


if __name__ == "__main__":
    main(sys.argv[1:])
