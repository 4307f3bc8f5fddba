"""What a holding costs the index's reactor while peers register: everything but TLS and the store.

::

    python -m tests.benchmarks.index_learn [HOLDINGS]

Peers announce what they have through sessions of a real index, over transports that are function calls; the store is in
memory and its time is taken off. Then as many others announce the same lists again, so that nothing is new. Times are
CPU time in microseconds a holding; `longest` is the longest that the reactor was held at a time, in milliseconds.
"""

from __future__ import annotations

import gc
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred

from napd.index.store.interface import Applied, Step
from napd.index.store.memory import MemoryStore
from napd.wire import index as wire
from tests.support.index_script import IndexScript, PeerScript

from .index.corpus import Corpus, Share, write
from .index.parts import percentile

#: Announces that a peer has open.
WINDOW = wire.ANNOUNCE_WINDOW
#: Peers that announce at a time.
AT_ONCE = 10


class Meter:
    """Time that the reactor is held, without what `left_out` is told of."""

    def __init__(self) -> None:
        self.spent_s = 0.0
        self.times_s: list[float] = []
        self._out_s = 0.0

    def held(self, work: Callable[..., Any], *arguments: Any, **keywords: Any) -> None:
        self._out_s, began = 0.0, process_time()
        work(*arguments, **keywords)
        took_s = process_time() - began - self._out_s
        self.spent_s += took_s
        self.times_s.append(took_s)

    def left_out(self, took_s: float) -> None:
        self._out_s += took_s


class UntimedStore(MemoryStore):
    def __init__(self, meter: Meter) -> None:
        super().__init__(lambda: f"account{len(self._accounts)}")
        self._meter = meter

    def apply(self, step: Step, most: int) -> Deferred[Applied]:
        began = process_time()
        applied = self._apply(step, most)
        done: Deferred[Applied] = Deferred()
        done.callback(applied)
        self._meter.left_out(process_time() - began)
        return done


@define
class Uploader:
    """A peer with announces left to say."""

    peer: PeerScript
    lines: deque[bytes]
    open: int = 0


def uploaders(script: IndexScript, corpus: Corpus, shares: Iterable[Share], tag: str) -> list[Uploader]:
    found = []
    for share in shares:
        peer = script.peer(f"{share.user}{tag}")
        peer.login()
        found.append(Uploader(peer, deque(corpus.announces(share))))
    return found


def register(script: IndexScript, meter: Meter, everybody: list[Uploader]) -> None:
    """Ten at a time, each with a full window; the reactor's turns are counted one by one."""
    waiting, busy = deque(everybody), deque[Uploader]()
    while waiting or busy:
        while waiting and len(busy) < AT_ONCE:
            busy.append(waiting.popleft())
        one = busy.popleft()
        link = one.peer.transport.link
        while one.lines and one.open < WINDOW:
            meter.held(link.dataReceived, one.lines.popleft() + b"\n")
            one.open += 1
        turns(script, meter)
        one.open -= len(one.peer.all(wire.Ack))
        if one.lines or one.open:
            busy.append(one)


def turns(script: IndexScript, meter: Meter) -> None:
    """One turn of the reactor: every call that is due, each for itself."""
    calls: Sequence[Any] = script.clock.getDelayedCalls()
    for call in [call for call in calls if call.getTime() <= script.clock.seconds()]:
        if call.active():
            function, arguments, keywords = call.func, call.args, call.kw
            call.cancel()
            meter.held(function, *arguments, **keywords)


def main(holdings: int) -> None:
    with TemporaryDirectory() as folder:
        write(Path(folder), holdings, holdings // 4)
        corpus = Corpus.read(Path(folder))
        meter = Meter()
        script = IndexScript(UntimedStore(meter))
        gc.collect()
        gc.freeze()
        for name, shares, tag in (
            ("empty index", corpus.members, ""),
            ("newcomers", corpus.newcomers, ""),
            ("nothing new", corpus.members, "b"),
        ):
            everybody = uploaders(script, corpus, shares, tag)
            listings = sum(share.listings for share in shares)
            before = script.services.engine.size()[0]
            meter.spent_s, meter.times_s = 0.0, []
            register(script, meter, everybody)
            new = script.services.engine.size()[0] - before
            each_us, held_ms = meter.spent_s / listings * 1e6, [took_s * 1e3 for took_s in meter.times_s]
            print(
                f"{name:12} {listings:8,} holdings, {new / listings:4.0%} new: {each_us:5.1f} us each, "
                f"reactor held: p99 {percentile(held_ms, 99):.1f}, longest {max(held_ms):.1f} ms"
            )
            decode(corpus, shares, listings)
        assert not script.faults, script.faults


def decode(corpus: Corpus, shares: Iterable[Share], listings: int) -> None:
    lines = [line for share in shares for line in corpus.announces(share)]
    began = process_time()
    for line in lines:
        wire.decode_from_peer(line)
    print(f"{'':12} of which decoding {(process_time() - began) / listings * 1e6:.1f} us")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000)
