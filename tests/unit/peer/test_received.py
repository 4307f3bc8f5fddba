"""What a download holds: it believes the journal and the disk, never memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from napd.content.digest import GROUP_CHUNKS, chunk_digest
from napd.content.manifest import Manifest, manifest_of
from napd.errors import DiskFailed, IntegrityFailure, NoSpace
from napd.peer.files.disk import Disk
from napd.peer.files.received import Received, WrongSize
from tests.support.one_download import CHUNKS, DATA, MANIFEST, MIB, Process, now
from tests.support.swarm import manifest_of_bytes


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    processes: list[Process] = []

    def start(**options: Any) -> Process:
        processes.append(Process(tmp_path, **options))
        return processes[-1]

    yield start
    for process in processes:
        process.end()


Start = Callable[..., Process]


def learnt(process: Process, manifest: Manifest = MANIFEST) -> Received:
    assert now(process.received.take_up()) is None
    now(process.received.learn(manifest))
    return process.received


def store(received: Received, *chunks: int) -> None:
    for chunk in chunks:
        assert now(received.store(chunk, CHUNKS[chunk]))
        received.picker.verified(chunk)


# --- In one run ----------------------------------------------------------------------------------


def test_a_chunk_that_is_not_what_its_digest_says_is_not_kept(started: Start) -> None:
    received = learnt(started())
    wrong = bytes([CHUNKS[0][0] ^ 1]) + CHUNKS[0][1:]
    assert not now(received.store(0, wrong))
    assert not now(received.store(0, CHUNKS[1]))
    assert not now(received.store(2, CHUNKS[2] + b"more"))
    assert received.unjournalled == 0


def test_bytes_count_as_done_when_they_are_flushed_and_journalled(started: Start) -> None:
    process = started()
    received = learnt(process)
    store(received, 0, 2)
    assert process.item.bytes_done == 0
    assert (received.unflushed, received.unjournalled) == (2, 2)
    now(received.flush())
    assert process.item.bytes_done == MIB + 5
    assert received.unjournalled == 0
    assert process.fuse.steps[-4:] == ["sync_data", "sync_directory", "sync_directory", "journal"]


def test_a_flush_of_nothing_does_nothing(started: Start) -> None:
    process = started()
    received = learnt(process)
    before = list(process.fuse.steps)
    now(received.flush())
    assert process.fuse.steps == before


def test_a_manifest_of_something_else_is_refused(started: Start) -> None:
    received = learnt(started())
    with pytest.raises(IntegrityFailure):
        received.learn_group(0, b"\0" * 96)


def test_the_only_chunk_of_a_content_proves_itself(started: Start) -> None:
    data = b"short"
    process = started(manifest=manifest_of_bytes(data))
    received = process.received
    now(received.take_up())
    assert not now(received.store_only_chunk(b"other"))
    assert now(received.store_only_chunk(data))
    received.picker.verified(0)
    assert received.complete
    assert Path(now(received.publish())).read_bytes() == data


def test_a_full_chunk_that_is_not_the_content_may_be_the_first_of_several(started: Start) -> None:
    process = started()
    now(process.received.take_up())
    with pytest.raises(WrongSize):
        now(process.received.store_only_chunk(CHUNKS[0]))
    now(process.received.close())


def test_an_empty_content_needs_nothing_from_anybody(started: Start) -> None:
    process = started(manifest=manifest_of(0, b""))
    now(process.received.take_up())
    assert process.received.complete
    assert Path(now(process.received.publish())).read_bytes() == b""


def test_after_a_failed_sync_nothing_since_the_last_good_one_counts(started: Start) -> None:
    class Failing(Disk):
        failures = 0

        def sync_data(self, descriptor: int) -> None:
            self.failures += 1
            if self.failures == 2:
                raise DiskFailed("Input/output error")

    disk = Failing()
    process = started(disk=disk)
    received = learnt(process)
    store(received, 0)
    now(received.flush())
    store(received, 1)
    with pytest.raises(DiskFailed):
        now(received.flush())
    # Written while the sync was failing: that it is on the disk, nobody can say.
    store(received, 2)
    with pytest.raises(DiskFailed):
        now(received.close())

    assert disk.failures == 2
    assert process.item.bytes_done == MIB
    assert list(now(process.journal.kept(1)).flushed) == [0]


# --- Over runs -----------------------------------------------------------------------------------


def test_flushed_chunks_are_kept_and_others_that_are_on_the_disk_are_hashed_and_not_fetched(started: Start) -> None:
    first = started()
    received = learnt(first)
    store(received, 0)
    now(received.flush())
    store(received, 1)
    first.received._partial.write_chunk(2, b"wrong")
    first.end()

    second = started()
    assert now(second.take_up()) is None
    picker = second.received.picker
    assert [picker.is_verified(chunk) for chunk in range(3)] == [True, True, False]
    assert second.item.bytes_done == 2 * MIB
    # What was hashed was synced before it was believed.
    assert second.fuse.steps[-4:] == ["sync_data", "sync_directory", "sync_directory", "journal"]


def test_what_a_crash_left_is_asked_of_nobody_until_it_was_hashed(started: Start) -> None:
    first = started()
    received = learnt(first)
    store(received, 0)
    now(received.flush())
    store(received, 1)
    first.received._partial.write_chunk(2, b"wrong")
    first.end()

    second = started()
    received = second.received
    now(received.take_up())
    assert received.rehashing
    assert received.picker.next_missing() is None
    good: list[int] = []
    now(received.rehash(good.append))
    assert good == [1]
    assert received.picker.next_missing() == 2


def test_digests_of_an_earlier_run_are_loaded_group_by_group_as_they_are_needed(started: Start) -> None:
    chunks = 3 * GROUP_CHUNKS
    zeros = bytes(MIB)
    manifest = manifest_of(chunks * MIB, chunk_digest(zeros) * chunks)
    first = started(manifest=manifest)
    now(learnt(first, manifest).store(0, zeros))
    now(first.received.close())
    first.connection.execute("UPDATE manifest_group SET digests = x'00' WHERE number = 2")
    first.end()

    second = started(manifest=manifest)
    received = second.received
    now(second.take_up())
    assert [received.manifest.has_group(group) for group in range(3)] == [True, False, False]
    assert received.digests_known_below() == (GROUP_CHUNKS, None)
    received.picker.hold(1, GROUP_CHUNKS - 1, (1 << GROUP_CHUNKS - 1) - 1)
    assert received.digests_known_below() == (GROUP_CHUNKS, 1)
    assert received.keeps_digests(1)
    now(received.load_digests(1))
    assert received.digests_known_below() == (2 * GROUP_CHUNKS, None)
    # What is damaged is as if it had never been learnt.
    now(received.load_digests(2))
    assert not received.keeps_digests(2)
    assert not received.manifest.has_group(2)


def test_a_complete_download_that_was_not_published_needs_no_source(started: Start) -> None:
    first = started()
    store(learnt(first), 0, 1, 2)
    first.end()
    second = started()
    now(second.take_up())
    assert second.received.complete
    assert Path(now(second.received.publish())).read_bytes() == DATA


def test_a_partial_file_that_is_gone_voids_what_was_flushed(started: Start, tmp_path: Path) -> None:
    first = started()
    store(learnt(first), 0, 1)
    now(first.received.close())
    os.unlink(tmp_path / "downloads" / ".napd" / "0123456789abcdef.part")

    second = started()
    now(second.take_up())
    assert second.item.bytes_done == 0
    assert second.received.picker.left == 3


def test_what_was_flushed_into_a_lost_file_is_not_believed_of_the_next_one(started: Start, tmp_path: Path) -> None:
    """Over a gigabyte, so that there are two groups; all zeros, so that it costs nothing."""
    zeros = bytes(MIB)
    manifest = manifest_of((GROUP_CHUNKS + 2) * MIB, chunk_digest(zeros) * (GROUP_CHUNKS + 2))
    first = started(manifest=manifest)
    received = learnt(first, manifest)
    for chunk in (0, GROUP_CHUNKS):
        now(received.store(chunk, zeros))
    now(received.close())
    os.unlink(tmp_path / "downloads" / ".napd" / "0123456789abcdef.part")

    second = started()
    now(second.take_up())
    assert now(second.received.store(7, zeros))
    # No flush: the process ends, and the file is not empty any more.
    second.end()

    third = started()
    now(third.take_up())
    picker = third.received.picker
    believed = [chunk for chunk in range(manifest.outline.chunks) if picker.is_verified(chunk)]
    assert believed == [7]


def test_what_is_hashed_after_a_crash_is_read_from_the_disk(started: Start) -> None:
    """Memory may hold what a failed sync never brought there."""
    first = started()
    store(learnt(first), 0, 1)
    first.end()

    class Recorded(Disk):
        reads: ClassVar[list[str]] = []

        def forget_cached(self, descriptor: int) -> None:
            self.reads.append("forget")
            super().forget_cached(descriptor)

        def read_at(self, descriptor: int, size: int, offset: int) -> bytes:
            self.reads.append("read")
            return super().read_at(descriptor, size, offset)

    now(started(disk=Recorded()).take_up())
    assert Recorded.reads == ["forget", "read", "read"]


def test_removing_takes_the_partial_data_and_nothing_else(started: Start, tmp_path: Path) -> None:
    process = started()
    store(learnt(process), 0)
    (tmp_path / "downloads" / "mine.txt").write_text("mine")
    now(process.received.close(keep=False))
    assert [path.name for path in (tmp_path / "downloads").iterdir()] == ["mine.txt"]


def test_a_full_disk_is_told_and_what_was_flushed_stays(started: Start) -> None:
    class Full(Disk):
        room = MIB

        def write_at(self, descriptor: int, data: bytes | memoryview, offset: int) -> None:
            if len(data) > self.room:
                raise NoSpace("no space left")
            self.room -= len(data)
            super().write_at(descriptor, data, offset)

    process = started(disk=Full())
    received = learnt(process)
    store(received, 0)
    with pytest.raises(NoSpace):
        now(received.store(1, CHUNKS[1]))
    now(received.close())
    assert process.item.bytes_done == MIB
