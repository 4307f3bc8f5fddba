"""Group commit: requests that wait together are committed together; and the write-ahead log is kept short."""

from __future__ import annotations

import os
import sqlite3
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ....errors import NapError
from ....ops.database import BUSY_MS
from ..interface import StoreFailed
from .requests import Request, WriterFault
from .tables import Tables

#: What a broken or full disk raises.
TROUBLES = (sqlite3.Error, OSError)
#: Bytes of the write-ahead log from which on it is played into the database though requests wait. The pages that are
#: touched most often are then written once for many transactions.
LONG_LOG = 256 << 20


class Committing:
    """:param connection: to the database at `path`; nobody else uses it."""

    def __init__(self, connection: sqlite3.Connection, path: Path, tables: Tables, long_log: int = LONG_LOG) -> None:
        self._sql = connection
        self._log = path.with_name(path.name + "-wal")
        self._tables = tables
        self._long_log = long_log
        # Checkpoints are made when there is time for them.
        connection.execute("PRAGMA wal_autocheckpoint=0")

    def commit(self, requests: Sequence[Request]) -> list[Any]:
        """The answer to each, or the exception that it is to fail with, when those that did not are committed.

        One that is refused (`NapError`) has changed nothing. Any other error undoes all of them, and each is tried
        again alone, so that one that fails does not fail the others.
        """
        try:
            return self._transaction(requests)
        except Exception as error:
            if len(requests) == 1:
                return [_failure(error)]
        return [self.commit([request])[0] for request in requests]

    def checkpoint(self, *, idle: bool) -> None:
        """Play the log into the database if it is long or there is nothing else to do, and begin it anew if that goes
        without waiting for whoever reads."""
        size = self._log_bytes()
        if size == 0 or not (idle or size >= self._long_log):
            return
        try:
            ((_, frames, played),) = self._sql.execute("PRAGMA wal_checkpoint(PASSIVE)")
            if frames == played:
                self._sql.execute("PRAGMA busy_timeout=0")
                self._sql.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error:
            # A full disk, say. What is committed is in the log, and the next one may go.
            return
        finally:
            self._sql.execute(f"PRAGMA busy_timeout={BUSY_MS:d}")

    @property
    def has_log(self) -> bool:
        return self._log_bytes() > 0

    def _log_bytes(self) -> int:
        try:
            return os.stat(self._log).st_size
        except FileNotFoundError:
            return 0

    def _transaction(self, requests: Sequence[Request]) -> list[Any]:
        self._sql.execute("BEGIN IMMEDIATE")
        try:
            self._tables.begin()
            answers = self._tables.answer(requests)
            self._tables.before_commit()
            self._sql.execute("COMMIT")
        except BaseException:
            self._tables.undone()
            if self._sql.in_transaction:
                self._sql.execute("ROLLBACK")
            raise
        return answers


def _failure(error: Exception) -> Exception:
    if isinstance(error, TROUBLES):
        return StoreFailed(f"the database cannot be written: {error}")
    if isinstance(error, NapError):
        return StoreFailed(error.message)
    return WriterFault("".join(traceback.format_exception(error))[-8_000:])
