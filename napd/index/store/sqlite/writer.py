"""The process that writes the database: ``python -m napd.index.store.sqlite.writer FILE KEPT CUT_EVERY``.

Requests come from the socket that is its stdin, and answers go there (see `requests`). It ends when there is nobody at
the other end, after all that it was asked for: neither a signal to every process of the terminal or the service nor the
sudden end of the daemon takes anything away. What it imports stays in memory while it runs: no reactor, no arrays.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from ....errors import NapError
from ....ops.database import connect
from .committing import Committing
from .requests import (
    FAULT,
    LENGTH,
    MAX_REQUEST,
    Answer,
    Apply,
    Request,
    decode_request,
    encode,
    framed,
)
from .tables import Log, Tables

#: Entries in one transaction: some 0.3 s, which is how long the first of them waits for the last. A request without
#: entries counts as some.
MOST_ENTRIES = 10_000
PLAIN = 20
#: Seconds without a request until the write-ahead log is played into the database.
IDLE_S = 2.0
#: Bytes read at once.
READ_BYTES = 1 << 20
#: KiB of the database that are kept in memory. New items and contents are at the end of their tables; it is the tree of
#: digests that is touched all over, and the pages of that are near enough in the system's cache.
CACHE_KIB = 16 * 1024

_NIL = msgspec.Raw(encode(None))


class Inbox:
    """Requests from a socket, as they come.

    :param descriptor: blocking; read by nobody else.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = bytearray()
        self._at = 0
        self._has_ended = False

    @property
    def is_over(self) -> bool:
        """Whether nothing comes any more."""
        return self._has_ended and self._end_of_next() is None

    def wait(self, timeout_s: float | None) -> None:
        """Until there is something to take, or to read, or the end."""
        if self._end_of_next() is None:
            self._is_readable(timeout_s)

    def take(self) -> list[Request]:
        """Everything that is there and whole, as far as one transaction goes; nothing only if there is no more now."""
        taken: list[Request] = []
        room = MOST_ENTRIES
        while room > 0:
            end = self._end_of_next()
            if end is not None:
                request = self._next(end)
                taken.append(request)
                room -= PLAIN + (len(request.add) + len(request.withdraw) if isinstance(request, Apply) else 0)
            elif self._has_ended or not self._is_readable(0):
                break
            else:
                self._read()
        return taken

    def _end_of_next(self) -> int | None:
        """Where the next request ends in the buffer, if it is whole."""
        begin = self._at + LENGTH.size
        if len(self._buffer) < begin:
            return None
        (length,) = LENGTH.unpack_from(self._buffer, self._at)
        if length > MAX_REQUEST:
            raise SystemExit(f"a request of {length} bytes")
        return begin + length if len(self._buffer) >= begin + length else None

    def _next(self, end: int) -> Request:
        begin, self._at = self._at + LENGTH.size, end
        try:
            return decode_request(memoryview(self._buffer)[begin:end])
        except msgspec.DecodeError as error:
            # Nothing that follows can be trusted. What came before is done.
            raise SystemExit(f"a request that is none: {error}") from error

    def _is_readable(self, timeout_s: float | None) -> bool:
        return bool(select.select([self._descriptor], [], [], timeout_s)[0])

    def _read(self) -> None:
        del self._buffer[: self._at]
        self._at = 0
        data = b""
        # A daemon that is killed with answers unread resets the connection. What it said before is still to be done.
        with suppress(ConnectionResetError):
            data = os.read(self._descriptor, READ_BYTES)
        self._buffer += data
        self._has_ended = not data


def answers_of(outcomes: Sequence[Any]) -> Iterator[Answer]:
    for outcome in outcomes:
        if isinstance(outcome, NapError):
            yield Answer(_NIL, (outcome.code, outcome.message))
        elif isinstance(outcome, Exception):
            yield Answer(_NIL, (FAULT, str(outcome)))
        else:
            yield Answer(msgspec.Raw(encode(outcome)))


def serve(link: socket.socket, committing: Committing) -> None:
    """Until there are no more requests."""
    inbox = Inbox(link.fileno())
    while not inbox.is_over:
        inbox.wait(IDLE_S if committing.has_log else None)
        requests = inbox.take()
        if requests:
            _tell(link, framed(list(answers_of(committing.commit(requests)))))
        committing.checkpoint(idle=not requests)
    committing.checkpoint(idle=True)


def _tell(link: socket.socket, answers: bytes) -> None:
    # If nobody is there to hear it, what they have asked for is done all the same.
    with suppress(BrokenPipeError, ConnectionResetError):
        link.sendall(answers)


def main(path: str, kept: str, cut_every: str) -> None:
    # They were blocked when this process was made, so that none of them could end it before it came here.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    connection = connect(Path(path))
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB:d}")
    tables = Tables(connection, Log(int(kept), int(cut_every)))
    with socket.socket(fileno=0) as link:
        serve(link, Committing(connection, Path(path), tables))
        # Whoever waits for the end of this process finds the database closed.
        connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
