"""One of two sources fails in every way that a network and a process can: the other one carries on.

Real processes; what happens to the wire is done by a proxy of our own (`tests.support.chaos`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from napd.errors import NapError
from tests.support.chaos import ChaosProxy, Weather
from tests.support.community import MIB, behind, found, random_file, saved, waited
from tests.support.processes import PeerProcess, Processes
from tests.support.waiting import until

SIZE = 24 * MIB
#: What the two sources give: the one that will fail, and the other.
FAST, SLOW = 8 * MIB, 4 * MIB
#: Seconds within which bytes must come from the other holder.
FAILOVER_S = 5.0
#: Chunks of which two were asked at the end may come twice.
MAX_TWICE = 4 * MIB

Fail = Callable[[ChaosProxy, PeerProcess], None]


def stalled(proxy: ChaosProxy, source: PeerProcess) -> None:
    proxy.weather.stalled_down = True


def deaf(proxy: ChaosProxy, source: PeerProcess) -> None:
    proxy.weather.stalled_up = True


def crawling(proxy: ChaosProxy, source: PeerProcess) -> None:
    proxy.weather.rate = 0.05 * SLOW


def half_open(proxy: ChaosProxy, source: PeerProcess) -> None:
    proxy.weather.swallowing = True


def cut_off(proxy: ChaosProxy, source: PeerProcess) -> None:
    proxy.weather.refusing = True
    proxy.cut()


def reset(proxy: ChaosProxy, source: PeerProcess) -> None:
    proxy.cut(reset=True)


def corrupted(proxy: ChaosProxy, source: PeerProcess) -> None:
    proxy.weather.flip_one_in = 3


def delayed(proxy: ChaosProxy, source: PeerProcess) -> None:
    proxy.weather.delay_s = 0.25


def row(peer: PeerProcess, number: int = 1) -> dict[str, Any]:
    (shown,) = peer.call("queue.list", selectors=[str(number)])["downloads"]
    return dict(shown)


def come(peer: PeerProcess, number: int, at_least: int, within_s: float = 30.0) -> None:
    until(lambda: row(peer, number)["bytes_received"] >= at_least, f"{at_least} bytes", within_s)


@pytest.fixture
def proxy() -> Iterator[ChaosProxy]:
    made = ChaosProxy().start()
    yield made
    made.stop()


WAYS = [stalled, deaf, crawling, half_open, cut_off, reset, corrupted, delayed]


@pytest.mark.slow
def test_another_holder_carries_on(processes: Processes, proxy: ChaosProxy) -> None:
    index = processes.index()
    fast = behind(processes, proxy, "fast", index)
    slow, bob = (processes.peer(name, index=index, start=False) for name in ("slow", "bob"))
    data = {way.__name__: random_file(fast.shared / f"{way.__name__}.bin", SIZE, n) for n, way in enumerate(WAYS)}
    for name, bytes_ in data.items():
        slow.shared.joinpath(f"{name}.bin").write_bytes(bytes_)
    fast.start()
    proxy.lead_to(fast.address)
    slow.start()
    bob.start()
    fast.call("limit", up=FAST)
    for number, way in enumerate(WAYS, 1):
        try:
            _carried_on(way, number, proxy, fast, slow, bob)
        except AssertionError as error:
            raise AssertionError(f"{way.__name__}: {error}") from error
        assert saved(bob, number) == data[way.__name__]


def _carried_on(
    fail: Fail, number: int, proxy: ChaosProxy, fast: PeerProcess, slow: PeerProcess, bob: PeerProcess
) -> None:
    slow.call("limit", up=SLOW)
    name = fail.__name__

    def found_by_both() -> str | None:
        try:
            results = bob.call("search", query=name)["results"]
        except NapError:
            # The index is being looked for still.
            return None
        return str(results[0]["content"]) if results and results[0]["sources"] == 2 else None

    content = until(found_by_both, "two sources", 30.0, every_s=0.1)
    bob.call("get", results=[content])
    come(bob, number, 4 * MIB)

    fail(proxy, fast)
    come(bob, number, row(bob, number)["bytes_received"] + 2 * MIB, FAILOVER_S)
    slow.call("limit", up=0)
    # What the failed one had been asked for is not waited for longer than it takes to notice.
    until(lambda: row(bob, number)["state"] == "done", "the end", 3 * FAILOVER_S, every_s=0.05)
    assert row(bob, number)["bytes_received"] <= SIZE + MAX_TWICE
    proxy.weather = Weather()
    proxy.cut()


@pytest.mark.slow
@pytest.mark.parametrize("fail", [reset, corrupted], ids=lambda fail: str(fail.__name__))
def test_the_sole_source_is_taken_up_again_when_the_wire_is_well(
    fail: Fail, processes: Processes, proxy: ChaosProxy
) -> None:
    index = processes.index()
    ada = behind(processes, proxy, "ada", index)
    bob = processes.peer("bob", index=index, start=False)
    data = random_file(ada.shared / "big.bin", 16 * MIB)
    ada.start()
    proxy.lead_to(ada.address)
    bob.start()
    ada.ctl("limit", "--up", "8MiB")
    found(bob, "big")
    bob.ctl("get", "1")
    come(bob, 1, 4 * MIB)

    fail(proxy, ada)
    if fail is corrupted:
        bob.wait_for_event("download.source_lost", timeout=20)
        proxy.weather.flip_one_in = 2000
    assert waited(bob).status == 0
    assert saved(bob) == data
    assert row(bob)["bytes_received"] <= 16 * MIB + MAX_TWICE
