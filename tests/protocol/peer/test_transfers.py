"""Transfers between the real parts of several peers, on a memory network and a virtual clock."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred

from napd.errors import DiskFailed, NoSpace
from napd.model import ContentId, DownloadState, Priority
from napd.peer.files.disk import Disk, FileIdentity
from napd.peer.files.flushed import FlushedChunks
from napd.peer.item import Item
from napd.peer.source_views import source_rows
from tests.support.swarm import Library, Node, Town
from tests.support.swarms import MIB, Swarm, data_of, saved


def leftovers(node: Node) -> list[str]:
    found = (node.directory / "downloads").rglob("*.part")
    return [str(path) for path in found]


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 5 * MIB + 123])
def test_a_file_of_any_size_arrives_as_it_was(swarm: Swarm, size: int) -> None:
    ada, bob = swarm.node("ada"), swarm.node("bob")
    content = ada.library.add("file.bin", data_of(size))

    (item,) = bob.get(content)
    swarm.finish(item)

    assert saved(item) == data_of(size)
    assert item.size == item.bytes_done == item.bytes_received == size
    assert leftovers(bob) == []


def test_a_content_that_nobody_has_waits_and_starts_when_somebody_comes(swarm: Swarm) -> None:
    ada, bob = swarm.node("ada"), swarm.node("bob")
    data = data_of(3 * MIB)
    content = ada.library.add("file.bin", data)
    file = ada.library.files.pop(content)

    (item,) = bob.get(content)
    swarm.until(lambda: item.state is DownloadState.WAITING)
    assert leftovers(bob) == []

    ada.library.files[content] = file
    swarm.town.tell()
    swarm.finish(item, seconds=5.0)
    assert saved(item) == data


def test_two_sources_both_serve(swarm: Swarm) -> None:
    ada, bob, cyd = swarm.node("ada"), swarm.node("bob"), swarm.node("cyd")
    data = data_of(40 * MIB)
    content = ada.library.add("file.bin", data)
    bob.library.add("other name.bin", data)
    for node in (ada, bob):
        node.up.set_rate(8e6)

    (item,) = cyd.get(content)
    swarm.finish(item)

    assert saved(item) == data
    sent = [sum(e.fields["bytes"] for e in node.events("upload.finished")) for node in (ada, bob)]
    swarm.until(lambda: bool(ada.events("upload.finished") and bob.events("upload.finished")))
    sent = [node.events("upload.finished")[0].fields["bytes"] for node in (ada, bob)]
    assert min(sent) > 10 * MIB
    assert item.bytes_received <= len(data) + 2 * MIB


def test_the_faster_source_dies_halfway_and_the_other_finishes(swarm: Swarm) -> None:
    ada, bob, cyd = swarm.node("ada"), swarm.node("bob"), swarm.node("cyd")
    data = data_of(30 * MIB)
    content = ada.library.add("file.bin", data)
    bob.library.add("file.bin", data)
    ada.up.set_rate(20e6)
    bob.up.set_rate(2e6)

    (item,) = cyd.get(content)
    swarm.until(lambda: item.bytes_received > 15 * MIB)
    ada.go_offline()
    swarm.finish(item)

    assert saved(item) == data
    assert [e.fields["user"] for e in cyd.events("download.source_lost")] == ["ada"]
    # Verified chunks are not fetched again; what was under way at the loss is.
    assert item.bytes_received <= len(data) + 17 * MIB


def test_the_only_source_dies_and_comes_back(swarm: Swarm) -> None:
    ada, bob = swarm.node("ada"), swarm.node("bob")
    data = data_of(20 * MIB)
    content = ada.library.add("file.bin", data)
    ada.up.set_rate(4e6)

    (item,) = bob.get(content)
    swarm.until(lambda: item.bytes_done > 5 * MIB)
    ada.go_offline()
    swarm.town.tell()
    swarm.until(lambda: item.state is DownloadState.WAITING, seconds=20)
    done_before = item.bytes_done

    ada.come_back()
    swarm.town.tell()
    swarm.until(lambda: item.state is DownloadState.ACTIVE and item.bytes_done > done_before, seconds=5)
    swarm.finish(item)
    assert saved(item) == data


class Flipping(Disk):
    """Reads with one bit wrong."""

    def read_cached(self, descriptor: int, buffer: memoryview, offset: int) -> bool:
        return False

    def read_into(self, descriptor: int, buffer: memoryview, offset: int) -> int:
        size = super().read_into(descriptor, buffer, offset)
        if size:
            buffer[size // 2] ^= 1
        return size


@pytest.mark.parametrize("size", [100, 5 * MIB])
def test_a_source_that_flips_bytes_is_left_and_the_other_finishes(swarm: Swarm, size: int) -> None:
    liar, honest, bob = swarm.node("liar", disk=Flipping()), swarm.node("honest"), swarm.node("bob")
    data = data_of(size)
    content = liar.library.add("file.bin", data)
    honest.library.add("file.bin", data)
    honest.up.set_rate(1e6)

    (item,) = bob.get(content)
    swarm.finish(item)

    assert saved(item) == data
    rejected = bob.events("download.chunk_rejected")
    assert {e.fields["user"] for e in rejected} <= {"liar"}
    assert size == 100 or rejected


@pytest.mark.parametrize("size", [100, MIB, 3 * MIB])
def test_a_liar_as_the_only_source_never_completes(swarm: Swarm, size: int) -> None:
    liar, bob = swarm.node("liar", disk=Flipping()), swarm.node("bob")
    content = liar.library.add("file.bin", data_of(size))

    (item,) = bob.get(content)
    swarm.until(lambda: item.state is DownloadState.WAITING, seconds=60)

    assert bob.events("download.chunk_rejected")
    assert not (bob.directory / "downloads" / "file.bin").exists()
    swarm.clock.pump([1.0] * 120)
    assert item.state is DownloadState.WAITING
    assert item.bytes_done == 0


def test_a_wrong_size_claim_is_found_out_without_blaming_the_source(swarm: Swarm) -> None:
    ada, bob = swarm.node("ada"), swarm.node("bob")
    data = data_of(3 * MIB)
    content = ada.library.add("file.bin", data)
    honest = swarm.town.holders

    def lying(content: object, asker: object) -> object:
        found = honest(content, asker)  # type: ignore[arg-type]
        return type(found)(found.content, found.holders, 10, found.name)

    swarm.town.holders = lying  # type: ignore[method-assign, assignment]
    (item,) = bob.get(content)
    swarm.finish(item)

    assert saved(item) == data
    assert bob.events("download.chunk_rejected") == []


def test_a_stalled_source_is_left_after_ten_seconds(swarm: Swarm) -> None:
    ada, bob, cyd = swarm.node("ada"), swarm.node("bob"), swarm.node("cyd")
    data = data_of(60 * MIB)
    content = ada.library.add("file.bin", data)
    bob.library.add("file.bin", data)
    ada.up.set_rate(3e6)
    bob.up.set_rate(3e6)

    (item,) = cyd.get(content)
    swarm.until(lambda: item.bytes_received > 4 * MIB)
    for transport in swarm.network.transports:
        if transport.identity is ada.key:
            transport.go_silent()
    swarm.finish(item, seconds=40)

    assert saved(item) == data
    assert [e.fields["code"] for e in cyd.events("download.source_lost")] == ["stalled"]


def test_an_urgent_download_displaces_within_a_second_and_nothing_is_lost(swarm: Swarm) -> None:
    ada, bob = swarm.node("ada"), swarm.node("bob", limit=1)
    ada.up.set_rate(4e6)
    slow = ada.library.add("slow.bin", data_of(30 * MIB, 1))
    urgent = ada.library.add("urgent.bin", data_of(2 * MIB, 2))

    (first,) = bob.get(slow)
    swarm.until(lambda: first.bytes_done > 4 * MIB)
    (second,) = bob.get(urgent, priority=Priority.URGENT)
    swarm.until(lambda: second.state is DownloadState.ACTIVE, seconds=1)
    assert first.state is DownloadState.QUEUED
    swarm.finish(second)
    assert not first.state.ended
    swarm.finish(first)

    assert saved(first) == data_of(30 * MIB, 1)
    assert saved(second) == data_of(2 * MIB, 2)
    # At most what was in flight at the displacement was fetched twice.
    assert first.bytes_received <= 47 * MIB


def test_pause_keeps_flushed_chunks_and_resume_goes_on(swarm: Swarm) -> None:
    ada, bob = swarm.node("ada"), swarm.node("bob")
    ada.up.set_rate(4e6)
    content = ada.library.add("file.bin", data_of(20 * MIB))
    (item,) = bob.get(content)
    swarm.until(lambda: item.bytes_done > 4 * MIB)

    bob.do(bob.downloads.pause([item]))
    assert item.state is DownloadState.PAUSED
    swarm.clock.pump([0.1] * 20)
    held, received = item.bytes_done, item.bytes_received
    swarm.clock.pump([0.5] * 20)
    assert (item.bytes_done, item.bytes_received) == (held, received)

    bob.do(bob.downloads.resume([item]))
    swarm.finish(item)
    assert saved(item) == data_of(20 * MIB)


def test_cancel_removes_the_partial_data_and_get_starts_over(swarm: Swarm) -> None:
    ada, bob = swarm.node("ada"), swarm.node("bob")
    ada.up.set_rate(4e6)
    content = ada.library.add("file.bin", data_of(20 * MIB))
    (item,) = bob.get(content)
    swarm.until(lambda: item.bytes_done > 4 * MIB)

    bob.do(bob.downloads.cancel([item]))
    assert item.state is DownloadState.CANCELLED
    assert leftovers(bob) == []

    (again,) = bob.get(content)
    assert again is item
    swarm.finish(item)
    assert saved(item) == data_of(20 * MIB)


def test_a_crash_costs_only_what_was_in_flight(swarm: Swarm) -> None:
    ada, bob = swarm.node("ada"), swarm.node("bob")
    ada.up.set_rate(8e6)
    data = data_of(40 * MIB)
    content = ada.library.add("file.bin", data)
    (item,) = bob.get(content)
    swarm.until(lambda: item.bytes_done > 10 * MIB)
    received_before = item.bytes_received

    bob.crash()
    bob.start()
    (restored,) = list(bob.downloads.queue)
    assert restored.id == item.id
    assert restored.bytes_done == item.bytes_done
    swarm.finish(restored)

    assert saved(restored) == data
    # What the wire delivered was hashed from the disk and not fetched again.
    assert restored.bytes_received - item.bytes_done <= len(data) - received_before + 20 * MIB


class Full(Disk):
    """Has room for so many bytes."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def write_at(self, descriptor: int, data: bytes | memoryview, offset: int) -> None:
        if len(data) > self.room:
            raise NoSpace("no space left for a partial file", "Free some")
        self.room -= len(data)
        super().write_at(descriptor, data, offset)


def test_a_full_disk_fails_with_no_space_keeps_chunks_and_can_be_retried(swarm: Swarm) -> None:
    disk = Full(6 * MIB)
    ada, bob = swarm.node("ada"), swarm.node("bob", disk=disk)
    data = data_of(20 * MIB)
    content = ada.library.add("file.bin", data)

    (item,) = bob.get(content)
    swarm.finish(item)
    assert item.state is DownloadState.FAILED
    assert item.error is not None
    assert item.error.code == "no_space"
    assert item.bytes_done == 6 * MIB

    disk.room = 1 << 40
    bob.do(bob.downloads.retry([item]))
    swarm.finish(item)
    assert saved(item) == data
    assert disk.room == (1 << 40) - 14 * MIB


def test_a_name_that_is_taken_is_numbered_and_nothing_is_replaced(swarm: Swarm) -> None:
    ada, bob = swarm.node("ada"), swarm.node("bob")
    content = ada.library.add("file.tar", data_of(100))
    downloads = bob.directory / "downloads"
    downloads.mkdir()
    (downloads / "file.tar").write_text("mine")
    (downloads / "file (1).tar").symlink_to("/nonexistent")

    (item,) = bob.get(content)
    swarm.finish(item)

    assert item.path == str(downloads / "file (2).tar")
    assert (downloads / "file.tar").read_text() == "mine"


def test_hundreds_of_small_files_share_one_connection(swarm: Swarm) -> None:
    ada, bob = swarm.node("ada"), swarm.node("bob")
    contents = [ada.library.add(f"{n}.txt", data_of(n, n)) for n in range(1, 301)]

    items = bob.get(*contents)
    swarm.finish(*items)

    assert all(saved(item) == data_of(int(item.name[:-4]), int(item.name[:-4])) for item in items)
    assert len({t.address for t in swarm.network.transports if t.identity is bob.key}) == 1


def test_slots_are_given_in_turn_and_places_are_told(swarm: Swarm) -> None:
    ada = swarm.node("ada", slots=1)
    ada.up.set_rate(4e6)
    content = ada.library.add("file.bin", data_of(8 * MIB))
    bob, cyd, dan = (swarm.node(user) for user in ("bob", "cyd", "dan"))
    (first,) = bob.get(content)
    swarm.until(lambda: first.bytes_received > 0)
    (second,) = cyd.get(content)
    (third,) = dan.get(content)
    swarm.until(lambda: len(ada.uploads.rows()) == 3)

    rows = [(row.user, row.state, row.position) for row in ada.uploads.rows()]
    assert rows == [("bob", "active", None), ("cyd", "queued", 1), ("dan", "queued", 2)]
    lane = next(iter(dan.downloads.running(third).lanes.values()))  # type: ignore[union-attr]
    swarm.until(lambda: lane.position == 2, seconds=5)

    swarm.finish(first, second, third)
    assert {saved(item) for item in (first, second, third)} == {data_of(8 * MIB)}


def test_a_peer_without_a_ticket_of_our_index_gets_nothing(swarm: Swarm, tmp_path: Path) -> None:
    ada = swarm.node("ada")
    content = ada.library.add("file.bin", data_of(100))
    elsewhere = Town(swarm.clock)
    mallory = Node(elsewhere, swarm.network, "mallory", tmp_path / "mallory")
    elsewhere.nodes.append(ada)

    (item,) = mallory.get(content)
    swarm.until(lambda: item.state is DownloadState.WAITING, seconds=120)

    assert [e.fields["code"] for e in ada.events("upload.denied")][:1] == ["bad_ticket"]
    assert item.bytes_received == 0


def test_a_content_for_others_is_gone_like_one_that_never_was(swarm: Swarm) -> None:
    ada, bob = swarm.node("ada"), swarm.node("bob")
    content = ada.library.add("secret.bin", data_of(100), audience=("@account-cyd",))

    (item,) = bob.get(content)
    swarm.until(lambda: item.state is DownloadState.WAITING, seconds=120)

    assert [e.fields["code"] for e in bob.events("download.source_lost")] == ["gone"]
    assert ada.events("upload.started") == []


def test_a_transfer_has_one_id_in_the_logs_of_both_ends(swarm: Swarm) -> None:
    ada, bob = swarm.node("ada"), swarm.node("bob")
    (item,) = bob.get(ada.library.add("file.bin", data_of(2 * MIB)))
    swarm.finish(item)

    assert ada.events("upload.started")[0].fields["transfer"] == bob.events("download.finished")[0].fields["transfer"]


def test_a_finished_file_that_was_removed_is_fetched_again(swarm: Swarm) -> None:
    ada, bob = swarm.node("ada"), swarm.node("bob")
    content = ada.library.add("file.bin", data_of(2 * MIB))
    (item,) = bob.get(content)
    swarm.finish(item)
    assert bob.get(content) == [item]
    assert item.state is DownloadState.DONE

    assert item.path is not None
    os.unlink(item.path)
    assert bob.get(content) == [item]
    swarm.until(lambda: len(bob.events("download.finished")) == 2)
    assert saved(item) == data_of(2 * MIB)


def test_a_source_that_is_not_who_the_index_said_is_refused(swarm: Swarm) -> None:
    ada, bob, impostor = swarm.node("ada"), swarm.node("bob"), swarm.node("impostor")
    content = ada.library.add("file.bin", data_of(100))
    # Whoever answers at ada's address proves another key.
    swarm.network.close(ada.address)
    swarm.network.listen(ada.address, impostor.key, {b"nap-peer/1": impostor._serve})

    (item,) = bob.get(content)
    swarm.until(lambda: item.state is DownloadState.WAITING, seconds=60)

    assert item.bytes_received == 0
    (row,) = source_rows(bob.downloads, bob.sources, item, swarm.clock.seconds())
    assert row.state in ("idle", "backing_off")
    assert impostor.events("upload.started") == []


@pytest.mark.parametrize("end", ["up", "down"])
def test_a_limit_holds_for_all_transfers_together(swarm: Swarm, end: str) -> None:
    ada, bob = swarm.node("ada"), swarm.node("bob")
    contents = [ada.library.add(f"{n}.bin", data_of(8 * MIB, n)) for n in range(3)]
    (ada.up if end == "up" else bob.down).set_rate(4e6)
    started = swarm.clock.seconds()

    items = bob.get(*contents)
    swarm.finish(*items)

    took = swarm.clock.seconds() - started
    assert 24 * MIB / 4e6 * 0.8 < took < 24 * MIB / 4e6 * 1.3
    assert [saved(item) for item in items] == [data_of(8 * MIB, n) for n in range(3)]


def test_get_of_what_nobody_has_answers_once_it_is_known_to_wait(swarm: Swarm) -> None:
    bob = swarm.node("bob")
    contents = [ContentId(f"{n:064x}") for n in range(1, 6)]
    items = bob.get(*contents)

    bob.do(_answered(bob, items))

    assert [item.state for item in items] == [DownloadState.WAITING] * 5


async def _answered(node: Node, items: list[Item]) -> None:
    await node.downloads.answered(items)


def test_nothing_is_counted_as_kept_after_a_cancel(swarm: Swarm) -> None:
    ada, bob = swarm.node("ada"), swarm.node("bob")
    ada.up.set_rate(4e6)
    (item,) = bob.get(ada.library.add("file.bin", data_of(20 * MIB)))
    swarm.until(lambda: item.bytes_done > 4 * MIB)

    bob.do(bob.downloads.cancel([item]))
    swarm.clock.pump([0.1] * 30)

    assert item.bytes_done == 0
    bob.crash()
    bob.start()
    assert [kept.bytes_done for kept in bob.downloads.queue] == [0]


def test_a_download_waits_at_once_when_its_last_source_is_known_to_be_gone(swarm: Swarm) -> None:
    ada, bob = swarm.node("ada"), swarm.node("bob")
    ada.up.set_rate(4e6)
    (item,) = bob.get(ada.library.add("file.bin", data_of(20 * MIB)))
    swarm.until(lambda: item.bytes_done > 4 * MIB)

    # The index tells first, while what was under way still comes.
    ada.online = False
    swarm.town.tell()
    ada.online = True
    ada.go_offline()

    swarm.until(lambda: item.state is DownloadState.WAITING, seconds=1)


def test_no_more_is_done_than_was_received_after_a_crash(swarm: Swarm) -> None:
    ada, bob = swarm.node("ada"), swarm.node("bob")
    ada.up.set_rate(8e6)
    (item,) = bob.get(ada.library.add("file.bin", data_of(40 * MIB)))
    swarm.until(lambda: item.bytes_received > item.bytes_done + 4 * MIB)

    bob.crash()
    bob.start()
    (restored,) = list(bob.downloads.queue)
    swarm.until(lambda: restored.state is DownloadState.ACTIVE)
    swarm.until(lambda: restored.bytes_done > item.bytes_done)

    assert restored.bytes_received >= restored.bytes_done


def test_a_foreign_file_on_a_reused_inode_is_not_taken_for_the_finished_one(swarm: Swarm) -> None:
    ada, bob = swarm.node("ada"), swarm.node("bob")
    data = data_of(3 * MIB)
    content = ada.library.add("file.bin", data)
    bob.town.online = False
    (item,) = bob.get(content)
    downloads = bob.directory / "downloads"
    downloads.mkdir(exist_ok=True)
    foreign = downloads / "file.bin"
    foreign.write_text("not what was fetched")
    # As if a crash had come after the seal, and the file had gone and its inode been given to another.
    identity = FileIdentity(foreign.stat().st_dev, foreign.stat().st_ino)
    bob.do(_sealed(bob, item, identity))
    bob.crash()
    bob.town.online = True
    bob.start()
    (item,) = list(bob.downloads.queue)
    swarm.finish(item)

    assert saved(item) == data
    assert foreign.read_text() == "not what was fetched"


async def _sealed(node: Node, item: Item, identity: FileIdentity) -> None:
    await node.journal.sealed(item, FlushedChunks(), 0, identity)


class _Mute(Library):
    """Admits everybody and never says a word about any content."""

    async def outline(self, content: ContentId) -> tuple[int, bytes]:
        await Deferred()
        raise LookupError(content)

    async def group(self, content: ContentId, group: int) -> bytes:
        await Deferred()
        raise LookupError(content)


def test_a_source_that_answers_pings_and_nothing_else_is_left_for_another(swarm: Swarm) -> None:
    mute, ada, bob = swarm.node("mute"), swarm.node("ada"), swarm.node("bob")
    mute.library = mute.uploads._library = _Mute(mute.directory / "shared")
    data = data_of(3 * MIB)
    content = mute.library.add("file.bin", data)
    (item,) = bob.get(content)
    swarm.until(lambda: item.state is DownloadState.ACTIVE)
    ada.library.add("file.bin", data)
    swarm.town.tell()

    swarm.finish(item, seconds=25)
    assert saved(item) == data


def test_a_symbolic_link_in_place_of_the_partial_directory_is_not_followed(swarm: Swarm, tmp_path: Path) -> None:
    ada, bob = swarm.node("ada"), swarm.node("bob")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    downloads = bob.directory / "downloads"
    downloads.mkdir()
    (downloads / ".napd").symlink_to(elsewhere)

    (item,) = bob.get(ada.library.add("file.bin", data_of(3 * MIB)))
    swarm.finish(item)

    assert item.state is DownloadState.FAILED
    assert list(elsewhere.iterdir()) == []


def test_a_download_that_could_not_be_journalled_was_not_taken_on(swarm: Swarm) -> None:
    ada, bob = swarm.node("ada"), swarm.node("bob")
    content = ada.library.add("file.bin", data_of(100))
    refuse = bob.refuse_journal()

    with pytest.raises(DiskFailed):
        bob.get(content)
    assert list(bob.downloads.queue) == []

    refuse.cancel()
    (item,) = bob.get(content)
    swarm.finish(item)
    assert saved(item) == data_of(100)
