"""The books of the shares: which files there are, what they are listed as, and what is to be hashed.

Everything that changes `shares.sqlite` is a method here, one transaction each, run on the database's thread. What the
reactor needs of it at any time is `snapshot`, replaced as a whole after each commit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random

import msgspec
from attrs import define

from ...model import ContentId
from ...wire.catalogue import Entry
from .cache import RESTLESS, HashCache, HashRow
from .catalogue import KEPT_TOMBSTONES, CatalogueLog
from .hashing import Changed, Failed, Hashed, Outcome, Work
from .identity import QUIET_S, Identity, quiet_at, settles_at
from .opening import join
from .records import FILE_AT, FILES_BELOW, FILES_OF_HASH, Cursor, FileRow, ShareCounts, ShareRecord, Snapshot
from .walk import Bitmap, Found, folder_text, wire_text

#: Rows changed or gone through in one transaction where there may be any number.
PAGE = 1000
#: Sorts after every folder: 2,048 characters are no more bytes of 0xff than that.
_LAST = b"\xff" * 2049


@define
class _Counted:
    record: ShareRecord
    listings: int
    bytes: int
    waiting: int

    def counts(self) -> ShareCounts:
        return ShareCounts(self.listings, self.bytes, self.waiting)


class Ledger:
    """:param database: of `schema.SCHEMA`, this object's alone for writing. :param rng: for the catalogue's epoch."""

    def __init__(self, database: sqlite3.Connection, rng: Random, kept_tombstones: int = KEPT_TOMBSTONES) -> None:
        self._db = database
        self._log = CatalogueLog(database, rng, kept_tombstones)
        self._cache = HashCache(database)
        self._shares = self._load_shares()
        self.snapshot = self._look()

    def close(self) -> None:
        self._db.close()

    # --- Shares ----------------------------------------------------------------------------------

    def shares(self) -> list[ShareRecord]:
        """Those remembered, in the order in which they were added."""
        return [counted.record for counted in self._shares.values()]

    def add_share(self, name: str, directory: bytes, audience: Sequence[str]) -> ShareRecord:
        with self._transaction():
            made = self._db.execute(
                "INSERT INTO share (name, directory, audience) VALUES (?, ?, ?)",
                (name, directory, msgspec.json.encode(audience).decode()),
            )
            record = ShareRecord(int(made.lastrowid or 0), name, directory, tuple(audience), None)
            self._shares[record.id] = _Counted(record, 0, 0, 0)
        return record

    def set_device(self, share: int, device: int) -> None:
        """The share was gone through, on this device."""
        with self._transaction():
            self._db.execute("UPDATE share SET device = ? WHERE id = ?", (device, share))

    def set_missing(self, share: int, missing: bool) -> None:
        with self._transaction():
            self._db.execute("UPDATE share SET missing = ? WHERE id = ?", (missing, share))

    def withdraw(self, share: int, after: Cursor | None) -> Cursor | None:
        """Some of the share's files are not listed any more, their hashes kept. Returns where to go on, or None."""
        with self._transaction():
            page = self._page(share, b"", _LAST, after)
            for file in page:
                self._list(file, None, waiting=False)
        return _cursor(page)

    def leave(self, share: int) -> None:
        """Forget the share, so that its name and directory are free; what it lists is taken away by `clear_out`."""
        with self._transaction():
            self._db.execute("UPDATE share SET name = NULL, directory = NULL WHERE id = ?", (share,))

    def left(self) -> list[int]:
        """Shares that were forgotten and still list something."""
        return [row[0] for row in self._db.execute("SELECT id FROM share WHERE name IS NULL")]

    def clear_out(self, share: int, now: float) -> bool:
        """Take some of what a forgotten share lists away. False when nothing of it is left."""
        with self._transaction():
            page = self._page(share, b"", _LAST, None)
            for file in page:
                self._delete(file, now)
            if len(page) < PAGE:
                self._db.execute("DELETE FROM share WHERE id = ?", (share,))
                self._shares.pop(share, None)
        return len(page) == PAGE

    # --- Files -----------------------------------------------------------------------------------

    def take(self, share: int, found: Sequence[Found], walks: Sequence[Bitmap], now: float) -> None:
        """These files were seen just now. `walks` are told their rows: walks under way that may not come by them."""
        with self._transaction():
            for one in found:
                file = self._file(share, one.folder, one.name)
                if file is not None and file.identity == Identity.of(one.status):
                    self._take_same(file, one, now)
                    row = file.id
                else:
                    row = self._take_changed(share, file, one, now)
                for seen in walks:
                    seen.add(row)

    def forget(self, share: int, paths: Sequence[bytes], now: float) -> list[bytes]:
        """Nothing to be shared is at these paths any more. Returns those of which more is to be forgotten."""
        more = []
        with self._transaction():
            for path in paths:
                folder, _, name = path.rpartition(b"/")
                file = self._file(share, folder, name)
                if file is not None:
                    self._delete(file, now)
                for low, high in _below(path):
                    page = self._page(share, low, high, None)
                    for file in page:
                        self._delete(file, now)
                    if len(page) == PAGE:
                        more.append(path)
                        break
        return more

    def sweep(self, share: int, folder: bytes, seen: Bitmap, after: Cursor | None, now: float) -> Cursor | None:
        """After a walk of the folder: forget some of what it has not seen. Returns where to go on, or None."""
        with self._transaction():
            if folder and after is None:
                # There may have been a file where the folder is.
                above, _, name = folder.rpartition(b"/")
                file = self._file(share, above, name)
                if file is not None:
                    self._delete(file, now)
            for low, high in _below(folder):
                if after is not None and after.folder >= high:
                    continue
                page = self._page(share, low, high, after)
                for file in page:
                    if file.id not in seen:
                        self._delete(file, now)
                if len(page) == PAGE:
                    return _cursor(page)
        return None

    def prune(self, now: float) -> None:
        with self._transaction():
            self._cache.prune(now)

    # --- Hashing ---------------------------------------------------------------------------------

    def work(self, sizes: tuple[int, int], limit: int, now: float) -> list[Work]:
        with self._transaction():
            return self._cache.work(sizes, limit, now)

    def next_due(self, sizes: tuple[int, int]) -> float | None:
        return self._cache.next_due(sizes)

    def store(self, outcomes: Sequence[Outcome], now: float) -> None:
        """What came of the work; files whose content is known now are listed."""
        with self._transaction():
            for outcome in outcomes:
                known = self._cache.get(outcome.work.hash)
                # Forgotten meanwhile, or no file is in this state any more: then what was read is of no use.
                if known is not None and known.due is not None:
                    self._store(known, outcome, now)

    def _store(self, known: HashRow, outcome: Outcome, now: float) -> None:
        match outcome:
            case Hashed(work=work) if (work.expected is None) == (known.content is None):
                if work.expected is None:
                    content = self._cache.advance(known, outcome, now)
                    if content is not None:
                        self._list_all(known.id, content, waiting=False)
                        if outcome.told is not None:
                            self._tell_anew(known.id)
                elif self._cache.confirm(known, outcome, now):
                    self._list_all(known.id, known.content, waiting=False)
                else:
                    self._list_all(known.id, None, waiting=True)
            case Hashed():
                pass  # the same state was worked on twice, which changes nothing
            case Changed(vain=vain):
                # The share looks at it again and finds another state; this is in case that comes to nothing.
                self._cache.put_off(known.id, now + QUIET_S, vain=vain)
            case Failed(reason=reason):
                self._cache.fail(known.id, reason)
                self._list_all(known.id, None, waiting=False)

    def undescribed(self, after: int, limit: int) -> tuple[list[Work], int | None]:
        with self._transaction():
            return self._cache.undescribed(after, limit)

    def describe(self, described: Sequence[tuple[int, bytes]]) -> None:
        """What the headers of files say that were hashed before, by their hash."""
        with self._transaction():
            for row, media in described:
                self._cache.describe(row, media)
                self._tell_anew(row)

    def outline(self, content: ContentId) -> tuple[int, bytes]:
        return self._cache.outline(bytes.fromhex(content))

    def group(self, content: ContentId, group: int) -> bytes:
        return self._cache.group(bytes.fromhex(content), group)

    # --- Within a transaction --------------------------------------------------------------------

    def _take_same(self, file: FileRow, found: Found, now: float) -> None:
        known = file.hash
        if file.content is None:
            # What could not be read the last time has to be read before it is offered again.
            content = None if known.failed else known.content or self._cache.earlier(file.identity)
            self._list(file, content, waiting=content is None)
        if known.settled:
            return
        if known.due is None:
            # It failed, or its share was away.
            due = settles_at(found.status, now) if known.content else quiet_at(found.status, now)
            self._cache.schedule(known.id, max(now, due))
        elif found.closed and known.restless < RESTLESS and known.content is None and known.due > now:
            self._cache.schedule(known.id, now)

    def _take_changed(self, share: int, file: FileRow | None, found: Found, now: float) -> int:
        """A file that was not here, or was another. Returns its row."""
        identity = Identity.of(found.status)
        known = self._cache.find(identity)
        content = known.content if known is not None else None
        restless = 0
        if content is None and file is not None:
            if file.identity.same_but_for_ctime(identity):
                content = file.content
            elif file.identity.changed_soon_after(identity):
                restless = file.hash.restless + (file.hash.content is not None)
        if content is None:
            content = self._cache.earlier(identity)
        if content is not None:
            due = max(now, settles_at(found.status, now))
        elif found.closed and restless < RESTLESS:
            due = now
        else:
            due = quiet_at(found.status, now)
        if known is None:
            known = self._cache.begin(identity, due, restless)
        else:
            self._cache.adopt(known.id)
            if not known.settled and known.due is None:
                self._cache.schedule(known.id, due)
        if file is None:
            # Waiting, as most new ones are, so that it need not be written twice.
            made = self._db.execute(
                "INSERT INTO file (share, folder, name, hash, waiting) VALUES (?, ?, ?, ?, 1)",
                (share, found.folder, found.name, known.id),
            )
            row = int(made.lastrowid or 0)
            self._shares[share].waiting += 1
            file = FileRow(row, share, found.folder, found.name, None, None, 1, identity, known)
        else:
            self._db.execute("UPDATE file SET hash = ? WHERE id = ?", (known.id, file.id))
            self._cache.abandon(file.hash.id, now)
        # The counts still are those of the file as it was: `_list` corrects them.
        self._list(file, content, waiting=content is None, size=identity.size)
        return file.id

    def _list(self, file: FileRow, content: bytes | None, *, waiting: bool, size: int | None = None) -> None:
        """Let the file be listed with this content, or not. `size`: the content's, if the file has another one now."""
        counted = self._shares[file.share]
        entry = file.entry
        if content != file.content:
            if entry is not None:
                self._log.leave(entry, file.identity.size)
                counted.listings -= 1
                counted.bytes -= file.identity.size
                entry = None
            if content is not None:
                size = file.identity.size if size is None else size
                entry = self._log.enter(self._entry(counted.record, file, content, size))
                counted.listings += 1
                counted.bytes += size
        elif waiting == bool(file.waiting):
            return
        counted.waiting += waiting - file.waiting
        self._db.execute(
            "UPDATE file SET entry = ?, content = ?, waiting = ? WHERE id = ?", (entry, content, waiting, file.id)
        )

    def _list_all(self, known: int, content: bytes | None, *, waiting: bool) -> None:
        """All files in this state; those of shares that are away stay unlisted."""
        for row in self._db.execute(FILES_OF_HASH, (known,)).fetchall():
            file = FileRow.of(row)
            if file.entry is not None or file.waiting:
                self._list(file, content, waiting=waiting)

    def _tell_anew(self, known: int) -> None:
        """All files in this state that are listed, if what their headers say is not what is told."""
        for row in self._db.execute(FILES_OF_HASH, (known,)).fetchall():
            file = FileRow.of(row)
            if file.entry is not None and file.content is not None:
                record = self._shares[file.share].record
                entry = self._log.replace(file.entry, self._entry(record, file, file.content, file.identity.size))
                if entry != file.entry:
                    self._db.execute("UPDATE file SET entry = ? WHERE id = ?", (entry, file.id))

    def _delete(self, file: FileRow, now: float) -> None:
        self._list(file, None, waiting=False)
        self._db.execute("DELETE FROM file WHERE id = ?", (file.id,))
        self._cache.abandon(file.hash.id, now)

    def _entry(self, share: ShareRecord, file: FileRow, content: bytes, size: int) -> Entry:
        return Entry(
            content=content.hex(),
            size=size,
            folder=folder_text(share.name, file.folder),
            name=wire_text(file.name),
            audience=share.audience,
            media=self._cache.media(content),
        )

    def _file(self, share: int, folder: bytes, name: bytes) -> FileRow | None:
        row = self._db.execute(FILE_AT, (share, folder, name)).fetchone()
        return None if row is None else FileRow.of(row)

    def _page(self, share: int, low: bytes, high: bytes, after: Cursor | None) -> list[FileRow]:
        start = (b"", b"") if after is None else after
        return [FileRow.of(row) for row in self._db.execute(FILES_BELOW, (share, low, high, *start, PAGE)).fetchall()]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._save()
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._log.load()
            self._shares = self._load_shares()
            raise
        self.snapshot = self._look()

    def _save(self) -> None:
        self._log.save()
        for share, counted in self._shares.items():
            if counted.counts() != self.snapshot.shares.get(share):
                self._db.execute(
                    "UPDATE share SET listings = ?, bytes = ?, waiting = ? WHERE id = ?",
                    (counted.listings, counted.bytes, counted.waiting, share),
                )

    def _look(self) -> Snapshot:
        return Snapshot(self._log.position(), {share: counted.counts() for share, counted in self._shares.items()})

    def _load_shares(self) -> dict[int, _Counted]:
        shares = {}
        for row in self._db.execute(
            "SELECT id, name, directory, audience, device, listings, bytes, waiting FROM share ORDER BY id"
        ):
            audience = msgspec.json.decode(row[3], type=tuple[str, ...])
            record = ShareRecord(row[0], row[1] or "", row[2] or b"", audience, row[4])
            shares[record.id] = _Counted(record, *row[5:])
        return shares


def _cursor(page: Sequence[FileRow]) -> Cursor | None:
    return Cursor(page[-1].folder, page[-1].name) if len(page) == PAGE else None


def _below(path: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Ranges of folders: the path itself, and what is below it; for the root, everything."""
    if not path:
        return ((b"", _LAST),)
    return (path, path + b"\0"), (join(path, b""), path + b"0")
