"""The snapshot on the disk: one file of named parts, whole or not there, its end a hash of all that is before it.

::

    "napd index snapshot 1 little\\n"
    name (16 bytes, padded with NUL), length (u64 in the machine's byte order), so many bytes     for each part
    "end", 32, BLAKE3 of everything before this part's bytes

These functions block; errors of the disk are plain `OSError`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from struct import Struct
from typing import BinaryIO

from attrs import frozen
from blake3 import blake3

from ..durable import sync_entry
from ..errors import NapError
from .arena import OpenFile, Stretch

#: Parts that a file may have.
MAX_PARTS = 1_000_000

_BEGIN = f"napd index snapshot 2 {sys.byteorder}\n".encode()
_HEAD = Struct("=16sQ")
_END = "end"
_HASH_BYTES = 32
#: Bytes of a part that are read at once.
_AT_ONCE = 1 << 20


class SnapshotRefused(NapError):
    """There is no snapshot that can be used: everything has to be read from the database."""

    code = "snapshot_refused"


@frozen
class Part:
    """:param name: ASCII, 16 characters at most; several parts may have the same.
    :param chunks: of some 100 KB each, made when they are asked for.
    """

    name: str
    length: int
    chunks: Iterable[bytes]


class SnapshotWriter:
    """Writes beside the file that is there, which `finish` replaces."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._new = path.with_name(path.name + ".new")
        self._hasher = blake3()
        #: Of each part, of the last one of a name: where its bytes begin, and how many.
        self._places: dict[str, tuple[int, int]] = {}
        self._file = open(self._new, "wb")  # noqa: SIM115 - closed by `finish` or `abandon`
        self.add(_BEGIN)

    def begin(self, name: str, length: int) -> None:
        """`add` follows, with so many bytes in all."""
        self.add(_HEAD.pack(name.encode("ascii"), length))
        self._places[name] = self._file.tell(), length

    def add(self, data: bytes) -> None:
        self._hasher.update(data)
        self._file.write(data)

    def finish(self) -> int:
        """The snapshot is this one from now on; how many bytes it has."""
        self.begin(_END, _HASH_BYTES)
        self._file.write(self._hasher.digest())
        self._file.flush()
        os.fsync(self._file.fileno())
        size = self._file.tell()
        self._file.close()
        os.replace(self._new, self._path)
        sync_entry(str(self._path))
        return size

    def stretch(self, name: str) -> Stretch:
        """A part of the snapshot that `finish` has made.

        :raises OSError: it cannot be opened.
        """
        return Stretch(OpenFile(self._path), *self._places[name])

    def abandon(self) -> None:
        """Leave nothing of it."""
        try:
            self._file.close()
        finally:
            self._new.unlink(missing_ok=True)


def read_parts(path: Path) -> dict[str, list[bytearray]]:
    """All parts by name.

    :raises SnapshotRefused: it is not there, of another version or machine, or damaged.
    """
    return {name: [part.read_all() for part in parts] for name, parts in find_parts(path).items()}


def find_parts(path: Path) -> dict[str, list[Stretch]]:
    """All parts by name, where they are in the file: it was read once, to see that it is whole.

    :raises SnapshotRefused: as by `read_parts`.
    """
    try:
        opened = OpenFile(path)
        with open(path, "rb") as file:
            places = _find_parts(file, os.fstat(file.fileno()).st_size)
        return {name: [Stretch(opened, *place) for place in some] for name, some in places.items()}
    except FileNotFoundError:
        raise SnapshotRefused("there is no snapshot") from None
    except OSError as error:
        raise SnapshotRefused(f"{path.name} cannot be read: {error.strerror}") from error


def _find_parts(file: BinaryIO, size: int) -> dict[str, list[tuple[int, int]]]:
    """Where the bytes of each begin, and how many they are."""
    hasher = blake3()
    begin = file.read(len(_BEGIN))
    if begin != _BEGIN:
        raise SnapshotRefused("the snapshot is of another version, or of another kind of machine")
    hasher.update(begin)
    places: dict[str, list[tuple[int, int]]] = {}
    for _ in range(MAX_PARTS):
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            break
        hasher.update(head)
        raw_name, length = _HEAD.unpack(head)
        start = file.tell()
        if length > size - start:
            break
        name = raw_name.rstrip(b"\0").decode("ascii", "replace")
        if name == _END:
            if file.read(length) != hasher.digest() or file.tell() != size:
                break
            return places
        for at in range(0, length, _AT_ONCE):
            hasher.update(file.read(min(_AT_ONCE, length - at)))
        places.setdefault(name, []).append((start, length))
    raise SnapshotRefused("the snapshot is damaged: it is cut off, or bytes of it have changed")
