"""Limits that must slow a transfer down and never break it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from twisted.internet.task import Clock

from napd.content.digest import CHUNK_BYTES
from napd.model import DownloadState
from napd.peer.fetch.feeding import MAX_UNJOURNALLED
from napd.peer.item import Item
from napd.wire.peer import MAX_OUTSTANDING
from tests.support.memory import MemoryNetwork
from tests.support.swarm import Node, Town, run_until

Make = Callable[..., Node]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Make]:
    """Makes peers that know one another."""
    clock = Clock()
    town, network = Town(clock), MemoryNetwork(clock)

    def make(user: str, *, limit: int = 3, slots: int = 8) -> Node:
        return Node(town, network, user, tmp_path / user, limit=limit, slots=slots)

    yield make
    for one in town.nodes:
        assert not one.faults, "\n".join(one.faults)


def saved(item: Item) -> bytes:
    assert item.state is DownloadState.DONE
    assert item.path is not None
    return Path(item.path).read_bytes()


def lost(node: Node) -> list[str]:
    return [event.fields["code"] for event in node.events("download.source_lost")]


def test_a_low_limit_shared_by_many_is_no_stall(node: Make) -> None:
    """64 KiB at a time would leave each of them without a byte for 13 s."""
    ada = node("ada", slots=8)
    ada.up.set_rate(40_000.0)
    fetchers = [node(f"user{number}") for number in range(8)]
    data = [Random(number).randbytes(CHUNK_BYTES // 4) for number in range(8)]
    items = [one.get(ada.library.add(f"{n}.bin", data[n]))[0] for n, one in enumerate(fetchers)]
    took = run_until(ada.clock, lambda: all(item.state.ended for item in items))
    assert [saved(item) for item in items] == data
    assert [code for one in fetchers for code in lost(one)] == []
    assert took == pytest.approx(8 * len(data[0]) / 40_000, rel=0.2)


def test_more_downloads_than_a_source_takes_requests_share_its_link(node: Make) -> None:
    ada, bob = node("ada"), node("bob", limit=1000)
    many = MAX_OUTSTANDING + 40
    contents = [ada.library.add(f"{n}.txt", str(n).encode()) for n in range(many)]
    items = bob.get(*contents)
    run_until(ada.clock, lambda: all(item.state.ended for item in items))
    assert [saved(item) for item in items] == [str(n).encode() for n in range(many)]
    assert lost(bob) == []
    assert ada.events("peer.misbehaved") == []


def test_no_slots_at_all_makes_everybody_wait_and_one_serves_them(node: Make) -> None:
    ada, bob = node("ada", slots=0), node("bob")
    (item,) = bob.get(ada.library.add("file", b"bytes"))
    run_until(ada.clock, lambda: ada.uploads.totals().queued == 1)
    ada.clock.pump([0.5] * 240)
    assert item.state is DownloadState.ACTIVE
    assert lost(bob) == []
    ada.uploads.turns.set_limit(1)
    run_until(ada.clock, lambda: item.state.ended, 5)
    assert saved(item) == b"bytes"


def test_sources_whose_turns_come_together_are_asked_for_no_more_than_may_be_lost(node: Make) -> None:
    data = Random(1).randbytes(160 * CHUNK_BYTES)
    sources = [node(f"user{number}", slots=0) for number in range(8)]
    contents = {one.library.add("film.mkv", data) for one in sources}
    bob, cyd = node("bob"), node("cyd", slots=0)
    for one in sources:
        # Fast enough for the largest window.
        bob.sources._experience.measured(one.key.id, 100e6, 10.0, 0.001)
        one.up.set_rate(5e6)
    # Where somebody else fetches it too, each source is asked for other chunks.
    sources[0].uploads.turns.set_limit(1)
    cyd.get(*contents)
    run_until(bob.clock, lambda: cyd.discovery.parts != {}, 30)
    sources[0].uploads.turns.set_limit(0)
    (item,) = bob.get(*contents)

    def in_flight(*, waiting: bool) -> int:
        running = bob.downloads.running(item)
        lanes = () if running is None else running.lanes.values()
        return sum(lane.in_flight for lane in lanes if lane.waits is waiting)

    most = 0

    def looked() -> bool:
        nonlocal most
        most = max(most, in_flight(waiting=False))
        return item.bytes_received >= 8 * CHUNK_BYTES

    run_until(bob.clock, lambda: in_flight(waiting=True) > 1.5 * MAX_UNJOURNALLED, 10)
    for one in sources:
        one.uploads.turns.set_limit(8)
    run_until(bob.clock, looked, step=0.001)
    assert MAX_UNJOURNALLED / 2 < most <= MAX_UNJOURNALLED
