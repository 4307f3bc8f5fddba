"""What the reactor asks of the books at once: listings of a content, steps of the catalogue's log, single paths.

A second connection to `shares.sqlite`, for reading: each call is a few look-ups by index, and sees what is committed.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import msgspec
from attrs import frozen

from ...discovery.interface import CatalogueStep
from ...model import ContentId
from ...wire.catalogue import Entry
from ...wire.index import MAX_BATCH
from ...wire.line import MAX_LINE_BYTES
from .identity import Identity
from .opening import join, open_file

#: Bytes of a line that are left for what stands around the entries of a step.
HEADROOM_BYTES = 1024
#: Listings of one content given of each share; thousands of empty files are one content.
MAX_LISTINGS = 16

_entry = msgspec.json.Decoder(Entry)


@frozen
class Shared:
    """One listing: a file, and what others are told of it.

    :ivar directory: the shared directory; `relative`: the file's path in it.
    :ivar identity: of the file that was hashed.
    """

    directory: bytes
    relative: bytes
    entry: Entry
    identity: Identity

    @property
    def path(self) -> bytes:
        return join(self.directory, self.relative)

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def size(self) -> int:
        return self.entry.size

    @property
    def audience(self) -> tuple[str, ...]:
        return self.entry.audience

    def is_same_file(self, status: os.stat_result) -> bool:
        """Whether an open file is still the one that was hashed.

        Another change time alone (renamed, another mode) keeps a listing: the file is hashed again meanwhile.
        """
        return self.identity.is_same_file(status)

    def has(self, chunk: int) -> bool:
        return True

    def open(self) -> int:
        """A descriptor to read it with; no symbolic link is followed anywhere below the shared directory. Blocks.

        :raises LookupError: it is another file now. :raises OSError: it cannot be opened.
        """
        descriptor = open_file(self.directory, self.relative)
        try:
            same = self.is_same_file(os.fstat(descriptor))
        except OSError:
            os.close(descriptor)
            raise
        if not same:
            os.close(descriptor)
            raise LookupError(self.name)
        return descriptor


@frozen
class FileState:
    """A file that was seen: what it is listed as, else what it waits for."""

    entry: Entry | None
    waiting: bool
    failed: str | None


class Reader:
    def __init__(self, path: Path) -> None:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        self._db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        # A list that is sent whole begins below the floor: where its steps have led to, and the floor at its begin.
        self._run: set[int] = set()
        self._run_floor = 0

    def close(self) -> None:
        self._db.close()

    def find(self, content: ContentId, shares: Iterable[int]) -> list[Shared]:
        """Listings of the content, some of each of these shares."""
        found = []
        for share in shares:
            rows = self._db.execute(
                "SELECT directory, folder, file.name, json, hash.device, inode, size, mtime_ns, ctime_ns FROM file"
                " JOIN share ON share.id = share JOIN entry ON entry.id = entry JOIN hash ON hash.id = hash"
                " WHERE file.content = ? AND share = ? AND directory IS NOT NULL LIMIT ?",
                (bytes.fromhex(content), share, MAX_LISTINGS),
            ).fetchall()
            for directory, folder, name, entry, *identity in rows:
                found.append(Shared(directory, join(folder, name), _entry.decode(entry), Identity(*identity)))
        return found

    def file(self, share: int, path: bytes) -> FileState | None:
        """What is known of a path in a share."""
        folder, _, name = path.rpartition(b"/")
        row = self._db.execute(
            "SELECT json, waiting, failed FROM file JOIN hash ON hash.id = hash LEFT JOIN entry ON entry.id = entry"
            " WHERE share = ? AND folder = ? AND name = ?",
            (share, folder, name),
        ).fetchone()
        if row is None:
            return None
        return FileState(None if row[0] is None else _entry.decode(row[0]), bool(row[1]), row[2])

    def failed(self, share: int, limit: int) -> tuple[list[tuple[bytes, str]], int]:
        """Files that could not be read, with the reason, and how many there are."""
        rows = self._db.execute(
            "SELECT folder, name, failed FROM hash CROSS JOIN file ON hash = hash.id"
            " WHERE failed IS NOT NULL AND share = ?",
            (share,),
        ).fetchall()
        return [(join(folder, name), reason) for folder, name, reason in rows[:limit]], len(rows)

    def step(self, after: int, limit_bytes: int) -> CatalogueStep | None:
        """As `discovery.interface.CatalogueFeed.step`."""
        self._db.execute("BEGIN")
        try:
            return self._step(after, min(limit_bytes, MAX_LINE_BYTES) - HEADROOM_BYTES)
        finally:
            self._db.execute("ROLLBACK")

    def _step(self, after: int, limit_bytes: int) -> CatalogueStep | None:
        revision, floor, digest = self._db.execute("SELECT revision, floor, digest FROM catalogue").fetchone()
        if after == revision:
            return None
        if after == 0:
            self._run, self._run_floor = {0}, floor
        running = after in self._run and floor == self._run_floor
        if after > revision or (after < floor and not running):
            raise LookupError(f"the log of changes leads from revision {floor} to {revision}, not from {after}")
        # Who begins with nothing need not be told what is gone.
        rows = self._db.execute(
            "SELECT revision, files, json FROM entry WHERE revision > ?1 AND (?1 > 0 OR files > 0)"
            " ORDER BY revision LIMIT ?2",
            (after, MAX_BATCH + 1),
        ).fetchall()
        add: list[Entry] = []
        withdraw: list[Entry] = []
        reached, room = revision, limit_bytes
        for place, (_, files, entry) in enumerate(rows):
            room -= len(entry) + 1
            if place == MAX_BATCH or (room < 0 and place > 0):
                reached = rows[place - 1][0]
                break
            (add if files else withdraw).append(_entry.decode(entry))
        if running and reached < floor:
            self._run.add(reached)
        return CatalogueStep(reached, add, withdraw, digest if reached == revision else None)
