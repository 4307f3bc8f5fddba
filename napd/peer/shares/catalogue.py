"""The catalogue and its log: a set of entries, each with the number of its last change.

What changed after revision r is the entries with a larger number, in order: those that files stand behind are
to be added, the others (tombstones) withdrawn. Runs on the database's thread, in the ledger's transactions.
"""

from __future__ import annotations

import sqlite3
from random import Random

import msgspec

from ...discovery.interface import CataloguePosition
from ...wire.catalogue import CatalogueDigest, Entry, entry_digest

#: Tombstones kept when there are twice as many; an index that is further behind is sent the whole list.
KEPT_TOMBSTONES = 10_000

_encode = msgspec.json.Encoder().encode


class CatalogueLog:
    """:param rng: for the epoch, should the log begin here. :param kept: see `KEPT_TOMBSTONES`."""

    def __init__(self, database: sqlite3.Connection, rng: Random, kept: int = KEPT_TOMBSTONES) -> None:
        self._db = database
        self._kept = kept
        database.execute(
            "INSERT OR IGNORE INTO catalogue VALUES (1, ?, 0, 0, ?, 0, 0)", (f"{rng.getrandbits(256):064x}", "0" * 64)
        )
        self.load()

    def load(self) -> None:
        """Know again what the disk says: at the start, and after a transaction that failed."""
        row = self._db.execute("SELECT epoch, revision, floor, digest, listings, bytes FROM catalogue").fetchone()
        self._epoch, self._revision, self._floor, digest, self._listings, self._bytes = row
        self._digest = CatalogueDigest(digest)
        self._saved = self._revision
        (self._tombstones,) = self._db.execute("SELECT count(*) FROM entry WHERE files = 0").fetchone()

    def position(self) -> CataloguePosition:
        return CataloguePosition(self._epoch, self._revision, self._digest.hex(), self._listings, self._bytes)

    def enter(self, entry: Entry) -> int:
        """One more file stands behind this entry. Returns the entry's row."""
        digest = entry_digest(entry)
        row = self._db.execute("SELECT id, files FROM entry WHERE digest = ?", (digest,)).fetchone()
        if row is not None and row[1] > 0:
            self._db.execute("UPDATE entry SET files = files + 1 WHERE id = ?", (row[0],))
            return int(row[0])
        self._revision += 1
        self._digest.add(digest)
        self._listings += 1
        self._bytes += entry.size
        if row is None:
            made = self._db.execute(
                "INSERT INTO entry (digest, revision, files, json) VALUES (?, ?, 1, ?)",
                (digest, self._revision, _encode(entry)),
            )
            return int(made.lastrowid or 0)
        self._tombstones -= 1
        self._db.execute("UPDATE entry SET files = 1, revision = ? WHERE id = ?", (self._revision, row[0]))
        return int(row[0])

    def leave(self, row: int, size: int) -> None:
        """One file less stands behind this entry, of a content of this size."""
        digest, files = self._db.execute("SELECT digest, files FROM entry WHERE id = ?", (row,)).fetchone()
        if files > 1:
            self._db.execute("UPDATE entry SET files = files - 1 WHERE id = ?", (row,))
            return
        self._revision += 1
        self._digest.remove(digest)
        self._listings -= 1
        self._bytes -= size
        self._tombstones += 1
        self._db.execute("UPDATE entry SET files = 0, revision = ? WHERE id = ?", (self._revision, row))

    def replace(self, row: int, entry: Entry) -> int:
        """A file behind this entry is told of otherwise now. Returns the row of the entry that it is behind."""
        (digest,) = self._db.execute("SELECT digest FROM entry WHERE id = ?", (row,)).fetchone()
        if digest == entry_digest(entry):
            return row
        self.leave(row, entry.size)
        return self.enter(entry)

    def save(self) -> None:
        """Before the transaction's commit."""
        if self._tombstones > 2 * self._kept:
            self._prune()
        if self._revision != self._saved:
            self._db.execute(
                "UPDATE catalogue SET revision = ?, floor = ?, digest = ?, listings = ?, bytes = ?",
                (self._revision, self._floor, self._digest.hex(), self._listings, self._bytes),
            )
            self._saved = self._revision

    def _prune(self) -> None:
        """Forget the oldest tombstones. From revisions below the newest of them no delta leads here any more."""
        (floor,) = self._db.execute(
            "SELECT revision FROM entry WHERE files = 0 ORDER BY revision DESC LIMIT 1 OFFSET ?", (self._kept,)
        ).fetchone()
        gone = self._db.execute("DELETE FROM entry WHERE files = 0 AND revision <= ?", (floor,))
        self._tombstones -= gone.rowcount
        self._floor = floor
