"""Sources that send something wrong: it is never stored, its source is charged with it, and the download goes on."""

from __future__ import annotations

from random import Random

import pytest

from napd.model import DownloadState
from tests.support.swarms import MIB, FlippingDisk, Swarm, data_of, saved


def now_and_then(seed: int, every: int) -> FlippingDisk:
    """Spoils one read in so many, by chance; the second one among them."""
    rng = Random(seed)
    return FlippingDisk(lambda number: number == 1 or rng.randrange(every) == 0)


@pytest.mark.parametrize("seed", range(4))
def test_a_source_that_spoils_a_chunk_now_and_then_finishes_even_as_the_only_one(swarm: Swarm, seed: int) -> None:
    disk = now_and_then(seed, 20)
    ada, bob = swarm.node("ada", disk=disk), swarm.node("bob")
    data = data_of(30 * MIB)
    (item,) = bob.get(ada.library.add("file.bin", data))
    swarm.finish(item, seconds=3600)

    assert saved(item) == data
    # What was read ahead for a request that was cancelled is never sent.
    assert 1 <= len(bob.events("download.chunk_rejected")) <= disk.flipped


def test_a_single_wrong_chunk_is_parole_and_no_ban(swarm: Swarm) -> None:
    ada, bob = swarm.node("ada", disk=FlippingDisk(lambda number: number == 5)), swarm.node("bob")
    ada.up.set_rate(20e6)
    data = data_of(30 * MIB)
    (item,) = bob.get(ada.library.add("file.bin", data))
    swarm.until(lambda: bool(bob.events("download.chunk_rejected")))
    running = bob.downloads.running(item)
    assert running is not None
    (lane,) = running.lanes.values()
    assert lane.alone
    assert lane.window == 1
    swarm.until(lambda: not lane.alone)
    swarm.finish(item)

    assert saved(item) == data
    assert bob.events("download.source_lost") == []
    assert bob.events("download.waiting") == []


def test_with_several_sources_the_one_that_lies_is_banned_and_the_others_go_on(swarm: Swarm) -> None:
    liar = swarm.node("liar", disk=FlippingDisk(lambda number: True))
    liar.up.set_rate(8e6)
    data = data_of(30 * MIB)
    liar.library.add("file.bin", data)
    content, _ = swarm.holders(data, ada=4e6, bob=4e6)
    cyd = swarm.node("cyd")
    (item,) = cyd.get(content)
    swarm.finish(item, seconds=60)

    assert saved(item) == data
    rejected = cyd.events("download.chunk_rejected")
    assert {event.fields["user"] for event in rejected} == {"liar"}
    # What was under way when the first was found out, and no more.
    assert len(rejected) <= 6
    assert [event.fields["code"] for event in cyd.events("download.source_lost")] == ["integrity"]


def test_the_ban_of_the_only_holder_ends_in_another_try_and_needs_no_person(swarm: Swarm) -> None:
    disk = FlippingDisk(lambda number: number < 12)
    liar, bob = swarm.node("liar", disk=disk), swarm.node("bob")
    data = data_of(10 * MIB)
    (item,) = bob.get(liar.library.add("file.bin", data))
    swarm.until(lambda: item.state is DownloadState.WAITING, seconds=60)
    assert item.bytes_done == 0
    swarm.finish(item, seconds=24 * 3600)

    assert saved(item) == data


def test_one_who_only_lies_costs_a_chunk_now_and_then(swarm: Swarm) -> None:
    liar, bob = swarm.node("liar", disk=FlippingDisk(lambda number: True)), swarm.node("bob")
    (item,) = bob.get(liar.library.add("file.bin", data_of(10 * MIB)))
    swarm.pass_time(3600)

    assert not item.state.ended
    assert item.bytes_done == 0
    # A first window, and then one for each try: after 30 s, 1, 2, 4 … minutes.
    assert len(bob.events("download.chunk_rejected")) <= 12


def test_a_ban_outlives_the_connection(swarm: Swarm) -> None:
    liar = swarm.node("liar", disk=FlippingDisk(lambda number: number % 3 == 0))
    content = liar.library.add("file.bin", data_of(10 * MIB))
    swarm.holders(data_of(10 * MIB), ada=0.5e6)
    bob = swarm.node("bob")
    (item,) = bob.get(content)
    swarm.until(lambda: bool(bob.events("download.source_lost")), seconds=60)
    rejected = len(bob.events("download.chunk_rejected"))
    liar.go_offline()
    swarm.town.tell()
    liar.come_back()
    swarm.town.tell()
    swarm.finish(item)

    assert saved(item) == data_of(10 * MIB)
    assert len(bob.events("download.chunk_rejected")) == rejected
