"""Rows of the books, and what the reactor is told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from attrs import frozen

from ...discovery.interface import CataloguePosition
from .cache import HashRow
from .identity import Identity


@frozen
class ShareCounts:
    """Files listed, their bytes, and files that cannot be listed until they are hashed."""

    listings: int
    bytes: int
    waiting: int


@frozen
class Snapshot:
    """What is committed: the catalogue's position, and the counts by share."""

    position: CataloguePosition
    shares: Mapping[int, ShareCounts]


@frozen
class ShareRecord:
    """A share as it is remembered; `device` is the one it was on when it was last gone through."""

    id: int
    name: str
    directory: bytes
    audience: tuple[str, ...]
    device: int | None


class Cursor(NamedTuple):
    """Where a pass over the files of a share has come to."""

    folder: bytes
    name: bytes


class FileRow(NamedTuple):
    """One file in one share, joined with the hash of its state."""

    id: int
    share: int
    folder: bytes
    name: bytes
    entry: int | None
    content: bytes | None
    waiting: int
    identity: Identity
    hash: HashRow

    @classmethod
    def of(cls, row: Sequence[Any]) -> FileRow:
        """From a row of one of the queries below."""
        return cls._make([*row[:7], Identity(*row[7:12]), HashRow(*row[12:])])


_FILE = (
    "SELECT file.id, share, folder, name, entry, file.content, waiting, device, inode, size, mtime_ns, ctime_ns,"
    " hash.id, size, hash.content, due, doubtful, restless, failed FROM file JOIN hash ON hash.id = file.hash "
)
FILE_AT = _FILE + "WHERE share = ? AND folder = ? AND name = ?"
FILES_OF_HASH = _FILE + "WHERE file.hash = ?"
FILES_BELOW = (
    _FILE + "WHERE share = ? AND folder >= ? AND folder < ? AND (folder, name) > (?, ?) ORDER BY folder, name LIMIT ?"
)
