"""Reading files for their digests: part by part, and only while they are what they were."""

from __future__ import annotations

import os
import time
from pathlib import Path
from threading import Event

import pytest

from napd.content.digest import CHUNK_BYTES, chunk_digest
from napd.errors import DiskFailed
from napd.peer.shares import hashing
from napd.peer.shares.hashing import Changed, Failed, Hashed, Work, hash_batch, hash_part
from napd.peer.shares.identity import YOUNG_S, Identity, quiet_at, settles_at
from napd.peer.shares.opening import open_file
from napd.peer.shares.walk import look_at_root

RUNNING = Event()


def late() -> float:
    """A time at which a file made just now is old enough."""
    return time.time() + 10


def work_on(path: Path, first: int = 0, count: int = 1) -> Work:
    return Work(1, 1, bytes(path.parent), bytes(Path(path.name)), Identity.of(path.stat()), first, count, None)


def digests_of(data: bytes) -> bytes:
    return b"".join(chunk_digest(data[at : at + CHUNK_BYTES]) for at in range(0, len(data), CHUNK_BYTES))


def test_a_part_gives_the_digests_of_its_chunks(tmp_path: Path) -> None:
    data = os.urandom(2 * CHUNK_BYTES + 1)
    (tmp_path / "a").write_bytes(data)
    for first, count in ((0, 3), (0, 2), (1, 2), (2, 1)):
        outcome = hash_part(work_on(tmp_path / "a", first, count), late, RUNNING)
        assert isinstance(outcome, Hashed)
        assert outcome.digests == digests_of(data)[first * 32 : (first + count) * 32]
        assert outcome.doubtful == 0


def test_several_strands_read_what_one_reads(tmp_path: Path) -> None:
    data = os.urandom(9 * CHUNK_BYTES + 1)
    (tmp_path / "a").write_bytes(data)
    (tmp_path / "b").write_bytes(data[: 2 * CHUNK_BYTES])
    whole = hash_part(work_on(tmp_path / "a", 0, 10), late, RUNNING, 4)
    assert isinstance(whole, Hashed) and whole.digests == digests_of(data)
    works = [work_on(tmp_path / name, 0, count) for name, count in (("b", 2), ("a", 10), ("b", 2))]
    outcomes = hash_batch(works, late, RUNNING, 3)
    assert {outcome.work.count: getattr(outcome, "digests", None) for outcome in outcomes} == {
        2: digests_of(data[: 2 * CHUNK_BYTES]),
        10: digests_of(data),
    }
    assert len(outcomes) == 3


def test_what_one_of_several_strands_meets_is_the_file_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(9 * CHUNK_BYTES))
    work = work_on(path, count=9)
    read = os.preadv

    def fail(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        if offset == 5 * CHUNK_BYTES:
            raise OSError(5, "Input/output error")
        return read(descriptor, buffers, offset)

    monkeypatch.setattr("os.preadv", fail)
    assert hash_part(work, late, RUNNING, 3) == Failed(work, "Input/output error")


def test_several_strands_that_are_stopped_leave_no_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(4 * CHUNK_BYTES)
    (tmp_path / "a").write_bytes(data)
    digests = digests_of(data)
    stopped, second_taken = Event(), Event()
    fill = hashing._fill

    class Stopping(Event):
        """The strand that takes the first chunk waits until the other has the second, and then finds it is stopped."""

        def is_set(self) -> bool:
            if not self.seen:
                self.seen = True
                second_taken.wait(10)
                stopped.set()
                return True
            return stopped.is_set()

        seen = False

    def filled(descriptor: int, wanted: memoryview, offset: int) -> bool:
        second_taken.set()
        return fill(descriptor, wanted, offset)

    monkeypatch.setattr(hashing, "_fill", filled)
    outcome = hash_part(work_on(tmp_path / "a", count=4), late, Stopping(), 2)
    assert isinstance(outcome, Hashed)
    assert digests.startswith(outcome.digests)
    assert outcome.digests == b""


def test_an_empty_file_has_no_digests(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    outcome = hash_part(work_on(tmp_path / "a", count=0), late, RUNNING)
    assert isinstance(outcome, Hashed) and outcome.digests == b""


def test_chunks_read_while_the_file_is_young_are_doubtful(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(2 * CHUNK_BYTES))
    made = (tmp_path / "a").stat().st_ctime
    times = iter([made, made + 0.1, made + YOUNG_S + 0.1])
    outcome = hash_part(work_on(tmp_path / "a", count=2), lambda: next(times), RUNNING)
    assert isinstance(outcome, Hashed)
    assert outcome.doubtful == 1
    assert outcome.settles_at == pytest.approx(made + YOUNG_S, abs=0.01)


def test_another_file_in_its_place_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    work = work_on(tmp_path / "a")
    (tmp_path / "a").unlink()
    assert hash_part(work, late, RUNNING) == Changed(work, vain=False)
    (tmp_path / "a").write_bytes(b"b")
    assert hash_part(work, late, RUNNING) == Changed(work, vain=False)
    (tmp_path / "a").unlink()
    (tmp_path / "a").symlink_to("/etc/hostname")
    assert hash_part(work, late, RUNNING) == Changed(work, vain=False)
    (tmp_path / "a").unlink()
    os.mkfifo(tmp_path / "a")
    assert hash_part(work, late, RUNNING) == Changed(work, vain=False)


def test_a_file_that_changes_while_it_is_read_gives_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(CHUNK_BYTES))
    work = work_on(path)

    def meddle(chunk: memoryview) -> bytes:
        os.utime(path, (1, 1))
        return chunk_digest(chunk)

    monkeypatch.setattr("napd.peer.shares.hashing.chunk_digest", meddle)
    assert hash_part(work, late, RUNNING) == Changed(work, vain=True)


def test_a_file_that_shrinks_while_it_is_read_gives_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(3 * CHUNK_BYTES))
    work = work_on(path, count=3)

    def shrink(chunk: memoryview) -> bytes:
        os.truncate(path, CHUNK_BYTES)
        return chunk_digest(chunk)

    monkeypatch.setattr("napd.peer.shares.hashing.chunk_digest", shrink)
    assert hash_part(work, late, RUNNING) == Changed(work, vain=True)


def test_what_cannot_be_read_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"a")
    work = work_on(tmp_path / "a")

    def fail(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.preadv", fail)
    assert hash_part(work, late, RUNNING) == Failed(work, "Input/output error")


def test_a_lack_of_descriptors_says_nothing_about_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"a")
    work = work_on(tmp_path / "a")

    def lack(root: bytes, path: bytes) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("napd.peer.shares.hashing.open_file", lack)
    with pytest.raises(DiskFailed):
        hash_part(work, late, RUNNING)


def test_when_the_daemon_stops_what_was_read_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(3 * CHUNK_BYTES)
    (tmp_path / "a").write_bytes(data)
    stopped = Event()

    def stop(chunk: memoryview) -> bytes:
        stopped.set()
        return chunk_digest(chunk)

    monkeypatch.setattr("napd.peer.shares.hashing.chunk_digest", stop)
    (outcome,) = hash_batch([work_on(tmp_path / "a", count=3), work_on(tmp_path / "a")], late, stopped)
    assert isinstance(outcome, Hashed)
    assert outcome.digests == digests_of(data)[:32]


def test_a_batch_ends_when_its_time_is_over(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    times = iter(range(100))
    assert len(hash_batch([work_on(tmp_path / "a")] * 9, lambda: next(times), RUNNING)) == 1


def test_no_link_is_followed_on_the_way_to_a_file(tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a").write_bytes(b"a")
    (tmp_path / "share" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "share" / "file").symlink_to(tmp_path / "outside" / "a")
    for path in (b"link/a", b"file"):
        with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
            open_file(bytes(tmp_path / "share"), path)
    (tmp_path / "way").symlink_to(tmp_path / "share")
    with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
        open_file(bytes(tmp_path / "way"), b"x")


def test_an_empty_directory_on_another_device_is_a_disk_that_is_not_mounted(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    assert look_at_root(bytes(tmp_path), device).trouble is None
    assert look_at_root(bytes(tmp_path), device + 1).trouble == "its disk is not mounted"
    (tmp_path / "a").touch()
    assert look_at_root(bytes(tmp_path), device + 1).trouble is None


def test_ages_are_counted_from_the_last_change() -> None:
    def status(mtime: float, ctime: float) -> os.stat_result:
        return os.stat_result((0o100644, 1, 1, 1, 0, 0, 5, 0, mtime, ctime))

    assert settles_at(status(100, 100), now=101) == 102
    assert settles_at(status(50, 100), now=101) == 102
    # The time somebody set it to lies ahead: when that was done, the change time says.
    assert settles_at(status(9e9, 100), now=101) == 102
    assert quiet_at(status(100, 100), now=100.5) == 101
    assert quiet_at(status(50, 100), now=100.5) == 100.5
    assert quiet_at(status(9e9, 100), now=100.5) == 100.5


def test_numbers_of_all_64_bits_fit_the_database() -> None:
    numbers = (0o100644, 2**64 - 1, 2**63, 1, 0, 0, 5, 0, 0, 0)
    status = os.stat_result(numbers, {"st_mtime_ns": 2**70 + 1, "st_ctime_ns": -1})
    assert all(-(2**63) <= number < 2**63 for number in Identity.of(status))
