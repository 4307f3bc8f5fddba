"""Every file operation below one directory, recorded in order, and failed where a test wants it.

What Python does is caught at `os`, whichever module calls it; what SQLite does, at its VFS (`sqlite_files`). Both are
done in earnest too, but for syncs. The log knows files by numbers of its own: names come and go, and inode numbers are
used again.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from attrs import define, field, frozen

from napd.peer.files.disk import FileIdentity
from tests.support import sqlite_files

# --- Operations ----------------------------------------------------------------------------------


@frozen
class Write:
    file: int
    offset: int
    data: bytes


@frozen
class Truncate:
    file: int
    size: int


@frozen
class Sync:
    """Of a file's bytes, or of a directory's entries."""

    file: int


@frozen
class Entry:
    """A name in a directory means this file from now on, or nothing. A rename is two of them that belong together."""

    changes: tuple[tuple[int, str, int | None], ...]


Operation = Write | Truncate | Sync | Entry


@frozen
class Mark:
    """Something that the test wants to know of this moment; no operation."""

    what: Any


@frozen
class Failing:
    """How one operation fails. `short`: half of a write is done first, and that it was half is all that is told."""

    number: int
    short: bool = False


#: Asked before each operation with its number: how it fails, if it does.
Fault = Callable[[int, str], Failing | None]

_ROOT = 0


def no_fault(number: int, name: str) -> Failing | None:
    return None


@define
class FileLog:
    """Records while `recording` is entered."""

    root: str
    fault: Fault = no_fault
    entries: list[Operation | Mark] = field(factory=list)
    #: Operations that were asked for: their numbers, from 1.
    asked: int = 0
    #: What a file was called by `fstat` when it was made.
    identities: dict[int, FileIdentity] = field(factory=dict)
    #: Which numbers are directories'.
    directories: set[int] = field(factory=set)
    _names: dict[str, int] = field(factory=dict)
    _descriptors: dict[int, int] = field(factory=dict)
    _places: dict[int, str] = field(factory=dict)
    _last: int = _ROOT
    #: Writes that no sync has confirmed, and those that a failed sync lost.
    _dirty: dict[int, list[tuple[int, bytes]]] = field(factory=dict)
    _lost: dict[int, list[tuple[int, bytes]]] = field(factory=dict)

    def mark(self, what: Any) -> None:
        self.entries.append(Mark(what))

    @contextmanager
    def recording(self) -> Iterator[FileLog]:
        """What exists below the directory at this moment counts as being on the disk."""
        self._names[self.root] = _ROOT
        self.directories.add(_ROOT)
        for path in sorted(Path(self.root).rglob("*")):
            self._new_file(str(path))
        with ExitStack() as stack:
            for name, call in self._calls().items():
                stack.enter_context(mock.patch.object(os, name, call))
            stack.enter_context(sqlite_files.watched(self))
            yield self

    def existing(self) -> dict[str, int]:
        """Names at the beginning, by number; to be asked before anything is recorded."""
        return dict(self._names)

    # --- Names -----------------------------------------------------------------------------------

    def watches(self, path: str) -> bool:
        return path.startswith(self.root) and not path.endswith("-shm")

    def _file(self, path: str) -> int:
        return self._names[path]

    def _new_file(self, path: str) -> int:
        self._last += 1
        self._names[path] = self._last
        if os.path.lexists(path):
            self._identify(self._last, os.lstat(path))
        return self._last

    def _identify(self, file: int, status: os.stat_result) -> None:
        if stat.S_ISDIR(status.st_mode):
            self.directories.add(file)
        self.identities[file] = FileIdentity(status.st_dev, status.st_ino)

    def _entry(self, path: str, file: int | None) -> tuple[int, str, int | None]:
        directory, _, name = path.rpartition("/")
        return self._file(directory), name, file

    def _made(self, path: str) -> int:
        file = self._new_file(path)
        self.entries.append(Entry((self._entry(path, file),)))
        return file

    def _gone(self, path: str) -> None:
        self.entries.append(Entry((self._entry(path, None),)))
        del self._names[path]

    # --- Faults ----------------------------------------------------------------------------------

    def _ask(self, name: str) -> Failing | None:
        self.asked += 1
        return self.fault(self.asked, name)

    def _may_fail(self, name: str) -> None:
        failing = self._ask(name)
        if failing is not None and not failing.short:
            raise OSError(failing.number, os.strerror(failing.number))

    # --- What Python calls -----------------------------------------------------------------------

    def _calls(self) -> dict[str, Any]:
        real = {name: getattr(os, name) for name in dir(os) if callable(getattr(os, name))}

        def watched(path: Any) -> str | None:
            if isinstance(path, int):
                return None
            text = os.path.abspath(os.fsdecode(path))
            return text if self.watches(text) else None

        def below(directory: int | None, path: Any) -> str | None:
            """The path that a call means which is given a directory's descriptor."""
            if directory is None:
                return watched(path)
            return f"{self._places[directory]}/{os.fsdecode(path)}" if directory in self._places else None

        def open_nameless(path: Any, flags: int, mode: int, directory: int) -> int:
            self._may_fail("open")
            descriptor = int(real["open"](path, flags, mode, dir_fd=directory))
            self._last += 1
            self._descriptors[descriptor] = self._last
            self._identify(self._last, os.fstat(descriptor))
            return descriptor

        def open_(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE and more.get("dir_fd") in self._places:
                return open_nameless(path, flags, mode, more["dir_fd"])
            name = below(more.get("dir_fd"), path)
            if name is None:
                return int(real["open"](path, flags, mode, **more))
            assert not flags & os.O_TRUNC, "this way to truncate is not recorded"
            new = bool(flags & os.O_CREAT) and not os.path.lexists(name)
            if new:
                self._may_fail("open")
            descriptor = int(real["open"](path, flags, mode, **more))
            self._descriptors[descriptor] = self._made(name) if new else self._file(name)
            self._places[descriptor] = name
            return descriptor

        def close(descriptor: int) -> None:
            self._descriptors.pop(descriptor, None)
            self._places.pop(descriptor, None)
            real["close"](descriptor)

        def pwrite(descriptor: int, data: Any, offset: int) -> int:
            file = self._descriptors.get(descriptor)
            if file is None:
                return int(real["pwrite"](descriptor, data, offset))
            failing = self._ask("pwrite")
            if failing is not None:
                if not failing.short:
                    raise OSError(failing.number, os.strerror(failing.number))
                data = memoryview(data)[: (len(data) + 1) // 2]
            before = os.pread(descriptor, len(data), offset)
            written = int(real["pwrite"](descriptor, data, offset))
            self.entries.append(Write(file, offset, bytes(data[:written])))
            self._dirty.setdefault(file, []).append((offset, before + bytes(len(data) - len(before))))
            return written

        def pwritev(descriptor: int, buffers: Any, offset: int, flags: int = 0) -> int:
            if descriptor not in self._descriptors:
                return int(real["pwritev"](descriptor, buffers, offset, flags))
            return pwrite(descriptor, b"".join(buffers), offset)

        def ftruncate(descriptor: int, size: int) -> None:
            file = self._descriptors.get(descriptor)
            if file is not None:
                self._may_fail("ftruncate")
            real["ftruncate"](descriptor, size)
            if file is not None:
                self.entries.append(Truncate(file, size))

        def allocate(descriptor: int, offset: int, size: int) -> None:
            if descriptor not in self._descriptors:
                real["posix_fallocate"](descriptor, offset, size)
            elif offset + size > os.fstat(descriptor).st_size:
                ftruncate(descriptor, offset + size)

        def syncing(name: str) -> Callable[[Any], None]:
            def sync(descriptor: Any) -> None:
                number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
                file = self._descriptors.get(number)
                if file is None:
                    real[name](descriptor)
                    return
                try:
                    self._may_fail(name)
                except OSError:
                    # As Linux does: what was to be written is given up, and memory goes on showing it.
                    self._lost.setdefault(file, []).extend(self._dirty.pop(file, []))
                    raise
                self._dirty.pop(file, None)
                self.entries.append(Sync(file))

            return sync

        def advise(descriptor: int, offset: int, size: int, advice: int) -> None:
            """Memory forgets; what a failed sync lost is seen to be lost."""
            file = self._descriptors.get(descriptor)
            if file is not None and advice == os.POSIX_FADV_DONTNEED:
                for at, before in self._lost.pop(file, []):
                    real["pwrite"](descriptor, before, at)
            real["posix_fadvise"](descriptor, offset, size, advice)

        def mkdir(path: Any, mode: int = 0o777, **more: Any) -> None:
            name = watched(path)
            if name is not None and os.path.isdir(os.path.dirname(name)) and not os.path.lexists(name):
                self._may_fail("mkdir")
            real["mkdir"](path, mode, **more)
            if name is not None:
                self._made(name)

        def removing(real_name: str) -> Callable[..., None]:
            def remove(path: Any, **more: Any) -> None:
                name = watched(path)
                if name is not None and os.path.lexists(name):
                    self._may_fail(real_name)
                real[real_name](path, **more)
                if name is not None:
                    self._gone(name)

            return remove

        def link(source: Any, target: Any, **more: Any) -> None:
            name = below(more.get("dst_dir_fd"), target)
            if name is not None and not os.path.lexists(name):
                self._may_fail("link")
            real["link"](source, target, **more)
            if name is not None:
                held = os.fspath(source).removeprefix("/proc/self/fd/")
                file = self._descriptors[int(held)] if held.isdigit() else self._file(os.path.abspath(source))
                self._names[name] = file
                self.entries.append(Entry((self._entry(name, file),)))

        def rename(source: Any, target: Any, **more: Any) -> None:
            names = watched(source), watched(target)
            if names[0] is not None:
                self._may_fail("rename")
            real["rename"](source, target, **more)
            if names[0] is not None and names[1] is not None:
                file = self._file(names[0])
                self.entries.append(Entry((self._entry(names[0], None), self._entry(names[1], file))))
                del self._names[names[0]]
                self._names[names[1]] = file

        def unforeseen(name: str) -> Callable[..., Any]:
            def call(descriptor: Any, *args: Any, **more: Any) -> Any:
                assert descriptor not in self._descriptors, f"os.{name} is used on a file, which is not recorded"
                return real[name](descriptor, *args, **more)

            return call

        return {
            "open": open_,
            "close": close,
            "pwrite": pwrite,
            "pwritev": pwritev,
            "ftruncate": ftruncate,
            "posix_fallocate": allocate,
            "fsync": syncing("fsync"),
            "fdatasync": syncing("fdatasync"),
            "posix_fadvise": advise,
            "mkdir": mkdir,
            "rmdir": removing("rmdir"),
            "unlink": removing("unlink"),
            "remove": removing("remove"),
            "link": link,
            "rename": rename,
            "replace": rename,
            **{name: unforeseen(name) for name in ("write", "writev", "sendfile", "copy_file_range", "splice")},
        }

    # --- What SQLite does ------------------------------------------------------------------------

    def sqlite_created(self, path: str) -> int:
        if self._ask("sqlite create") is not None:
            return sqlite_files.IOERR_WRITE
        self._made(path)
        return sqlite_files.OK

    def sqlite_writes(self, path: str, data: bytes, offset: int) -> int:
        failing = self._ask("sqlite write")
        if failing is not None:
            if failing.short:
                self._half_written(path, data[: len(data) // 2], offset)
            full = failing.short or failing.number == errno.ENOSPC
            return sqlite_files.FULL if full else sqlite_files.IOERR_WRITE
        self.entries.append(Write(self._file(path), offset, data))
        return sqlite_files.OK

    def _half_written(self, path: str, data: bytes, offset: int) -> None:
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(data)
        self.entries.append(Write(self._file(path), offset, data))

    def sqlite_truncates(self, path: str, size: int) -> int:
        if self._ask("sqlite truncate") is not None:
            return sqlite_files.IOERR_TRUNCATE
        self.entries.append(Truncate(self._file(path), size))
        return sqlite_files.OK

    def sqlite_syncs(self, path: str, *, directory: bool) -> int:
        if self._ask("sqlite sync") is not None:
            return sqlite_files.IOERR_FSYNC
        self.entries.append(Sync(self._file(path)))
        if directory:
            self.entries.append(Sync(self._file(os.path.dirname(path))))
        return sqlite_files.OK

    def sqlite_deletes(self, path: str) -> int:
        if self._ask("sqlite delete") is not None:
            return sqlite_files.IOERR_DELETE
        self._gone(path)
        return sqlite_files.OK
