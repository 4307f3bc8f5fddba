"""A source that fails in any of its ways: bytes flow from another within seconds, and no good chunk comes twice."""

from __future__ import annotations

import pytest

from napd.model import DownloadState, PeerId
from napd.peer.fetch.lane import Lane
from napd.peer.item import Item
from tests.support.swarm import Node
from tests.support.swarms import MIB, Swarm, data_of, saved

#: Within so many seconds bytes flow from another holder, whatever became of one.
SOON_S = 5.0


def lane_of(asker: Node, item: Item, source: Node) -> Lane | None:
    running = asker.downloads.running(item)
    return None if running is None else running.lanes.get(PeerId(source.key.id))


def served(asker: Node, item: Item, source: Node) -> int:
    lane = lane_of(asker, item, source)
    return 0 if lane is None else lane.served


def test_a_stalled_source_does_not_keep_its_chunks_from_another(swarm: Swarm) -> None:
    data = data_of(40 * MIB)
    content, nodes = swarm.holders(data, ada=4e6, bob=4e6)
    cyd = swarm.node("cyd")
    (item,) = cyd.get(content)
    swarm.until(lambda: min(served(cyd, item, node) for node in nodes.values()) > 2)

    swarm.silence(nodes["ada"])
    stuck = lane_of(cyd, item, nodes["ada"])
    assert stuck is not None
    assert swarm.until(lambda: stuck.doubtful, seconds=SOON_S)
    running = cyd.downloads.running(item)
    assert running is not None
    swarm.finish(item)

    assert saved(item) == data
    # What had not come was asked of the other: a chunk that was under way is all that may have come twice.
    assert item.bytes_received <= len(data) + MIB


def test_a_source_that_goes_on_after_a_pause_keeps_what_nobody_took_meanwhile(swarm: Swarm) -> None:
    data = data_of(20 * MIB)
    content, nodes = swarm.holders(data, ada=4e6)
    bob = swarm.node("bob")
    (item,) = bob.get(content)
    swarm.until(lambda: served(bob, item, nodes["ada"]) > 2)

    for end in swarm.links_of(nodes["ada"]):
        end.cut = True
    swarm.pass_time(6)
    lane = lane_of(bob, item, nodes["ada"])
    assert lane is not None
    assert lane.doubtful
    for end in swarm.links_of(nodes["ada"]):
        end.cut = False
        end._wake()
    swarm.finish(item)

    assert saved(item) == data
    assert bob.events("download.source_lost") == []
    assert item.bytes_received == len(data)


def test_a_source_that_stalls_before_it_has_told_the_digests_is_passed_over(swarm: Swarm) -> None:
    data = data_of(4 * MIB)
    content, nodes = swarm.holders(data, ada=4e6)
    bob = swarm.node("bob")
    (item,) = bob.get(content)
    swarm.until(lambda: lane_of(bob, item, nodes["ada"]) is not None)
    swarm.silence(nodes["ada"])
    swarm.holders(data, cyd=4e6)
    swarm.town.tell()

    swarm.until(lambda: item.bytes_received > 0, seconds=SOON_S)
    swarm.finish(item)
    assert saved(item) == data


@pytest.mark.parametrize("way", ["killed", "gone_from_the_index", "refusing"])
def test_bytes_flow_from_another_within_seconds(swarm: Swarm, way: str) -> None:
    data = data_of(30 * MIB)
    content, nodes = swarm.holders(data, ada=5e6)
    cyd = swarm.node("cyd")
    (item,) = cyd.get(content)
    swarm.until(lambda: item.bytes_received > 8 * MIB)
    _, others = swarm.holders(data, bob=5e6)
    swarm.town.tell()
    if way == "refusing":
        del nodes["ada"].library.files[content]
    else:
        nodes["ada"].go_offline()
        if way == "gone_from_the_index":
            swarm.town.tell()

    swarm.until(lambda: served(cyd, item, others["bob"]) > 0, seconds=SOON_S)
    swarm.finish(item)
    assert saved(item) == data
    assert item.bytes_received <= len(data) + 2 * MIB


def test_a_crawling_source_gets_one_chunk_at_a_time_and_the_best_the_others(swarm: Swarm) -> None:
    data = data_of(40 * MIB)
    content, nodes = swarm.holders(data, slow=4e6, fast=4e6)
    cyd = swarm.node("cyd")
    (item,) = cyd.get(content)
    swarm.until(lambda: min(served(cyd, item, node) for node in nodes.values()) > 4)

    nodes["slow"].up.set_rate(0.1e6)
    slow = lane_of(cyd, item, nodes["slow"])
    assert slow is not None
    swarm.until(lambda: slow.crawling, seconds=SOON_S)
    assert slow.in_flight <= 1
    took = swarm.finish(item, seconds=20)

    assert saved(item) == data
    assert took < 40 * MIB / 4e6
    assert item.bytes_received <= len(data) + 2 * MIB


def test_a_source_that_crawled_is_used_in_full_when_it_has_recovered(swarm: Swarm) -> None:
    data = data_of(50 * MIB)
    content, nodes = swarm.holders(data, slow=0.1e6, fast=2e6)
    cyd = swarm.node("cyd")
    (item,) = cyd.get(content)
    slow = nodes["slow"]
    swarm.until(lambda: (lane := lane_of(cyd, item, slow)) is not None and lane.crawling, seconds=20)

    slow.up.set_rate(4e6)
    lane = lane_of(cyd, item, slow)
    assert lane is not None
    before = lane.served
    swarm.until(lambda: not lane.crawling, seconds=20)
    swarm.until(lambda: lane.served > before + 6, seconds=5)


def test_the_last_chunks_are_not_waited_for_but_asked_of_a_second_source(swarm: Swarm) -> None:
    data = data_of(24 * MIB)
    content, _ = swarm.holders(data, slow=1.2e6, fast=10e6)
    cyd = swarm.node("cyd")
    started = swarm.clock.seconds()
    (item,) = cyd.get(content)
    swarm.finish(item)

    assert saved(item) == data
    # Had the slow one been waited for with its first window, that alone would have taken 3.5 s.
    assert swarm.clock.seconds() - started < 24 * MIB / 11.2e6 * 1.4
    assert item.bytes_received <= len(data) + 2 * MIB


def test_our_own_limit_makes_nobody_stall_or_crawl(swarm: Swarm) -> None:
    data = data_of(10 * MIB)
    content, _ = swarm.holders(data, ada=20e6, bob=2e6)
    cyd = swarm.node("cyd")
    cyd.down.set_rate(0.2e6)
    (item,) = cyd.get(content)

    def looked() -> bool:
        running = cyd.downloads.running(item)
        if running is not None:
            assert not any(lane.doubtful or lane.crawling for lane in running.lanes.values())
        return item.state.ended

    swarm.until(looked)
    assert saved(item) == data
    assert cyd.events("download.source_lost") == []


def test_a_late_reactor_is_no_stall(swarm: Swarm) -> None:
    data = data_of(20 * MIB)
    content, nodes = swarm.holders(data, ada=4e6)
    bob = swarm.node("bob")
    (item,) = bob.get(content)
    swarm.until(lambda: served(bob, item, nodes["ada"]) > 2)
    lane = lane_of(bob, item, nodes["ada"])
    assert lane is not None

    for _ in range(3):
        # Everything stands still for 30 s; timers come first, and only then what has arrived.
        swarm.clock.rightNow += 30.0
        swarm.pass_time(0.1)
        assert not lane.doubtful
    swarm.finish(item)
    assert saved(item) == data
    assert bob.events("download.source_lost") == []


def test_waiting_in_a_source_s_queue_is_no_stall(swarm: Swarm) -> None:
    ada = swarm.node("ada", slots=1)
    ada.up.set_rate(1e6)
    content = ada.library.add("file.bin", data_of(12 * MIB))
    bob, cyd = swarm.node("bob"), swarm.node("cyd")
    (first,) = bob.get(content)
    swarm.until(lambda: first.bytes_received > 0)
    (second,) = cyd.get(content)
    swarm.until(lambda: (lane := lane_of(cyd, second, ada)) is not None and lane.position == 1)
    lane = lane_of(cyd, second, ada)
    assert lane is not None

    while not first.state.ended:
        swarm.pass_time(0.5)
        assert not lane.doubtful
    swarm.finish(second)
    assert cyd.events("download.source_lost") == []


def test_the_only_source_returns_with_a_new_connection_while_the_old_one_is_dead(swarm: Swarm) -> None:
    data = data_of(30 * MIB)
    content, nodes = swarm.holders(data, ada=4e6)
    ada = nodes["ada"]
    bob = swarm.node("bob")
    (item,) = bob.get(content)
    swarm.until(lambda: item.bytes_received > 4 * MIB)

    swarm.silence(ada)
    ada.online = False
    swarm.town.tell()
    swarm.pass_time(4)
    ada.online = True
    swarm.town.tell()
    before = item.bytes_received
    swarm.until(lambda: item.state is DownloadState.ACTIVE and item.bytes_received > before, seconds=SOON_S)
    swarm.finish(item)
    assert saved(item) == data


def test_a_place_told_for_what_is_not_wanted_any_more_keeps_nothing_waiting(swarm: Swarm) -> None:
    """Found by simulation (seed 34): the source was thought to make us wait for ever, and never asked again."""
    ada, cyd = swarm.node("ada"), swarm.node("cyd")
    data = data_of(3 * MIB)
    content = ada.library.add("file.bin", data)
    ada.uploads.turns.set_limit(0)
    (item,) = cyd.get(content)
    swarm.until(lambda: (lane := lane_of(cyd, item, ada)) is not None and lane.position == 1)
    lane = lane_of(cyd, item, ada)
    assert lane is not None
    lane.trim()
    ada.uploads.turns.set_limit(8)

    swarm.finish(item, seconds=20.0)

    assert saved(item) == data
