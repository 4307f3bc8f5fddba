"""The index in this process, without TLS: everybody registers, searches, comes and goes. Prints its figures as JSON.

::

    python -m tests.benchmarks.index.inside CORPUS DATABASE ROUNDS SECONDS RATE

Everybody has a session, over a transport that is a function call. What counts is from the bytes of a line to the bytes
of the last line of its answer.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from time import perf_counter, time
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred, gatherResults

from napd.background import Background
from napd.index.admission import Door
from napd.index.doorway import Doorway
from napd.index.limits import Limits
from napd.index.services import Services, assemble
from napd.index.store.interface import Position
from napd.index.store.sqlite.store import SqliteStore
from napd.index.tap import COLLECTED_AFTER
from napd.net.dial import TLSDialler
from napd.ops.events import Events
from napd.wire import index as wire
from tests.support.index_script import identity

from ..progress import Progress, said
from ..usage import resident_bytes
from .corpus import EPOCH, Corpus, Share
from .visitor import Visitor

#: Peers that announce at a time, and announces that one of them has open.
AT_ONCE = 10
WINDOW = wire.ANNOUNCE_WINDOW
#: Times that a peer comes and goes.
VISITS = 200
#: Seconds between two searches while others register: a searcher who does not wait for the index.
EVERY_S = 0.02
#: There is one in each entry of an announce.
_ENTRY = b'"content":'

Asked = Sequence[tuple[str, dict[str, Any]]]


class Inside:
    def __init__(self, reactor: Any, corpus: Corpus, database: Path) -> None:
        self._reactor = reactor
        self._corpus = corpus
        self._numbers = itertools.count(1)
        self.background = Background(lambda name, failure: failure.printTraceback(sys.stderr))
        self.store = SqliteStore.open(reactor, database, lambda: f"account{next(self._numbers)}", Random(1))
        key = identity("index")
        self.services: Services = assemble(
            clock=reactor,
            now=time,
            events=Events(time),
            background=self.background,
            identity=key,
            store=self.store,
            dialler=TLSDialler(reactor, key),
            random=Random(1),
            limits=Limits(searches_per_s=1e9, search_burst=1 << 30, connections=1 << 20, listings=10_000_000),
        )
        self._doorway = Doorway(self.services, Door(self.services))

    def visitor(self, user: str) -> Visitor:
        return Visitor(self._reactor, self._doorway, user)

    # --- Registering -----------------------------------------------------------------------------

    async def register(self, shares: Iterable[Share], per_s: float | None = None) -> float:
        """Let these announce what they have, several at a time; holdings a second.

        :param per_s: no faster than that.
        """
        began = perf_counter()
        waiting = deque(shares)
        progress = Progress("holdings registered", sum(share.listings for share in waiting))
        done = 0

        async def one_after_another() -> None:
            nonlocal done
            while waiting:
                share = waiting.popleft()
                peer = self.visitor(share.user)
                await peer.login()
                open_steps: deque[Deferred[Any]] = deque()
                for line in self._corpus.announces(share):
                    if len(open_steps) == WINDOW:
                        await open_steps.popleft()
                    if per_s is not None and (early_s := began + done / per_s - perf_counter()) > 0:
                        await task.deferLater(self._reactor, early_s)
                    done += line.count(_ENTRY)
                    progress.at(done)
                    open_steps.append(peer.announce(line + b"\n"))
                for step in open_steps:
                    await step

        await gatherResults([Deferred.fromCoroutine(one_after_another()) for _ in range(AT_ONCE)])
        return done / (perf_counter() - began)

    # --- Coming and going ------------------------------------------------------------------------

    async def visits(self) -> tuple[list[float], list[float]]:
        """Microseconds to bring an unchanged share online, and to take it off; without the commit of its login."""
        share = self._corpus.regular
        held = Position(EPOCH, share.revision, share.digest)
        account = await self.store.account_for(share.user, identity(share.user).id, time())
        online = self.services.presence.get(account.number)
        came, left = [], []
        for _ in range(VISITS):
            if online is not None:
                began = perf_counter()
                self.services.catalogues.disconnect(online)
                left.append((perf_counter() - began) * 1e6)
            opened = await self.store.open_session(account.number, held, time())
            began = perf_counter()
            online = await self.services.catalogues.connect(account, opened, time())
            came.append((perf_counter() - began) * 1e6)
        return came, left

    async def stop(self) -> None:
        await self.background.stop()
        self.services.seeking.stop()
        self.services.turns.stop()
        await self.store.stop()


async def by_class(visitor: Visitor, corpus: Corpus, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each search; the classes take turns."""
    took: dict[str, list[float]] = {name: [] for name in corpus.queries}
    progress = Progress("searches", rounds * sum(map(len, corpus.queries.values())))
    for _ in range(rounds):
        for name, asked in corpus.queries.items():
            progress.at(sum(map(len, took.values())))
            for text, options in asked:
                took[name].append(await visitor.search(text, options))
    return took


async def mixed(visitor: Visitor, asked: Asked, seconds: float) -> float:
    """Whole answers a second, one search after the other."""
    began, answers = perf_counter(), 0
    while (spent := perf_counter() - began) < seconds:
        text, options = asked[answers % len(asked)]
        await visitor.search(text, options)
        answers += 1
    return answers / spent


async def meanwhile(reactor: Any, visitor: Visitor, asked: Asked, other: Deferred[float]) -> list[float]:
    """Milliseconds of searches that are made at their times until `other` is done, each from when it was due."""
    took: list[float] = []
    began = perf_counter()
    for number in itertools.count():
        due = began + number * EVERY_S
        if (early_s := due - perf_counter()) > 0:
            await task.deferLater(reactor, early_s)
        if other.called and number:
            return took
        text, options = asked[number % len(asked)]
        await visitor.search(text, options)
        took.append((perf_counter() - due) * 1000)
    return took


def mixture(corpus: Corpus) -> list[tuple[str, dict[str, Any]]]:
    """One of each class after the other."""
    return [one for many in zip(*corpus.queries.values(), strict=True) for one in many]


async def measure(reactor: Any, corpus: Corpus, database: Path, rounds: int, seconds: float, rate: float) -> Any:
    index = Inside(reactor, corpus, database)
    built_per_s = await index.register(corpus.everybody())
    visitor = index.visitor("visitor")
    await visitor.login()
    said("searching, class by class, then a mixture")
    searches = await by_class(visitor, corpus, rounds)
    answers_per_s = await mixed(visitor, mixture(corpus), seconds)
    came, left = await index.visits()
    said("newcomers register, then others while somebody searches")
    half = max(1, len(corpus.newcomers) // 2)
    registered_per_s = await index.register(corpus.newcomers[:half])
    registering = Deferred.fromCoroutine(index.register(corpus.newcomers[half:], rate))
    busy = await meanwhile(reactor, visitor, mixture(corpus), registering)
    figures = {
        "built_per_s": built_per_s,
        "searches_ms": searches,
        "answers_per_s": answers_per_s,
        "came_us": came,
        "left_us": left,
        "registered_per_s": registered_per_s,
        "meanwhile_ms": busy,
        "meanwhile_per_s": await registering,
        "memory_bytes": resident_bytes(os.getpid()),
    }
    visitor.leave()
    await index.stop()
    print(json.dumps(figures), flush=True)


def main(folder: str, database: str, rounds: str, seconds: str, rate: str) -> None:
    corpus = Corpus.read(Path(folder))
    # As the daemon does; and the corpus is not the index's.
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)
    task.react(
        lambda reactor: Deferred.fromCoroutine(
            measure(reactor, corpus, Path(database), int(rounds), float(seconds), float(rate))
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
