"""SQLite's own file operations, seen and failed by a test.

A VFS of our own is registered in the very SQLite library that Python's `sqlite3` uses. It is the system's VFS, but for
what writes: those calls go through a `Watcher` first. So tests see a write-ahead log as SQLite writes it, frame by
frame, and not a model of it.
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from attrs import define, frozen

OK = 0
FULL = 13
IOERR_WRITE = 10 | 3 << 8
IOERR_FSYNC = 10 | 4 << 8
IOERR_TRUNCATE = 10 | 6 << 8
IOERR_DELETE = 10 | 10 << 8

_OPEN_CREATE = 0x4
#: Files whose first sync brings their directory entry to the disk too: rollback, super and write-ahead journals.
_OPEN_JOURNALS = 0x800 | 0x4000 | 0x80000


class Watcher(Protocol):
    """What a test does about SQLite's writing: each returns OK, or what SQLite is told instead, and it is not done."""

    def watches(self, path: str) -> bool: ...
    def sqlite_created(self, path: str) -> int: ...
    def sqlite_writes(self, path: str, data: bytes, offset: int) -> int: ...
    def sqlite_truncates(self, path: str, size: int) -> int: ...
    def sqlite_syncs(self, path: str, *, directory: bool) -> int: ...
    def sqlite_deletes(self, path: str) -> int: ...


_pointer = ctypes.c_void_p
_int, _int64, _text = ctypes.c_int, ctypes.c_int64, ctypes.c_char_p
# SQLite keeps the pointers to names that it passes: they go on as they came, and not as Python's bytes.
_Open = ctypes.CFUNCTYPE(_int, _pointer, _pointer, _pointer, _int, ctypes.POINTER(_int))
_Delete = ctypes.CFUNCTYPE(_int, _pointer, _pointer, _int)
_Close = ctypes.CFUNCTYPE(_int, _pointer)
_Write = ctypes.CFUNCTYPE(_int, _pointer, _pointer, _int, _int64)
_Truncate = ctypes.CFUNCTYPE(_int, _pointer, _int64)
_Sync = ctypes.CFUNCTYPE(_int, _pointer, _int)


class _VFS(ctypes.Structure):
    """https://www.sqlite.org/c3ref/vfs.html"""

    _fields_ = [
        ("version", _int),
        ("file_bytes", _int),
        ("path_bytes", _int),
        ("next", _pointer),
        ("name", _text),
        ("data", _pointer),
        ("open", _pointer),
        ("delete", _pointer),
        ("others", _pointer * 14),
    ]


class _Methods(ctypes.Structure):
    """https://www.sqlite.org/c3ref/io_methods.html"""

    _fields_ = [
        ("version", _int),
        ("close", _pointer),
        ("read", _pointer),
        ("write", _pointer),
        ("truncate", _pointer),
        ("sync", _pointer),
        ("others", _pointer * 13),
    ]


@define
class _File:
    path: str
    #: Its next sync syncs the directory too.
    new: bool


@frozen
class _Shim:
    """The VFS, and what keeps it alive: ctypes drops callbacks that nobody refers to."""

    library: ctypes.CDLL
    vfs: _VFS
    original: int
    kept: list[Any]

    def make_default(self, default: bool) -> None:
        chosen = ctypes.addressof(self.vfs) if default else self.original
        self.library.sqlite3_vfs_register(_pointer(chosen), 1)


_watchers: list[Watcher] = []
#: What went wrong inside callbacks, where nothing can be raised.
_errors: list[BaseException] = []


def available() -> bool:
    """Whether this Python's SQLite is a library of its own, into which a VFS can be put."""
    return _library() is not None


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Databases that are opened meanwhile write before the eyes of `watcher`."""
    shim = _shim()
    _watchers.append(watcher)
    shim.make_default(True)
    try:
        yield
    finally:
        shim.make_default(False)
        _watchers.remove(watcher)
        errors, _errors[:] = list(_errors), []
    if errors:
        raise errors[0]


@cache
def _library() -> ctypes.CDLL | None:
    loaded = [line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "sqlite" in line]
    for path in dict.fromkeys(p for p in loaded if p.startswith("/")):
        library = ctypes.CDLL(path)
        if hasattr(library, "sqlite3_vfs_register") and library.sqlite3_libversion_number() == _version_number():
            return library
    return None


def _version_number() -> int:
    major, minor, patch = sqlite3.sqlite_version_info
    return major * 1_000_000 + minor * 1_000 + patch


@cache
def _shim() -> _Shim:
    library = _library()
    if library is None:
        raise RuntimeError("this Python has SQLite built in: its file operations cannot be watched")
    library.sqlite3_vfs_find.restype = ctypes.POINTER(_VFS)
    original = library.sqlite3_vfs_find(None).contents
    vfs = _VFS.from_buffer_copy(original)
    vfs.name, vfs.next = b"watched by a test", None
    open_file, delete_file = _Open(original.open), _Delete(original.delete)
    files: dict[int, _File] = {}
    tables: dict[int, _Methods] = {}
    kept: list[Any] = [open_file, delete_file, files, tables]

    def opened(vfs_: int, name: int | None, file: int, flags: int, out: Any) -> int:
        path = os.fsdecode(ctypes.string_at(name)) if name else ""
        watcher = _watcher(path)
        new = bool(watcher and flags & _OPEN_CREATE and not os.path.exists(path))
        if watcher and new and (refused := _ask(lambda: watcher.sqlite_created(path))):
            return refused
        outcome = open_file(vfs_, name, file, flags, out)
        if watcher and outcome == OK:
            methods = ctypes.cast(file, ctypes.POINTER(_pointer))
            at = methods[0]
            if at not in tables:
                tables[at] = _watched_methods(at, files, kept)
            methods[0] = ctypes.addressof(tables[at])
            files[file] = _File(path, new and bool(flags & _OPEN_JOURNALS))
        return int(outcome)

    def deleted(vfs_: int, name: int, sync_directory: int) -> int:
        path = os.fsdecode(ctypes.string_at(name))
        watcher = _watcher(path)
        if watcher and os.path.exists(path) and (refused := _ask(lambda: watcher.sqlite_deletes(path))):
            return refused
        return int(delete_file(vfs_, name, sync_directory))

    callbacks = _Open(opened), _Delete(deleted)
    kept.extend(callbacks)
    vfs.open, vfs.delete = (ctypes.cast(callback, _pointer).value for callback in callbacks)
    return _Shim(library, vfs, ctypes.addressof(original), kept)


def _watched_methods(at: int, files: dict[int, _File], kept: list[Any]) -> _Methods:
    """The same methods, but that those which write ask first. One table for each kind of file that the VFS has."""
    original = _Methods.from_address(at)
    table = _Methods.from_buffer_copy(original)
    close, write = _Close(original.close), _Write(original.write)
    truncate, sync = _Truncate(original.truncate), _Sync(original.sync)

    def closes(file: int) -> int:
        files.pop(file, None)
        return int(close(file))

    def writes(file: int, data: int, size: int, offset: int) -> int:
        path = files[file].path
        watcher = _watcher(path)
        if watcher:
            written = ctypes.string_at(data, size)
            if refused := _ask(lambda: watcher.sqlite_writes(path, written, offset)):
                return refused
        return int(write(file, data, size, offset))

    def truncates(file: int, size: int) -> int:
        path = files[file].path
        watcher = _watcher(path)
        if watcher and (refused := _ask(lambda: watcher.sqlite_truncates(path, size))):
            return refused
        return int(truncate(file, size))

    def syncs(file: int, flags: int) -> int:
        known = files[file]
        watcher = _watcher(known.path)
        if watcher is None:
            return int(sync(file, flags))
        # Not done in earnest: the test says what a power cut leaves.
        if refused := _ask(lambda: watcher.sqlite_syncs(known.path, directory=known.new)):
            return refused
        known.new = False
        return OK

    callbacks = _Close(closes), _Write(writes), _Truncate(truncates), _Sync(syncs)
    kept += [close, write, truncate, sync, *callbacks]
    table.close, table.write, table.truncate, table.sync = (ctypes.cast(c, _pointer).value for c in callbacks)
    return table


def _watcher(path: str) -> Watcher | None:
    return next((watcher for watcher in _watchers if path and watcher.watches(path)), None)


def _ask(ask: Callable[[], int]) -> int:
    try:
        return ask()
    except BaseException as error:
        _errors.append(error)
        return IOERR_WRITE
