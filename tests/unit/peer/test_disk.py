"""File operations as downloads need them: all bytes written, nothing replaced, errors told by what to do next."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from napd.errors import DiskFailed, NoSpace
from napd.peer.files.disk import Disk, FileIdentity

Opened = Callable[[str], int]


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def opened(tmp_path: Path, disk: Disk) -> Iterator[Opened]:
    """Opens a file in the test's directory; closes it afterwards."""
    descriptors: list[int] = []

    def open_file(name: str) -> int:
        descriptors.append(disk.create(str(tmp_path / name)))
        return descriptors[-1]

    yield open_file
    for descriptor in descriptors:
        os.close(descriptor)


def failing(number: int) -> Callable[..., int]:
    def fail(*args: object, **kwargs: object) -> int:
        raise OSError(number, os.strerror(number))

    return fail


def test_what_is_written_is_read(disk: Disk, opened: Opened) -> None:
    descriptor = opened("file")
    disk.write_at(descriptor, b"world", 5)
    disk.write_at(descriptor, memoryview(b"hello"), 0)
    assert disk.read_at(descriptor, 10, 0) == b"helloworld"
    assert disk.read_at(descriptor, 10, 8) == b"ld"
    assert disk.read_at(descriptor, 10, 20) == b""
    buffer = memoryview(bytearray(4))
    assert (disk.read_into(descriptor, buffer, 3), bytes(buffer)) == (4, b"lowo")
    assert (disk.read_into(descriptor, buffer, 8), bytes(buffer)) == (2, b"ldwo")
    assert disk.size(descriptor) == 10


def test_what_is_in_memory_is_read_at_once_or_left_to_a_thread(
    disk: Disk, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor = opened("file")
    disk.write_at(descriptor, b"helloworld", 0)
    buffer = memoryview(bytearray(4))
    # A file system in memory need not be able to tell; then the answer is no.
    assert not disk.read_cached(descriptor, buffer, 3) or bytes(buffer) == b"lowo"
    assert not disk.read_cached(descriptor, buffer, 8), "half a buffer is none"
    for number in (errno.EAGAIN, errno.EOPNOTSUPP, errno.EIO):
        monkeypatch.setattr(os, "preadv", failing(number))
        assert not disk.read_cached(descriptor, buffer, 3)


def test_room_that_is_set_aside_changes_nothing_of_the_file(
    disk: Disk, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor = opened("file")
    disk.write_at(descriptor, b"x" * 4096, 0)
    before = os.fstat(descriptor).st_blocks
    disk.set_aside(descriptor, 16 << 20)
    status = os.fstat(descriptor)
    # On a file system that is worth it; on others nothing happens.
    assert status.st_blocks in (before, pytest.approx((16 << 20) // 512, rel=0.01))
    assert status.st_size == 4096
    assert list(disk.data_ranges(descriptor, 4096)) == [(0, 4096)]
    disk.write_at(descriptor, b"y", (16 << 20) - 1)
    assert sum(end - start for start, end in disk.data_ranges(descriptor, 16 << 20)) < 1 << 20


def test_no_room_is_set_aside_on_a_disk_that_it_would_fill(
    disk: Disk, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor = opened("file")
    free = os.fstatvfs(descriptor)
    disk.set_aside(descriptor, free.f_bavail * free.f_frsize)
    assert os.fstat(descriptor).st_blocks == 0
    monkeypatch.setattr(os, "fstatvfs", failing(errno.EIO))
    disk.set_aside(descriptor, 1 << 20)


def test_short_writes_and_reads_are_gone_on_with(disk: Disk, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite, pread = os.pwrite, os.pread
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:3], at))
    monkeypatch.setattr(os, "pread", lambda fd, size, at: pread(fd, min(size, 4), at))
    descriptor = opened("file")
    disk.write_at(descriptor, b"0123456789" * 3, 0)
    assert disk.read_at(descriptor, 30, 0) == b"0123456789" * 3


def test_a_file_that_is_there_is_opened_with_its_bytes(disk: Disk, opened: Opened, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"kept")
    assert disk.read_at(opened("file"), 10, 0) == b"kept"


def test_a_symbolic_link_in_the_partial_file_s_place_is_refused(disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "file").symlink_to("mine")
    with pytest.raises(DiskFailed):
        disk.create(str(tmp_path / "file"))
    assert (tmp_path / "mine").read_bytes() == b"mine"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_no_space(disk: Disk, opened: Opened, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    descriptor = opened("file")
    for name in ("pwrite", "fdatasync", "fsync", "ftruncate"):
        monkeypatch.setattr(os, name, failing(number))
    for operation in (
        lambda: disk.write_at(descriptor, b"x", 0),
        lambda: disk.sync_data(descriptor),
        lambda: disk.sync(descriptor),
        lambda: disk.truncate(descriptor, 1),
    ):
        with pytest.raises(NoSpace) as told:
            operation()
        assert told.value.code == "no_space"
        assert told.value.hint is not None


def test_any_other_error_is_the_disk_s(disk: Disk, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptor = opened("file")
    monkeypatch.setattr(os, "pwrite", failing(errno.EIO))
    with pytest.raises(DiskFailed, match="Input/output error"):
        disk.write_at(descriptor, b"x", 0)


def test_the_identity_is_the_file_s_whatever_it_is_called(disk: Disk, opened: Opened, tmp_path: Path) -> None:
    descriptor = opened("file")
    identity = disk.identity(descriptor)
    os.rename(tmp_path / "file", tmp_path / "other")
    assert disk.identity_at(str(tmp_path / "other")) == identity
    assert disk.identity_at(str(tmp_path / "file")) is None
    assert disk.identity_at(str(tmp_path / "other" / "below")) is None
    (tmp_path / "link").symlink_to("other")
    assert disk.identity_at(str(tmp_path / "link")) != identity


def test_removing_what_is_not_there_is_fine(disk: Disk, tmp_path: Path) -> None:
    disk.remove(str(tmp_path / "absent"))
    disk.remove_empty_directory(str(tmp_path / "absent"))


def test_a_directory_that_is_not_empty_stays(disk: Disk, tmp_path: Path) -> None:
    disk.make_directory(str(tmp_path / "a" / "b"))
    disk.make_directory(str(tmp_path / "a" / "b"))
    disk.remove_empty_directory(str(tmp_path / "a"))
    assert (tmp_path / "a" / "b").is_dir()
    disk.remove_empty_directory(str(tmp_path / "a" / "b"))
    assert not (tmp_path / "a" / "b").exists()


def test_holes_hold_no_data(disk: Disk, opened: Opened) -> None:
    descriptor = opened("file")
    disk.truncate(descriptor, 8 << 20)
    assert list(disk.data_ranges(descriptor, 8 << 20)) == []
    disk.write_at(descriptor, b"x" * (1 << 20), 2 << 20)
    disk.write_at(descriptor, b"x" * (1 << 20), 5 << 20)
    assert list(disk.data_ranges(descriptor, 8 << 20)) == [(2 << 20, 3 << 20), (5 << 20, 6 << 20)]
    assert list(disk.data_ranges(descriptor, (2 << 20) + 10)) == [(2 << 20, (2 << 20) + 10)]
    assert list(disk.data_ranges(descriptor, 0)) == []


# --- Publishing ----------------------------------------------------------------------------------

WAYS = ["hard link", "renameat2", "placeholder"]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The file system can do no better than this."""
    chosen: str = request.param
    if chosen != "hard link":
        monkeypatch.setattr(os, "link", failing(errno.EPERM))
    if chosen == "placeholder":
        monkeypatch.setattr("napd.peer.files.disk._renameat2", lambda source, target: errno.EINVAL)
    return chosen


def test_a_file_gets_its_name(way: str, disk: Disk, tmp_path: Path) -> None:
    partial, target = tmp_path / "x.part", tmp_path / "caf\udce9 🎵\n.txt"
    partial.write_bytes(b"bytes")
    identity = disk.identity_at(str(partial))
    assert disk.publish(str(partial), str(target))
    assert target.read_bytes() == b"bytes"
    assert disk.identity_at(str(target)) == identity
    # Only a hard link leaves the partial file to be removed.
    assert partial.exists() == (way == "hard link")


@pytest.mark.parametrize("kind", ["file", "empty file", "directory", "link", "broken link"])
def test_nothing_is_ever_replaced(way: str, kind: str, disk: Disk, tmp_path: Path) -> None:
    partial, target = tmp_path / "x.part", tmp_path / "taken"
    partial.write_bytes(b"bytes")
    if kind == "directory":
        target.mkdir()
    elif kind == "link":
        (tmp_path / "mine").write_bytes(b"mine")
        target.symlink_to("mine")
    elif kind == "broken link":
        target.symlink_to("nowhere")
    else:
        target.write_bytes(b"mine" if kind == "file" else b"")
    before = os.lstat(target)

    assert not disk.publish(str(partial), str(target))

    after = os.lstat(target)
    assert (after.st_ino, after.st_size, after.st_mode) == (before.st_ino, before.st_size, before.st_mode)
    assert partial.read_bytes() == b"bytes"
    assert not (tmp_path / "nowhere").exists()


def test_a_directory_that_is_gone_is_the_disk_s_failure(way: str, disk: Disk, tmp_path: Path) -> None:
    partial = tmp_path / "x.part"
    partial.write_bytes(b"bytes")
    with pytest.raises(DiskFailed):
        disk.publish(str(partial), str(tmp_path / "absent" / "name"))
    assert partial.read_bytes() == b"bytes"


def test_an_unexpected_refusal_to_link_is_told_and_not_worked_around(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.part").write_bytes(b"bytes")
    monkeypatch.setattr(os, "link", failing(errno.EIO))
    with pytest.raises(DiskFailed):
        disk.publish(str(tmp_path / "x.part"), str(tmp_path / "name"))
    assert not (tmp_path / "name").exists()


def test_a_full_disk_while_publishing_is_no_space(disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.part").write_bytes(b"bytes")
    monkeypatch.setattr(os, "link", failing(errno.ENOSPC))
    with pytest.raises(NoSpace):
        disk.publish(str(tmp_path / "x.part"), str(tmp_path / "name"))


def test_a_placeholder_that_could_not_be_used_is_taken_away(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.part").write_bytes(b"bytes")
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    monkeypatch.setattr("napd.peer.files.disk._renameat2", lambda source, target: errno.ENOSYS)
    monkeypatch.setattr(os, "rename", failing(errno.EIO))
    with pytest.raises(DiskFailed):
        disk.publish(str(tmp_path / "x.part"), str(tmp_path / "name"))
    assert not (tmp_path / "name").exists()
    assert (tmp_path / "x.part").read_bytes() == b"bytes"


def test_identities_are_compared_by_value() -> None:
    assert FileIdentity(1, 2) == FileIdentity(1, 2)
    assert FileIdentity(1, 2) != FileIdentity(2, 1)
