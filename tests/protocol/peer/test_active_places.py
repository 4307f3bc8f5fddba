"""Active places and windows: the urgent take them over at once, those that only wait lend theirs and get them back."""

from __future__ import annotations

from napd.model import ContentId, DownloadState, Priority
from napd.peer.fetch.lane import Lane
from napd.peer.item import Item
from tests.support.swarm import Node
from tests.support.swarms import MIB, Swarm, data_of, saved


def lanes(node: Node, item: Item) -> list[Lane]:
    running = node.downloads.running(item)
    return [] if running is None else list(running.lanes.values())


def several(node: Node, count: int, size: int) -> list[ContentId]:
    return [node.library.add(f"{n}.bin", data_of(size, n)) for n in range(count)]


# --- The urgent ----------------------------------------------------------------------------------


def test_an_urgent_download_takes_over_the_windows_of_a_source_within_a_second(swarm: Swarm) -> None:
    ada, bob = swarm.node("ada"), swarm.node("bob")
    ada.up.set_rate(4e6)
    normal = bob.get(*several(ada, 3, 10 * MIB))
    swarm.until(lambda: all(item.bytes_received > 2 * MIB for item in normal))
    urgent_data = data_of(6 * MIB, 9)
    content = ada.library.add("urgent.bin", urgent_data)
    swarm.town.tell()
    (urgent,) = bob.get(content, priority=Priority.URGENT)

    swarm.until(lambda: urgent.bytes_received > 0, seconds=1)
    assert [item.state for item in normal] == [DownloadState.ACTIVE, DownloadState.ACTIVE, DownloadState.QUEUED]
    received = [item.bytes_received for item in normal]
    took = swarm.finish(urgent)
    # The whole source was its own, but for the chunks that were under way.
    assert took < 6 * MIB / 4e6 * 1.3
    assert sum(item.bytes_received for item in normal) - sum(received) <= 2 * MIB
    assert saved(urgent) == urgent_data

    swarm.finish(*normal)
    assert [saved(item) for item in normal] == [data_of(10 * MIB, n) for n in range(3)]
    # Nothing that had come was fetched again, but the chunk in the middle of which one was displaced.
    assert sum(item.bytes_received for item in normal) <= 32 * MIB


def test_what_is_less_urgent_goes_on_as_soon_as_the_urgent_one_has_asked_for_all(swarm: Swarm) -> None:
    ada, bob = swarm.node("ada"), swarm.node("bob")
    ada.up.set_rate(4e6)
    (normal,) = bob.get(ada.library.add("normal.bin", data_of(20 * MIB, 1)))
    swarm.until(lambda: normal.bytes_received > 2 * MIB)
    content = ada.library.add("urgent.bin", data_of(3 * MIB, 2))
    swarm.town.tell()
    (urgent,) = bob.get(content, priority=Priority.URGENT)
    swarm.finish(urgent)

    swarm.until(lambda: sum(lane.in_flight for lane in lanes(bob, normal)) > 1, seconds=1)
    swarm.finish(normal)
    assert saved(normal) == data_of(20 * MIB, 1)
    assert normal.bytes_received <= 21 * MIB


def test_one_that_becomes_urgent_overtakes(swarm: Swarm) -> None:
    ada, bob = swarm.node("ada"), swarm.node("bob")
    ada.up.set_rate(4e6)
    first, second = bob.get(*several(ada, 2, 16 * MIB))
    swarm.until(lambda: min(first.bytes_received, second.bytes_received) > 2 * MIB)
    bob.do(bob.downloads.prioritise([second], Priority.URGENT))
    swarm.finish(second)

    assert first.bytes_received < 12 * MIB
    swarm.finish(first)
    assert saved(first) == data_of(16 * MIB, 0)


# --- Those that only wait ------------------------------------------------------------------------


def test_a_download_that_waits_in_its_source_s_line_lends_its_place_and_gets_it_back(swarm: Swarm) -> None:
    busy = swarm.node("busy", slots=1)
    busy.up.set_rate(2e6)
    other = swarm.node("other")
    other.up.set_rate(2e6)
    rival, bob = swarm.node("rival"), swarm.node("bob", limit=1)
    content = busy.library.add("wanted.bin", data_of(16 * MIB, 1))
    (taken,) = rival.get(busy.library.add("taken.bin", data_of(16 * MIB, 3)))
    swarm.until(lambda: taken.bytes_received > 0)
    first, second = bob.get(content, other.library.add("other.bin", data_of(60 * MIB, 2)))

    swarm.until(lambda: second.state is DownloadState.ACTIVE, seconds=10)
    assert first.state is DownloadState.QUEUED
    assert [event.fields["download"] for event in bob.events("download.yielded")] == [first.id]
    # It keeps its place in the line.
    (lane,) = lanes(bob, first)
    assert lane.position == 1
    swarm.finish(taken)
    swarm.until(lambda: first.state is DownloadState.ACTIVE, seconds=3)
    assert second.state is DownloadState.QUEUED
    swarm.finish(first)

    assert saved(first) == data_of(16 * MIB, 1)
    assert first.bytes_received == 16 * MIB
    assert [event.fields["download"] for event in bob.events("download.returned")] == [first.id]
    swarm.until(lambda: second.state is DownloadState.ACTIVE, seconds=1)


def test_a_download_that_waits_keeps_its_place_when_nobody_wants_it(swarm: Swarm) -> None:
    busy = swarm.node("busy", slots=1)
    busy.up.set_rate(1e6)
    content = busy.library.add("wanted.bin", data_of(8 * MIB, 1))
    rival, bob = swarm.node("rival"), swarm.node("bob", limit=1)
    (taken,) = rival.get(busy.library.add("taken.bin", data_of(8 * MIB, 3)))
    swarm.until(lambda: taken.bytes_received > 0)
    (first,) = bob.get(content)
    swarm.pass_time(5)
    assert first.state is DownloadState.ACTIVE

    other = swarm.node("other")
    (late,) = bob.get(other.library.add("late.bin", data_of(4 * MIB, 2)))
    swarm.finish(late, seconds=4)
    swarm.finish(first)
    assert saved(first) == data_of(8 * MIB, 1)


def test_what_stepped_aside_can_be_paused_cancelled_and_left_without_a_source(swarm: Swarm) -> None:
    busy = swarm.node("busy", slots=1)
    busy.up.set_rate(0.5e6)
    contents = several(busy, 4, 8 * MIB)
    rival, bob = swarm.node("rival"), swarm.node("bob", limit=1)
    (taken,) = rival.get(contents[0])
    swarm.until(lambda: taken.bytes_received > 0)
    items = bob.get(*contents[1:])
    swarm.until(lambda: len(bob.events("download.yielded")) >= 2, seconds=20)
    aside = [item for item in items if bob.downloads.queue.is_aside(item)]
    assert len(aside) == 2

    bob.do(bob.downloads.pause([aside[0]]))
    bob.do(bob.downloads.cancel([aside[1]]))
    swarm.pass_time(1)
    assert [bob.downloads.running(item) for item in aside] == [None, None]
    bob.do(bob.downloads.resume([aside[0]]))
    busy.go_offline()
    swarm.town.tell()
    unfinished = [item for item in items if item is not aside[1]]
    swarm.until(lambda: all(item.state is DownloadState.WAITING for item in unfinished), seconds=30)


# --- So many with one source ---------------------------------------------------------------------


def test_no_more_downloads_than_are_allowed_work_with_one_source(swarm: Swarm) -> None:
    ada, bob = swarm.node("ada"), swarm.node("bob", limit=4)
    ada.up.set_rate(8e6)
    bob.sources.per_source = 2
    items = bob.get(*several(ada, 4, 6 * MIB))
    most = 0

    def looked() -> bool:
        nonlocal most
        most = max(most, sum(len(lanes(bob, item)) for item in items))
        return all(item.state.ended for item in items)

    swarm.until(looked)
    assert most == 2
    assert [saved(item) for item in items] == [data_of(6 * MIB, n) for n in range(4)]


def test_those_that_find_no_room_at_their_source_leave_their_places_to_others(swarm: Swarm) -> None:
    ada, cyd, bob = swarm.node("ada"), swarm.node("cyd"), swarm.node("bob", limit=2)
    ada.up.set_rate(1e6)
    bob.sources.per_source = 1
    crowd = bob.get(*several(ada, 2, 10 * MIB))
    (other,) = bob.get(cyd.library.add("other.bin", data_of(3 * MIB, 9)))
    swarm.finish(other, seconds=6)

    assert not any(item.state.ended for item in crowd)
    swarm.finish(*crowd)


def test_an_urgent_download_finds_room_at_any_source(swarm: Swarm) -> None:
    ada, bob = swarm.node("ada"), swarm.node("bob")
    ada.up.set_rate(2e6)
    bob.sources.per_source = 1
    (slow,) = bob.get(ada.library.add("slow.bin", data_of(20 * MIB, 1)))
    swarm.until(lambda: slow.bytes_received > MIB)
    content = ada.library.add("urgent.bin", data_of(2 * MIB, 2))
    swarm.town.tell()
    (urgent,) = bob.get(content, priority=Priority.URGENT)
    swarm.finish(urgent, seconds=3)
    assert not slow.state.ended
