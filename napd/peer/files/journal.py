"""The journal: the queue on the disk. It says only what is so: a chunk is in it after it was flushed, never before.

One SQLite database with synchronous=FULL and one thread that writes it. Changes that wait together are committed
together, in the order in which they were made; each method's Deferred fires after the commit.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred

from ...errors import DiskFailed, NapError, NoSpace
from ...model import ContentId, DownloadState, Priority
from ...wire.documents import Problem
from ..item import Item
from ..sources import lessons
from ..sources.experience import Lesson
from .disk import FileIdentity
from .flushed import FlushedChunks

#: One script per schema version; a database is brought up one by one.
SCHEMA = (
    """
    CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE download (
        id INTEGER PRIMARY KEY,
        content TEXT NOT NULL,
        transfer TEXT NOT NULL,
        name TEXT NOT NULL,
        size INTEGER,
        directory BLOB NOT NULL,     -- paths are bytes: they need not be UTF-8
        priority TEXT NOT NULL,
        place INTEGER NOT NULL,
        state TEXT NOT NULL,
        path BLOB,
        error_code TEXT,
        error_message TEXT,
        added REAL NOT NULL,
        finished REAL,
        bytes_done INTEGER NOT NULL,
        bytes_received INTEGER NOT NULL,
        group_digests BLOB,          -- the verified outline, with the size
        sealed_device INTEGER,       -- the complete file, about to get its final name
        sealed_inode INTEGER
    );
    CREATE TABLE manifest_group (
        download INTEGER NOT NULL, number INTEGER NOT NULL, digests BLOB NOT NULL,
        PRIMARY KEY (download, number)
    );
    CREATE TABLE flushed_group (      -- a bit a chunk, lowest bit first
        download INTEGER NOT NULL, number INTEGER NOT NULL, have BLOB NOT NULL,
        PRIMARY KEY (download, number)
    ) WITHOUT ROWID;
    """,
    """
    ALTER TABLE download ADD COLUMN sequential INTEGER NOT NULL DEFAULT 0;
    """
    + lessons.TABLE,
)

Statement = tuple[str, tuple[Any, ...]]
T = TypeVar("T")

_SAVE = """INSERT INTO download (id, content, transfer, name, size, directory, priority, place, state, path, error_code,
    error_message, added, finished, bytes_done, bytes_received, sequential)
    VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
    ON CONFLICT (id) DO UPDATE SET name=excluded.name, size=excluded.size, directory=excluded.directory,
    priority=excluded.priority, place=excluded.place, state=excluded.state, path=excluded.path,
    error_code=excluded.error_code, error_message=excluded.error_message, finished=excluded.finished,
    bytes_done=excluded.bytes_done, bytes_received=excluded.bytes_received, sequential=excluded.sequential"""


_DONE = """UPDATE download SET name=?, size=?, state='done', path=?, error_code=NULL, error_message=NULL, finished=?,
    bytes_done=?, bytes_received=?, sealed_device=NULL, sealed_inode=NULL WHERE id=?"""


class JournalThread(Protocol):
    """What the journal needs of `ops.threads.Worker`."""

    def run(self, work: Any, /, *args: Any) -> Deferred[Any]: ...


@frozen
class Kept:
    """What the journal holds of one download's content: its verified outline, and its flushed chunks.

    :ivar groups: those whose digests it holds too; there may be many, so each is asked for when it is needed.
    """

    outline: tuple[int, bytes] | None
    groups: frozenset[int]
    flushed: FlushedChunks
    sealed: FileIdentity | None


@frozen
class Done:
    """How a download ended well: where its file is, how long it is, and when that was (seconds since 1970)."""

    path: str
    size: int
    at: float


class Journal:
    """The peer's durable state: downloads, and the settings that `napctl limit` changes.

    :param connection: opened with `SCHEMA`; used by `worker`'s thread alone once the daemon runs.
    """

    def __init__(self, connection: sqlite3.Connection, worker: JournalThread) -> None:
        self._connection = connection
        self._worker = worker
        self._waiting: list[Statement] = []
        self._waiters: list[Deferred[None]] = []
        self._committing = False

    # --- At the start, before anything runs ------------------------------------------------------

    def load(self) -> tuple[list[Item], int]:
        """All downloads, and the next id. Blocks."""
        rows = self._connection.execute(
            "SELECT id, content, transfer, name, size, directory, priority, place, state, path, error_code,"
            " error_message, added, finished, bytes_done, bytes_received, sequential, sealed_device IS NOT NULL,"
            " group_digests IS NULL AND sealed_device IS NULL FROM download"
        )
        items = [_item(row) for row in rows]
        self._count_flushed(items)
        known = dict(self._connection.execute("SELECT name, value FROM setting"))
        return items, int(known.get("next_download", 1))

    def _count_flushed(self, items: Iterable[Item]) -> None:
        """What is done of the unfinished is what is flushed, whichever figure was saved last."""
        flushed: dict[int, list[tuple[int, bytes]]] = {}
        for download, number, have in self._connection.execute("SELECT download, number, have FROM flushed_group"):
            flushed.setdefault(download, []).append((number, have))
        for item in items:
            if item.state is not DownloadState.DONE:
                item.bytes_done = FlushedChunks.of(flushed.get(item.id, ())).count(item.size or 0)

    def settings(self) -> dict[str, str]:
        """Blocks."""
        return dict(self._connection.execute("SELECT name, value FROM setting"))

    def lessons(self) -> list[Lesson]:
        """What was learnt about other peers. Blocks."""
        return lessons.load_lessons(self._connection)

    # --- Reading ---------------------------------------------------------------------------------

    def kept(self, download: int) -> Deferred[Kept]:
        """What is known of this download's content; after every change made before this call."""
        written = self._write([])
        return written.addCallback(lambda _: self._worker.run(self._reading, self._select_kept, download))

    def digests(self, download: int, group: int) -> Deferred[bytes | None]:
        """The chunk digests of one group, if they are known; after every change made before this call."""
        written = self._write([])
        return written.addCallback(lambda _: self._worker.run(self._reading, self._select_digests, download, group))

    @staticmethod
    def _reading(select: Callable[..., T], *args: int) -> T:
        try:
            return select(*args)
        except sqlite3.Error as error:
            raise DiskFailed(f"the queue's journal cannot be read: {error}") from error

    def _select_digests(self, download: int, group: int) -> bytes | None:
        sql = "SELECT digests FROM manifest_group WHERE download=? AND number=?"
        row = self._connection.execute(sql, (download, group)).fetchone()
        return None if row is None else bytes(row[0])

    def _select_kept(self, download: int) -> Kept:
        execute = self._connection.execute
        row = execute(
            "SELECT size, group_digests, sealed_device, sealed_inode FROM download WHERE id=?", (download,)
        ).fetchone()
        size, digests, device, inode = row if row is not None else (0, None, None, 0)
        groups = execute("SELECT number FROM manifest_group WHERE download=?", (download,))
        have = execute("SELECT number, have FROM flushed_group WHERE download=?", (download,))
        return Kept(
            outline=None if digests is None else (size, digests),
            groups=frozenset(number for (number,) in groups),
            flushed=FlushedChunks.of(have),
            sealed=None if device is None else FileIdentity(device, inode),
        )

    # --- Writing ---------------------------------------------------------------------------------

    def save(self, items: Sequence[Item], next_id: int | None = None) -> Deferred[None]:
        """These downloads as they are now."""
        statements: list[Statement] = [(_SAVE, _row(item)) for item in items]
        if next_id is not None:
            statements.append(_setting("next_download", str(next_id)))
        return self._write(statements)

    def set(self, settings: Mapping[str, str]) -> Deferred[None]:
        return self._write([_setting(name, value) for name, value in settings.items()])

    def remember(self, learnt: Sequence[Lesson]) -> Deferred[None]:
        """Keep this of other peers for the next start."""
        return self._write(lessons.saving(learnt))

    def outline(self, item: Item, group_digests: bytes) -> Deferred[None]:
        sql = "UPDATE download SET size=?, name=?, group_digests=? WHERE id=?"
        return self._write([(sql, (item.size, item.name, group_digests, item.id))])

    def group(self, item: Item, number: int, digests: bytes) -> Deferred[None]:
        sql = "INSERT OR REPLACE INTO manifest_group (download, number, digests) VALUES (?,?,?)"
        return self._write([(sql, (item.id, number, digests))])

    def flushed(self, item: Item, flushed: FlushedChunks, bytes_done: int) -> Deferred[None]:
        """These chunks are on the disk, and no others; they have so many bytes."""
        return self._write(self._flushed(item, flushed, bytes_done))

    @staticmethod
    def _flushed(item: Item, flushed: FlushedChunks, bytes_done: int) -> list[Statement]:
        sql = "INSERT OR REPLACE INTO flushed_group (download, number, have) VALUES (?,?,?)"
        statements: list[Statement] = [(sql, (item.id, group, have)) for group, have in flushed.take_changed()]
        figures = "UPDATE download SET bytes_done=?, bytes_received=? WHERE id=?"
        statements.append((figures, (bytes_done, item.bytes_received, item.id)))
        return statements

    def sealed(self, item: Item, flushed: FlushedChunks, bytes_done: int, identity: FileIdentity) -> Deferred[None]:
        """The partial file is complete and synced; from here on it may already carry its final name."""
        return self._write([*self._flushed(item, flushed, bytes_done), _seal(item, identity)])

    def all_sealed(self, sealed: Iterable[tuple[Item, FileIdentity]]) -> Deferred[None]:
        """These files are complete and synced; from here on they may carry their final names."""
        return self._write([_seal(item, identity) for item, identity in sealed])

    def done(self, done: Iterable[tuple[Item, Done]]) -> Deferred[None]:
        """These have ended so; what was kept of their chunks is forgotten."""
        statements: list[Statement] = []
        for item, end in done:
            path = os.fsencode(end.path)
            statements.append((_DONE, (item.name, end.size, path, end.at, end.size, item.bytes_received, item.id)))
            if not item.bare:
                statements += _without_chunks([item])
        return self._write(statements)

    def ended(self, items: Sequence[Item]) -> Deferred[None]:
        """Save these, and forget what was kept of their chunks."""
        return self._write([(_SAVE, _row(item)) for item in items] + _without_chunks(items))

    def forget(self, items: Sequence[Item]) -> Deferred[None]:
        gone: list[Statement] = [("DELETE FROM download WHERE id=?", (item.id,)) for item in items]
        return self._write(gone + _without_chunks(items))

    # --- Group commit ----------------------------------------------------------------------------

    def _write(self, statements: list[Statement]) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self._waiting += statements
        self._waiters.append(done)
        if not self._committing:
            self._commit_waiting()
        return done

    def _commit_waiting(self) -> None:
        statements, self._waiting = self._waiting, []
        waiters, self._waiters = self._waiters, []
        self._committing = bool(waiters)
        if not waiters:
            return

        def committed(result: Any) -> None:
            # The next batch starts first: what a waiter adds then belongs to the one after.
            self._commit_waiting()
            for waiter in waiters:
                waiter.callback(result) if result is None else waiter.errback(result)

        self._worker.run(self._commit, statements).addBoth(committed)

    def _commit(self, statements: list[Statement]) -> None:
        if not statements:
            # Somebody only waited for those before.
            return
        execute = self._connection.execute
        try:
            execute("BEGIN IMMEDIATE")
            for sql, values in statements:
                execute(sql, values)
            execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise _failure(error) from error

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            # The connection is closed, or so broken that the next commit will say it again.
            return

    def close(self) -> Deferred[None]:
        """After everything that was written before."""
        return self._write([]).addBoth(lambda _: self._worker.run(self._connection.close))


def _failure(error: sqlite3.Error) -> NapError:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return NoSpace("no space left for the queue's journal", "Free some, then: napctl queue retry")
    return DiskFailed(f"the queue's journal cannot be written: {error}")


def database_path(state: Path) -> Path:
    return state / "queue.sqlite"


def _setting(name: str, value: str) -> Statement:
    return "INSERT OR REPLACE INTO setting (name, value) VALUES (?,?)", (name, value)


def _seal(item: Item, identity: FileIdentity) -> Statement:
    sql = "UPDATE download SET name=?, size=?, sealed_device=?, sealed_inode=? WHERE id=?"
    return sql, (item.name, item.size, identity.device, identity.inode, item.id)


def _without_chunks(items: Iterable[Item]) -> list[Statement]:
    statements: list[Statement] = []
    for item in items:
        statements.append(("DELETE FROM manifest_group WHERE download=?", (item.id,)))
        statements.append(("DELETE FROM flushed_group WHERE download=?", (item.id,)))
        statements.append(
            ("UPDATE download SET group_digests=NULL, sealed_device=NULL, sealed_inode=NULL WHERE id=?", (item.id,))
        )
    return statements


def _row(item: Item) -> tuple[Any, ...]:
    return (
        item.id,
        item.content,
        item.transfer,
        item.name,
        item.size,
        os.fsencode(item.directory),
        item.priority.value,
        item.place,
        item.state.value,
        None if item.path is None else os.fsencode(item.path),
        None if item.error is None else item.error.code,
        None if item.error is None else item.error.message,
        item.added,
        item.finished,
        item.bytes_done,
        item.bytes_received,
        item.sequential,
    )


def _item(row: Sequence[Any]) -> Item:
    (number, content, transfer, name, size, directory, priority, place, state, path, code, message) = row[:12]
    added, finished, bytes_done, bytes_received, sequential, sealed, bare = row[12:]
    return Item(
        id=number,
        content=ContentId(content),
        transfer=transfer,
        name=name,
        size=size,
        directory=os.fsdecode(directory),
        priority=Priority(priority),
        place=place,
        added=added,
        state=DownloadState(state),
        path=None if path is None else os.fsdecode(path),
        error=None if code is None else Problem(code, message),
        finished=finished,
        bytes_done=bytes_done,
        bytes_received=bytes_received,
        sequential=bool(sequential),
        sealed=bool(sealed),
        bare=bool(bare),
    )
