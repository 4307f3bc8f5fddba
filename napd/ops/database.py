"""SQLite files that outlive versions: made whole or not at all, upgraded step by step, with a backup before.

The schema's version is `PRAGMA user_version`: the number of scripts that have been run.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError, NoSpace

if TYPE_CHECKING:
    from .events import Events

#: What the scripts of a schema may call besides SQLite's own functions, each with one value.
Functions = Mapping[str, Callable[[Any], Any]]

PAGE_BYTES = 4096
#: Milliseconds that a second connection to a file (a backup tool, say) may hold us up.
BUSY_MS = 10_000


def open_database(
    path: Path,
    schema: Sequence[str],
    *,
    synchronous: str = "FULL",
    events: Events | None = None,
    functions: Functions | None = None,
    page_bytes: int = PAGE_BYTES,
) -> sqlite3.Connection:
    """A connection in autocommit mode (``BEGIN`` is the caller's), WAL, foreign keys on, for one thread at a time.

    :param schema: one SQL script per version; ``schema[0]`` makes version 1 from nothing.
    :param functions: that the scripts call.
    :param page_bytes: of a database that is made or upgraded here.
    :param synchronous: FULL keeps what was committed over a power cut; NORMAL may lose the last commits, not the file.
    :raises ConfigurationError: a newer schema, no database, or damaged; the file is left as it is.
    """
    try:
        if not path.exists():
            _make(path, schema, functions or {}, page_bytes)
        connection = connect(path)
        try:
            _upgrade(connection, path, schema, functions or {}, page_bytes, events)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA synchronous={synchronous}")
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, OSError) as error:
        raise _refusal(path, error) from error
    return connection


def connect(path: Path) -> sqlite3.Connection:
    """A connection as `open_database` makes it, to a database that it has opened before."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA busy_timeout={BUSY_MS:d}")
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def refuse_newer(path: Path, supported: int) -> None:
    """A look before the daemon starts, so that it can refuse in good order; changes nothing.

    :raises ConfigurationError: if the file's schema is newer than `supported`.
    """
    if not path.exists():
        return
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            version = _version(connection)
        finally:
            connection.close()
    except (sqlite3.Error, OSError):
        # Whatever it is, opening it in earnest will tell.
        return
    _check_version(path, version, supported)


def _make(path: Path, schema: Sequence[str], functions: Functions, page_bytes: int) -> None:
    """Under a temporary name: a crash leaves no database or a whole one."""
    temporary = path.with_name(path.name + ".new")
    # A write-ahead log that lost its database would be played into the new one.
    for left_over in (temporary, *_side_files(temporary), *_side_files(path)):
        left_over.unlink(missing_ok=True)
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = connect(temporary)
    try:
        connection.execute(f"PRAGMA page_size={page_bytes:d}")
        _know(connection, functions)
        # Not in WAL mode yet: closing would merge the log into the file, and keep quiet if that fails.
        for version, script in enumerate(schema, 1):
            _step(connection, script, version)
    finally:
        connection.close()
    _sync(temporary)
    os.rename(temporary, path)
    _sync(path.parent)


def _upgrade(
    connection: sqlite3.Connection,
    path: Path,
    schema: Sequence[str],
    functions: Functions,
    page_bytes: int,
    events: Events | None,
) -> None:
    version = _version(connection)
    _check_version(path, version, len(schema))
    if version == len(schema):
        return
    if version == 0:
        raise ConfigurationError(f"{path} is not a database of this program", "Move it out of the way")
    _back_up(connection, path.with_name(f"{path.name}.v{version}.bak"))
    _know(connection, functions)
    for step in range(version + 1, len(schema) + 1):
        _step(connection, schema[step - 1], step)
    # Whether there is room for it or not: what a step has left empty is used again.
    with suppress(sqlite3.OperationalError):
        # The size of pages can change only without a write-ahead log.
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute(f"PRAGMA page_size={page_bytes:d}")
        connection.execute("VACUUM")
    if events is not None:
        said = f"{path.name} was brought from schema {version} to {len(schema)}; a backup was kept."
        events.emit("state.migrated", said, from_version=version, to_version=len(schema))


def _step(connection: sqlite3.Connection, script: str, version: int) -> None:
    """One version's script and the new version number, in one transaction."""
    try:
        connection.executescript(f"BEGIN IMMEDIATE;\n{script}\n;PRAGMA user_version={version:d};\nCOMMIT;")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _know(connection: sqlite3.Connection, functions: Functions) -> None:
    for name, function in functions.items():
        connection.create_function(name, 1, function, deterministic=True)


def _back_up(connection: sqlite3.Connection, path: Path) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    copy = sqlite3.connect(temporary)
    try:
        connection.backup(copy)
    finally:
        copy.close()
    _sync(temporary)
    os.replace(temporary, path)
    _sync(path.parent)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _check_version(path: Path, version: int, supported: int) -> None:
    if version > supported:
        raise ConfigurationError(
            f"{path} has schema {version}, this version of the program knows up to {supported}",
            "Run the newer version, or use another --state",
        )


def _side_files(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", "-journal")]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refusal(path: Path, error: sqlite3.Error | OSError) -> ConfigurationError | NoSpace:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return NoSpace(f"{path} cannot be written: the disk is full")
    if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return ConfigurationError(f"{path} is damaged or no database: {error}", "Restore it or move it out of the way")
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return ConfigurationError(f"{path} cannot be used: {reason}")
