"""Every file operation that downloads depend on, in one place: tests record it, fail it, cut it off.

All functions block: they run on a disk thread, never on the reactor's. They raise `NoSpace` or `DiskFailed`.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import frozen

from ... import durable
from ...content.digest import CHUNK_BYTES, chunk_bytes, chunk_count, chunk_digest
from ...content.manifest import manifest_of
from ...errors import DiskFailed, NapError, NoSpace
from ...model import ContentId

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
#: A file without a name gets one through /proc, and by a hard link.
_NO_NAMING = _NO_HARD_LINKS | {errno.ENOENT, errno.ENOTDIR, errno.EACCES}
_NO_RENAMEAT2 = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
_NO_NAMELESS = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT, errno.ENOSYS})
#: How often a directory may vanish under a file that is being made in it.
_CREATE_ATTEMPTS = 20
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_SYNC_FILE_RANGE_WRITE = 2
_FALLOC_FL_KEEP_SIZE = 1
#: File systems (by `statfs`) on which setting room aside is quick and makes writing cheaper: ext4, XFS.
_WORTH_SETTING_ASIDE = frozenset({0xEF53, 0x58465342})
#: What has to be left free when room is set aside for a download that may take days.
LEFT_FREE_BYTES = 1 << 30
_LIBC = ctypes.CDLL(None, use_errno=True)


@frozen
class FileIdentity:
    """Which file a path is, whatever it is called."""

    device: int
    inode: int


class Disk:
    """The real one."""

    def __init__(self) -> None:
        #: File systems on which a file without a name could not be given one.
        self._no_naming: set[int] = set()

    def make_directory(self, path: str) -> None:
        """With parents, for good; an existing directory is fine."""
        with _told(path):
            durable.make_directory(path)

    def create(self, path: str) -> int:
        """A new file, or the one that is there, for reading and writing; a symlink is refused.

        Its directory is made, for good but for the last part of its path: that one lasts from `sync_directory` on, as
        the file's own name does. Another thread may be removing it, empty, in the same moment: then once more.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with _told(path):
            for _ in range(_CREATE_ATTEMPTS):
                try:
                    directory = os.path.dirname(path)
                    self._make_last(directory)
                    if os.path.islink(directory):
                        raise DiskFailed(f"{directory} is a symbolic link, which partial files must not go through")
                    return os.open(path, flags, 0o666)
                except (FileNotFoundError, FileExistsError):
                    # It went between two looks.
                    continue
            return os.open(path, flags, 0o666)

    @staticmethod
    def _make_last(directory: str) -> None:
        try:
            os.mkdir(directory)
        except FileNotFoundError:
            durable.make_directory(os.path.dirname(directory))
            os.mkdir(directory)
        except OSError:
            if not os.path.isdir(directory):
                raise

    def open_directory(self, path: str) -> int:
        """With parents, made for good if they are not there."""
        with _told(path):
            durable.make_directory(path)
            return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def create_nameless(self, directory: int) -> int | None:
        """A new file that is gone when it is closed, but for `give_name`; None where that does not work."""
        try:
            if os.fstat(directory).st_dev in self._no_naming:
                return None
            return os.open(".", os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o666, dir_fd=directory)
        except OSError as error:
            if error.errno in _NO_NAMELESS:
                return None
            raise _error("a new file", error) from error

    def give_name(self, descriptor: int, directory: int, name: str) -> bool | None:
        """Give a nameless file its name, never replacing anything; False if the name is taken.

        None if none can be given here: there is no /proc, or the file system has no hard links.
        """
        try:
            # Only with a descriptor of the directory does Python follow the link that /proc has here.
            os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=directory, follow_symlinks=True)
            return True
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_NAMING:
                raise _error(name, error) from error
            self._no_naming.add(os.fstat(directory).st_dev)
            return None

    def begin_sync(self, descriptor: int) -> None:
        """Let the kernel start to write it out, so that a sync of many files waits for all of them together."""
        call = getattr(_LIBC, "sync_file_range", None)
        if call is not None:
            # Whether it worked, the sync that follows will tell.
            call(descriptor, ctypes.c_int64(0), ctypes.c_int64(0), _SYNC_FILE_RANGE_WRITE)

    def set_aside(self, descriptor: int, size: int) -> None:
        """Have the file system keep room for so many bytes; the file's length and its holes stay. Only a hint.

        Nothing is set aside where that would fill the disk, or is of no use.
        """
        try:
            free = os.fstatvfs(descriptor)
            if free.f_bavail * free.f_frsize < size + LEFT_FREE_BYTES or _kind(descriptor) not in _WORTH_SETTING_ASIDE:
                return
            # Whether there was room, writing will tell.
            _LIBC.fallocate(descriptor, _FALLOC_FL_KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(size))
        except (OSError, AttributeError):
            return

    def identity(self, descriptor: int) -> FileIdentity:
        with _told("a partial file"):
            status = os.fstat(descriptor)
        return FileIdentity(status.st_dev, status.st_ino)

    def size(self, descriptor: int) -> int:
        with _told("a partial file"):
            return os.fstat(descriptor).st_size

    def content_of(self, path: str) -> ContentId | None:
        """The content id of what is in a file; None if it cannot be read. Hashes the whole file."""
        try:
            descriptor = self.open_to_read(path)
        except NapError:
            return None
        if descriptor is None:
            return None
        try:
            return self.content_of_descriptor(descriptor)
        except NapError:
            return None
        finally:
            os.close(descriptor)

    def content_of_descriptor(self, descriptor: int) -> ContentId:
        """The same for an open file."""
        size = self.size(descriptor)
        digests = [
            chunk_digest(self.read_at(descriptor, chunk_bytes(size, chunk), chunk * CHUNK_BYTES))
            for chunk in range(chunk_count(size))
        ]
        return manifest_of(size, b"".join(digests)).outline.content

    def open_to_read(self, path: str) -> int | None:
        """None if nothing is there; a symlink is refused, and nothing that is no file is waited for."""
        with _told(path):
            try:
                return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                return None

    def identity_at(self, path: str) -> FileIdentity | None:
        """None if nothing is there."""
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _error(path, error) from error
        return FileIdentity(status.st_dev, status.st_ino)

    def write_at(self, descriptor: int, data: bytes | memoryview, offset: int) -> None:
        """All of it."""
        with _told("a partial file"):
            view = memoryview(data)
            while view:
                written = os.pwrite(descriptor, view, offset)
                if not written:
                    raise OSError(errno.EIO, "nothing was written, and no reason given")
                view = view[written:]
                offset += written

    def read_at(self, descriptor: int, size: int, offset: int) -> bytes:
        """Less only at the end of the file."""
        with _told("a file"):
            pieces = []
            while size:
                piece = os.pread(descriptor, size, offset)
                if not piece:
                    break
                pieces.append(piece)
                size -= len(piece)
                offset += len(piece)
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read_into(self, descriptor: int, buffer: memoryview, offset: int) -> int:
        """As much as the buffer has room for; less only at the end of the file."""
        with _told("a file"):
            size = 0
            while size < len(buffer):
                read = os.preadv(descriptor, [buffer[size:]], offset + size)
                if not read:
                    break
                size += read
            return size

    def read_cached(self, descriptor: int, buffer: memoryview, offset: int) -> bool:
        """Fill the buffer from what is in memory; False if a disk would have to be waited for, or that is not known."""
        try:
            return os.preadv(descriptor, [buffer], offset, os.RWF_NOWAIT) == len(buffer)
        except OSError:
            # Not in memory; or a file system that cannot tell. What else is wrong, reading will tell.
            return False

    def truncate(self, descriptor: int, size: int) -> None:
        with _told("a partial file"):
            os.ftruncate(descriptor, size)

    def sync_data(self, descriptor: int) -> None:
        with _told("a partial file"):
            os.fdatasync(descriptor)

    def sync(self, descriptor: int) -> None:
        with _told("a partial file"):
            os.fsync(descriptor)

    def forget_cached(self, descriptor: int) -> None:
        """Drop what memory holds of the file and the disk should too; only a hint to the kernel."""
        with _told("a partial file"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def sync_directory(self, path: str) -> None:
        """The names in it are there, or gone, for good."""
        with _told(path):
            durable.sync_directory(path)

    def duplicate(self, descriptor: int) -> int:
        """Another descriptor of the same open file."""
        with _told("a partial file"):
            return os.dup(descriptor)

    def close(self, descriptor: int) -> None:
        with _told("a partial file"):
            os.close(descriptor)

    def names_in(self, path: str) -> list[str]:
        """What a directory holds; nothing if there is none, or if it cannot be read."""
        try:
            return os.listdir(path)
        except OSError:
            return []

    def remove(self, path: str) -> None:
        """Gone afterwards, also if it was before."""
        with _told(path):
            try:
                os.unlink(path)
            except FileNotFoundError:
                return

    def remove_empty_directory(self, path: str) -> None:
        """If it is empty; otherwise it stays."""
        try:
            os.rmdir(path)
        except OSError:
            return

    def data_ranges(self, descriptor: int, size: int) -> Iterator[tuple[int, int]]:
        """(offset, end) of the parts of a file that hold data, not holes."""
        offset = 0
        while offset < size:
            try:
                start = os.lseek(descriptor, offset, os.SEEK_DATA)
                end = os.lseek(descriptor, start, os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return
                raise _error("a partial file", error) from error
            yield start, min(end, size)
            offset = end

    def publish(self, partial: str, name: str) -> bool:
        """Give the partial file its final name, never replacing anything; False if the name is taken.

        By hard link; where the file system has none, by renameat2, else by an exclusive placeholder and rename.
        """
        try:
            os.link(partial, name, follow_symlinks=False)
            return True
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise _error(name, error) from error
        with _told(name):
            return _rename_without_replacing(partial, name)


def _rename_without_replacing(source: str, target: str) -> bool:
    number = _renameat2(source, target)
    if number == 0:
        return True
    if number == errno.EEXIST:
        return False
    if number not in _NO_RENAMEAT2:
        raise OSError(number, os.strerror(number))
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    except FileExistsError:
        return False
    try:
        os.rename(source, target)
    except OSError:
        # The placeholder is ours, made just now.
        os.unlink(target)
        raise
    return True


def _renameat2(source: str, target: str) -> int:
    """0, or an errno."""
    call = getattr(_LIBC, "renameat2", None)
    if call is None:
        return errno.ENOSYS
    paths = os.fsencode(source), os.fsencode(target)
    if call(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_NOREPLACE) == 0:
        return 0
    return ctypes.get_errno()


def _kind(descriptor: int) -> int:
    """The number of its file system's kind, as `statfs` has it in its first word."""
    status = (ctypes.c_long * 32)()
    if _LIBC.fstatfs(descriptor, status):
        raise OSError(ctypes.get_errno(), "fstatfs")
    return int(status[0])


@contextmanager
def _told(subject: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _error(subject, error) from error


def _error(subject: str, error: OSError) -> NapError:
    if error.errno in _FULL:
        return NoSpace(f"no space left for {subject}", "Free some, then: napctl queue retry")
    return DiskFailed(f"{subject}: {error.strerror or error}")
