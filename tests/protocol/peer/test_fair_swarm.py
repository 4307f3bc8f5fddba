"""Fair uploads between whole peers: queues against queues, on a memory network and a virtual clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from twisted.internet.task import Clock

from napd.content.digest import CHUNK_BYTES
from napd.model import DownloadState, Priority
from napd.peer.serve import upload_turns
from napd.peer.source_views import source_rows
from napd.peer.sources.standings import REFUSAL_BAN_S
from tests.support.memory import MemoryNetwork
from tests.support.swarm import Node, Town, run_until

Make = Callable[..., Node]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Make]:
    """Makes peers that know one another."""
    clock = Clock()
    town, network = Town(clock), MemoryNetwork(clock)

    def make(user: str, **options: object) -> Node:
        return Node(town, network, user, tmp_path / user, **options)  # type: ignore[arg-type]

    yield make
    for one in town.nodes:
        assert not one.faults, "\n".join(one.faults)


def test_an_urgent_download_overtakes_on_the_same_connection_within_a_second(node: Make) -> None:
    ada, bob = node("ada"), node("bob", limit=2)
    ada.up.set_rate(4e6)
    big = ada.library.add("big", Random(1).randbytes(24 * CHUNK_BYTES))
    small = ada.library.add("small", b"small")
    (first,) = bob.get(big)
    run_until(ada.clock, lambda: first.bytes_received >= 3 * CHUNK_BYTES)
    (second,) = bob.get(small, priority=Priority.URGENT)
    run_until(ada.clock, lambda: second.state is DownloadState.DONE, 1.0)
    assert first.bytes_received < 9 * CHUNK_BYTES
    run_until(ada.clock, lambda: first.state is DownloadState.DONE, 10)


def test_a_changed_priority_counts_for_what_is_asked_next(node: Make) -> None:
    ada, bob = node("ada"), node("bob", limit=2)
    ada.up.set_rate(4e6)
    contents = [ada.library.add(name, Random(name).randbytes(40 * CHUNK_BYTES)) for name in ("one", "two")]
    one, two = bob.get(*contents)
    run_until(ada.clock, lambda: two.bytes_received > CHUNK_BYTES)
    bob.do(bob.downloads.prioritise([two], Priority.URGENT))
    run_until(ada.clock, lambda: two.state is DownloadState.DONE, 30)
    assert one.bytes_received < 25 * CHUNK_BYTES


def test_who_waits_sees_its_place_and_an_estimate(node: Make) -> None:
    ada, bob, cyd = node("ada", slots=1), node("bob", limit=50), node("cyd")
    ada.up.set_rate(1e6)
    bobs = bob.get(*[ada.library.add(f"bob{n}", Random(n).randbytes(500_000)) for n in range(30)])
    run_until(ada.clock, lambda: any(item.state.ended for item in bobs))
    items = cyd.get(*[ada.library.add(f"cyd{n}", Random(1000 + n).randbytes(500_000)) for n in range(3)])

    def row() -> tuple[int | None, float | None, str]:
        (found,) = source_rows(cyd.downloads, cyd.sources, items[-1], ada.clock.seconds())
        return found.queue_position, found.queue_estimate_s, found.why

    run_until(ada.clock, lambda: row()[1] is not None, 20)
    position, estimate, why = row()
    assert position is not None
    assert estimate is not None
    assert 0 < estimate < 6
    assert f"our place is {position}" in why
    run_until(ada.clock, lambda: all(item.state.ended for item in items), 20)
    assert not all(item.state.ended for item in bobs)


def test_busy_is_taken_at_its_word(node: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_turns, "MAX_CONTENTS_PER_USER", 2)
    ada, bob = node("ada", slots=0), node("bob")
    one, two, three = bob.get(*[ada.library.add(f"f{n}", f"f{n}".encode()) for n in range(3)])
    run_until(ada.clock, lambda: bool(bob.events("download.source_lost")), 10)
    (lost,) = bob.events("download.source_lost")
    assert lost.fields["code"] == "busy"
    run_until(ada.clock, lambda: three.state is DownloadState.WAITING, 10)
    ada.uploads.turns.set_limit(1)
    # After the shortest time that is ever said, and well before what a source without a word is given.
    took = run_until(ada.clock, lambda: all(item.state.ended for item in (one, two, three)), 60)
    assert took < REFUSAL_BAN_S / 2
    assert upload_turns.RETRY_AFTER_S[0] < REFUSAL_BAN_S / 2
