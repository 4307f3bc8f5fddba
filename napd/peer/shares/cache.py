"""What is known of files by their identity: contents, digests, work to be done. On the database's thread.

A hash is *settled* when its content is known and no chunk of it was read while the file was young. What is not
settled has work due, as long as a file is in that state.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

import msgspec

from ...content.digest import CHUNK_BYTES, DIGEST_BYTES, GROUP_CHUNKS, chunk_count, content_id, group_digest
from ...wire.catalogue import Media
from .hashing import PART_CHUNKS, Hashed, Work
from .identity import Identity
from .media import is_told_of
from .opening import join

#: Seconds that the hash of a file that is gone is kept: disks are unmounted, directories moved away and back.
KEPT_S = 30 * 86_400.0
#: So many of them at most, so that a directory of ever new files does not fill the disk.
KEPT_ORPHANS = 100_000
#: After so many changes, each soon after the one before, a file is hashed only when it is quiet: hashing what is
#: written again and again, each time anew, would be endless work.
RESTLESS = 3
#: Files of one state that are looked at for a name that says what it is; links to it, mostly one.
MAX_PLACES = 16

_media = msgspec.json.Decoder(Media)


class HashRow(NamedTuple):
    id: int
    size: int
    content: bytes | None
    due: float | None
    doubtful: int
    restless: int
    failed: str | None

    @property
    def settled(self) -> bool:
        return self.content is not None and self.doubtful == 0


class HashCache:
    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database

    def find(self, identity: Identity) -> HashRow | None:
        row = self._db.execute(
            "SELECT id, size, content, due, doubtful, restless, failed FROM hash"
            " WHERE device = ? AND inode = ? AND size = ? AND mtime_ns = ? AND ctime_ns = ?",
            identity,
        ).fetchone()
        return None if row is None else HashRow(*row)

    def get(self, row: int) -> HashRow | None:
        found = self._db.execute(
            "SELECT id, size, content, due, doubtful, restless, failed FROM hash WHERE id = ?", (row,)
        ).fetchone()
        return None if found is None else HashRow(*found)

    def begin(self, identity: Identity, due: float, restless: int) -> HashRow:
        """A state of a file that was never seen."""
        made = self._db.execute(
            "INSERT INTO hash (device, inode, size, mtime_ns, ctime_ns, due, restless) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*identity, due, restless),
        )
        return HashRow(int(made.lastrowid or 0), identity.size, None, due, 0, restless, None)

    def earlier(self, identity: Identity) -> bytes | None:
        """The content of the same file before its change time alone changed."""
        row = self._db.execute(
            "SELECT content FROM hash WHERE device = ? AND inode = ? AND size = ? AND mtime_ns = ?"
            " AND content IS NOT NULL ORDER BY id DESC LIMIT 1",
            identity[:4],
        ).fetchone()
        return None if row is None else bytes(row[0])

    def media(self, content: bytes) -> Media:
        row = self._db.execute(
            "SELECT media FROM hash WHERE content = ? AND media IS NOT NULL ORDER BY id LIMIT 1", (content,)
        ).fetchone()
        return Media() if row is None else _media.decode(row[0])

    def undescribed(self, after: int, limit: int) -> tuple[list[Work], int | None]:
        """Recordings whose headers were never looked into, some of the hashes after this one; and the last of those.

        What is no recording is not asked for again. A file that is not there just now is left for later.
        """
        rows = self._db.execute(
            "SELECT undescribed.hash, device, inode, size, mtime_ns, ctime_ns FROM undescribed"
            " JOIN hash ON hash.id = undescribed.hash WHERE undescribed.hash > ? ORDER BY undescribed.hash LIMIT ?",
            (after, limit),
        ).fetchall()
        works = []
        for row, *identity in rows:
            places = self._db.execute(
                "SELECT share, directory, folder, file.name, missing FROM file JOIN share ON share.id = share"
                " WHERE hash = ? AND directory IS NOT NULL LIMIT ?",
                (row, MAX_PLACES),
            ).fetchall()
            told = [place for place in places if is_told_of(place[3])]
            here = [place for place in told if not place[4]]
            if here:
                share, directory, folder, name, _ = here[0]
                works.append(Work(row, share, directory, join(folder, name), Identity(*identity), 0, 0, None))
            elif places and not told:
                self._db.execute("DELETE FROM undescribed WHERE hash = ?", (row,))
        return works, rows[-1][0] if rows else None

    def describe(self, row: int, media: bytes) -> None:
        self._db.execute("UPDATE hash SET media = ? WHERE id = ?", (media, row))
        self._db.execute("DELETE FROM undescribed WHERE hash = ?", (row,))

    def schedule(self, row: int, due: float | None) -> None:
        self._db.execute("UPDATE hash SET due = ? WHERE id = ?", (due, row))

    def adopt(self, row: int) -> None:
        """A file is in this state."""
        self._db.execute("UPDATE hash SET orphaned = NULL WHERE id = ? AND orphaned IS NOT NULL", (row,))

    def abandon(self, row: int, now: float) -> None:
        """A file that was in this state is not any more."""
        self._db.execute(
            "UPDATE hash SET orphaned = ?2, due = NULL, failed = NULL"
            " WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM file WHERE hash = ?1)",
            (row, now),
        )

    # --- Work ------------------------------------------------------------------------------------

    def work(self, sizes: tuple[int, int], limit: int, now: float) -> list[Work]:
        """What is due among files of these sizes (from, up to and including), the smallest first.

        What turns out to have no file in an available share is not due any more.
        """
        rows = self._db.execute(
            "SELECT id, device, inode, size, mtime_ns, ctime_ns, content, doubtful FROM hash"
            " WHERE due IS NOT NULL AND size BETWEEN ? AND ? AND due <= ? ORDER BY size LIMIT ?",
            (*sizes, now, limit),
        ).fetchall()
        works = []
        for row, *identity, content, doubtful in rows:
            place = self._db.execute(
                "SELECT share.id, directory, folder, file.name FROM file JOIN share ON share.id = file.share"
                " WHERE hash = ? AND NOT missing AND directory IS NOT NULL LIMIT 1",
                (row,),
            ).fetchone()
            if place is None:
                self.schedule(row, None)
                continue
            share, directory, folder, name = place
            first, count, expected = self._next_part(row, identity[2], content is not None, doubtful)
            works.append(Work(row, share, directory, join(folder, name), Identity(*identity), first, count, expected))
        return works

    def next_due(self, sizes: tuple[int, int]) -> float | None:
        (due,) = self._db.execute(
            "SELECT min(due) FROM hash WHERE due IS NOT NULL AND size BETWEEN ? AND ?", sizes
        ).fetchone()
        return None if due is None else float(due)

    def _next_part(self, row: int, size: int, whole: bool, doubtful: int) -> tuple[int, int, bytes | None]:
        """First chunk, number of chunks, and the digests that they should have if they were read before."""
        if whole:
            place = (doubtful - 1) // GROUP_CHUNKS
            first = max(place * GROUP_CHUNKS, doubtful - PART_CHUNKS)
            known = self._group(row, place)
            at = (first - place * GROUP_CHUNKS) * DIGEST_BYTES
            return first, doubtful - first, known[at : at + (doubtful - first) * DIGEST_BYTES]
        # Of one chunk nothing is known before all is.
        first = self._done(row) if size > CHUNK_BYTES else 0
        room = GROUP_CHUNKS - first % GROUP_CHUNKS
        return first, min(PART_CHUNKS, room, chunk_count(size) - first), None

    def _done(self, row: int) -> int:
        """Chunks hashed so far."""
        last = self._db.execute(
            "SELECT place, length(chunks) FROM digests WHERE hash = ? ORDER BY place DESC LIMIT 1", (row,)
        ).fetchone()
        return 0 if last is None else int(last[0]) * GROUP_CHUNKS + int(last[1]) // DIGEST_BYTES

    # --- Results ---------------------------------------------------------------------------------

    def advance(self, known: HashRow, part: Hashed, now: float) -> bytes | None:
        """Keep the digests of one part, unless they are kept. Returns the content when that was the last part."""
        work = part.work
        read = len(part.digests) // DIGEST_BYTES
        doubtful = max(known.doubtful, part.doubtful)
        if work.first == 0 and read == chunk_count(known.size) <= GROUP_CHUNKS:
            # All at once: nothing that may be known of it matters. Most files are so.
            if part.digests:
                self._db.execute("INSERT OR REPLACE INTO digests VALUES (?, 0, ?)", (work.hash, part.digests))
            return self._conclude(known, part, [group_digest(part.digests)] if part.digests else [], doubtful, now)
        if self._done(work.hash) != work.first:
            return None
        if part.digests:
            place = work.first // GROUP_CHUNKS
            chunks = self._group(work.hash, place) + part.digests
            self._db.execute("INSERT OR REPLACE INTO digests VALUES (?, ?, ?)", (work.hash, place, chunks))
        if work.first + read < chunk_count(known.size):
            self._db.execute("UPDATE hash SET doubtful = ?, failed = NULL WHERE id = ?", (doubtful, work.hash))
            return None
        groups = [
            group_digest(bytes(chunks))
            for (chunks,) in self._db.execute("SELECT chunks FROM digests WHERE hash = ? ORDER BY place", (work.hash,))
        ]
        return self._conclude(known, part, groups, doubtful, now)

    def _conclude(self, known: HashRow, part: Hashed, groups: list[bytes], doubtful: int, now: float) -> bytes:
        content = bytes.fromhex(content_id(known.size, groups))
        media = None if part.told is None else part.told.media
        self._db.execute(
            "UPDATE hash SET content = ?, group_digests = ?, media = ?, doubtful = ?, due = ?, failed = NULL"
            " WHERE id = ?",
            (content, b"".join(groups), media, doubtful, max(now, part.settles_at) if doubtful else None, known.id),
        )
        return content

    def confirm(self, known: HashRow, part: Hashed, now: float) -> bool:
        """What was read while the file was young was read again. False: it was not the same, and all begins anew."""
        if part.work.expected is None or not part.work.expected.startswith(part.digests):
            self._db.execute("DELETE FROM digests WHERE hash = ?", (known.id,))
            self._db.execute(
                "UPDATE hash SET content = NULL, group_digests = NULL, doubtful = 0, due = ? WHERE id = ?",
                (now, known.id),
            )
            return False
        whole = len(part.digests) == len(part.work.expected)
        left = part.work.first if whole and part.doubtful <= part.work.first else known.doubtful
        due = None if left == 0 else max(now, part.settles_at)
        self._db.execute("UPDATE hash SET doubtful = ?, due = ?, failed = NULL WHERE id = ?", (left, due, known.id))
        return True

    def put_off(self, row: int, due: float, *, vain: bool) -> None:
        """Not before `due`. `vain`: it has been read and was another file afterwards."""
        restless = RESTLESS if vain else 0
        self._db.execute("UPDATE hash SET due = ?, restless = max(restless, ?) WHERE id = ?", (due, restless, row))

    def fail(self, row: int, reason: str) -> None:
        self._db.execute("UPDATE hash SET due = NULL, failed = ? WHERE id = ?", (reason, row))

    # --- Manifests -------------------------------------------------------------------------------

    def outline(self, content: bytes) -> tuple[int, bytes]:
        """Size and joined group digests. :raises LookupError: if no file is listed with this content."""
        row = self._manifest(content)
        size, groups = self._db.execute("SELECT size, group_digests FROM hash WHERE id = ?", (row,)).fetchone()
        return int(size), bytes(groups)

    def group(self, content: bytes, place: int) -> bytes:
        """The group's joined chunk digests. :raises LookupError: no such content, or it has no such group."""
        chunks = self._group(self._manifest(content), place)
        if not chunks:
            raise LookupError(f"{content.hex()} has no group {place}")
        return chunks

    def _manifest(self, content: bytes) -> int:
        row = self._db.execute(
            "SELECT id FROM hash WHERE content = ?1 AND EXISTS (SELECT 1 FROM file WHERE content = ?1) LIMIT 1",
            (content,),
        ).fetchone()
        if row is None:
            raise LookupError(content.hex())
        return int(row[0])

    def _group(self, row: int, place: int) -> bytes:
        found = self._db.execute("SELECT chunks FROM digests WHERE hash = ? AND place = ?", (row, place)).fetchone()
        return b"" if found is None else bytes(found[0])

    def prune(self, now: float, kept: int = KEPT_ORPHANS) -> None:
        """Forget what has long been of no file, except what a file is listed with on its strength."""
        self._db.execute(
            "DELETE FROM hash WHERE orphaned < ? AND NOT EXISTS (SELECT 1 FROM file WHERE file.content = hash.content)",
            (now - KEPT_S,),
        )
        self._db.execute(
            "DELETE FROM hash WHERE NOT EXISTS (SELECT 1 FROM file WHERE file.content = hash.content) AND id IN"
            " (SELECT id FROM hash WHERE orphaned IS NOT NULL ORDER BY orphaned DESC LIMIT -1 OFFSET ?)",
            (kept,),
        )
