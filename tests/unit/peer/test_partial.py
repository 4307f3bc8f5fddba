"""Partial files: chunks at their places, holes known as holes, a final name that replaces nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napd.content.digest import CHUNK_BYTES
from napd.errors import DiskFailed
from napd.peer.files.disk import Disk, FileIdentity
from napd.peer.files.flushed import FlushedChunks
from napd.peer.files.names import numbered
from napd.peer.files.partial import MAX_REHASH_CHUNKS, PartialFile, rehash_candidates

SIZE = 6 * CHUNK_BYTES + 100
FULL = b"x" * CHUNK_BYTES


@pytest.fixture
def partial(tmp_path: Path) -> Iterator[PartialFile]:
    made = PartialFile(Disk(), str(tmp_path), "0123456789abcdef")
    yield made
    made.close()


def sealed(partial: PartialFile, data: bytes) -> FileIdentity:
    partial.open()
    partial.write_chunk(0, data)
    return partial.seal(len(data))


def test_it_lies_beside_where_it_will_be_published(partial: PartialFile, tmp_path: Path) -> None:
    partial.open()
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == [
        ".napd",
        ".napd/0123456789abcdef.part",
    ]


def test_opening_tells_how_far_it_reaches(partial: PartialFile) -> None:
    assert partial.open() == 0
    assert partial.open() == 0
    partial.write_chunk(0, b"x")
    assert partial.open() == 1
    partial.close()
    assert partial.open() == 1


def test_closing_twice_is_fine_and_a_closed_one_cannot_be_written(partial: PartialFile) -> None:
    partial.open()
    partial.close()
    partial.close()
    with pytest.raises(DiskFailed, match="is not open"):
        partial.write_chunk(0, b"x")


def test_chunks_are_read_from_where_they_were_written(partial: PartialFile) -> None:
    partial.open()
    partial.write_chunk(6, b"z" * 100)
    partial.write_chunk(2, FULL)
    assert partial.read_chunk(2, SIZE) == FULL
    assert partial.read_chunk(6, SIZE) == b"z" * 100


def flushed(chunks: Iterable[int]) -> FlushedChunks:
    made = FlushedChunks()
    for chunk in chunks:
        made.add(chunk)
    return made


def test_only_whole_chunks_of_data_are_candidates(partial: PartialFile) -> None:
    partial.open()
    for chunk in (1, 3, 4):
        partial.write_chunk(chunk, FULL)
    partial.write_chunk(6, b"z" * 100)
    # A chunk that was cut off in the middle.
    partial.write_chunk(2, b"y" * 4096)
    assert [chunk for run in partial.chunks_with_data(SIZE) for chunk in run] == [1, 3, 4, 6]
    assert rehash_candidates(partial, SIZE, flushed([3])) == [1, 4, 6]


def test_an_empty_file_has_no_candidates(partial: PartialFile) -> None:
    partial.open()
    assert rehash_candidates(partial, SIZE, flushed([])) == []


def test_a_crash_costs_a_bounded_number_of_hashes(partial: PartialFile) -> None:
    partial.open()
    size = (MAX_REHASH_CHUNKS + 10) * CHUNK_BYTES
    descriptor = os.open(partial.path, os.O_WRONLY)
    os.posix_fallocate(descriptor, 0, size)
    os.close(descriptor)
    assert len(rehash_candidates(partial, size, flushed([]))) <= MAX_REHASH_CHUNKS


@settings(deadline=None, max_examples=25)
@given(st.sets(st.integers(0, 6)), st.sets(st.integers(0, 6)))
def test_candidates_are_what_is_written_and_not_journalled(written: set[int], journalled: set[int]) -> None:
    disk = Memory()
    partial = PartialFile(disk, "/d", "t")
    partial.open()
    for chunk in written:
        partial.write_chunk(chunk, b"")
    assert rehash_candidates(partial, SIZE, flushed(journalled)) == sorted(written - journalled)


class Memory(Disk):
    """Knows which chunks were written, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.written: set[int] = set()

    def make_directory(self, path: str) -> None:
        pass

    def create(self, path: str) -> int:
        return 0

    def size(self, descriptor: int) -> int:
        return 1

    def write_at(self, descriptor: int, data: bytes | memoryview, offset: int) -> None:
        self.written.add(offset // CHUNK_BYTES)

    def data_ranges(self, descriptor: int, size: int) -> Iterator[tuple[int, int]]:
        for chunk in sorted(self.written):
            yield chunk * CHUNK_BYTES, min(size, (chunk + 1) * CHUNK_BYTES)


# --- Publishing ----------------------------------------------------------------------------------


def test_sealing_cuts_what_is_beyond_the_end(partial: PartialFile) -> None:
    partial.open()
    partial.write_chunk(1, FULL)
    partial.seal(CHUNK_BYTES + 10)
    assert os.path.getsize(partial.path) == CHUNK_BYTES + 10


def test_a_sealed_file_is_published_and_its_partial_data_removed(partial: PartialFile, tmp_path: Path) -> None:
    identity = sealed(partial, b"bytes")
    assert partial.publish("song.mp3", identity) == str(tmp_path / "song.mp3")
    partial.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["song.mp3"]
    assert (tmp_path / "song.mp3").read_bytes() == b"bytes"


def test_a_taken_name_is_numbered(partial: PartialFile, tmp_path: Path) -> None:
    (tmp_path / "song.mp3").write_bytes(b"mine")
    (tmp_path / "song (1).mp3").mkdir()
    identity = sealed(partial, b"bytes")
    assert partial.publish("song.mp3", identity) == str(tmp_path / "song (2).mp3")
    assert (tmp_path / "song.mp3").read_bytes() == b"mine"


def test_publishing_again_finds_the_file_and_makes_no_second_one(partial: PartialFile, tmp_path: Path) -> None:
    (tmp_path / "song.mp3").write_bytes(b"mine")
    identity = sealed(partial, b"bytes")
    first = partial.publish("song.mp3", identity)
    assert partial.publish("song.mp3", identity) == first
    assert sorted(path.name for path in tmp_path.iterdir()) == [".napd", "song (1).mp3", "song.mp3"]


def test_a_file_that_was_published_before_a_crash_is_recognised(partial: PartialFile, tmp_path: Path) -> None:
    (tmp_path / "song.mp3").write_bytes(b"mine")
    identity = sealed(partial, b"bytes")
    assert partial.published("song.mp3", identity) is None
    path = partial.publish("song.mp3", identity)
    assert partial.published("song.mp3", identity) == path


def test_a_foreign_file_with_the_same_bytes_is_not_taken_for_ours(partial: PartialFile, tmp_path: Path) -> None:
    identity = sealed(partial, b"bytes")
    (tmp_path / "song.mp3").write_bytes(b"bytes")
    assert partial.published("song.mp3", identity) is None


def test_when_every_name_is_taken_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Crowded(Disk):
        def publish(self, partial: str, name: str) -> bool:
            return False

    partial = PartialFile(Crowded(), str(tmp_path), "t")
    monkeypatch.setattr("napd.peer.files.partial.numbered", lambda name: list(numbered(name))[:5])
    identity = sealed(partial, b"bytes")
    with pytest.raises(DiskFailed, match="is taken"):
        partial.publish("song.mp3", identity)
    partial.close()


def test_removing_leaves_what_other_downloads_have_there(partial: PartialFile, tmp_path: Path) -> None:
    other = PartialFile(Disk(), str(tmp_path), "other")
    for one in (partial, other):
        one.open()
    partial.remove()
    assert [path.name for path in (tmp_path / ".napd").iterdir()] == ["other.part"]
    other.remove()
    other.remove()
    assert list(tmp_path.iterdir()) == []
