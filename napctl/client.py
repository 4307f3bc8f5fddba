"""One connection to a daemon's control socket: blocking, nothing but the standard library, a deadline on each step."""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import msgspec
from msgspec import Struct

from napd.errors import Denied, Misuse, NapError, TimedOut, Unreachable
from napd.wire.control import INVALID_PARAMS, MAX_LINE_BYTES, METHOD_NOT_FOUND, request_line

from .output import ReaderGone
from .text import visible

#: sockaddr_un has room for this many bytes of path on Linux, its NUL not counted.
MAX_SOCKET_PATH = 107
#: Pause between two tries while the daemon's backlog of connections is full.
BACKLOG_PAUSE_S = 0.01
_READ_BYTES = 256 * 1024
_OTHER_SOCKET = "A peer and an index answer different commands: name the right one's socket with --socket"


class ErrorData(Struct, frozen=True):
    code: str | None = None
    hint: str | None = None


class RemoteError(Struct, frozen=True):
    code: int
    message: str
    data: ErrorData | None = None


class Incoming(Struct, frozen=True):
    """A reply (`id` with `result` or `error`) or a notification (`method` with `params`)."""

    id: int | None = None
    method: str | None = None
    params: msgspec.Raw = msgspec.Raw()
    result: msgspec.Raw = msgspec.Raw()
    error: RemoteError | None = None


_decoder = msgspec.json.Decoder(Incoming)


class Client:
    """A context manager; connected on entry.

    :param timeout_s: bounds connecting, sending, and the silence before each reply.
    :param reader: a file descriptor (standard output) whose reader's going away ends every wait with `ReaderGone`.
    """

    def __init__(
        self,
        path: str,
        timeout_s: float,
        *,
        reader: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._reader = reader
        self._clock = clock
        self._pause = pause
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._buffer = bytearray()
        self._next_id = 1

    def __enter__(self) -> Self:
        try:
            self._connect()
        except BaseException:
            self._socket.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    # --- asking ---------------------------------------------------------------------------------

    def call(self, method: str, params: Mapping[str, Any] | None = None) -> bytes:
        """Ask, and return the result as the daemon wrote it.

        :raises NapError: the daemon's own, or `Unreachable`, `TimedOut`.
        """
        return self.reply(self.send(method, params), self._timeout_s)

    def send(self, method: str, params: Mapping[str, Any] | None = None) -> int:
        """Send a request; its replies are fetched by `receive` or `reply`."""
        request_id = self._next_id
        self._next_id += 1
        try:
            line = request_line(request_id, method, dict(params or {}))
        except UnicodeEncodeError as error:
            raise Misuse(
                f"{visible(str(error.object))}: bytes that are not UTF-8 cannot go through the control protocol",
                "Name the directory above it, or rename it",
            ) from error
        self._socket.settimeout(self._timeout_s)
        try:
            self._socket.sendall(line)
        except TimeoutError as error:
            raise self._silent(self._timeout_s) from error
        except OSError as error:
            self._raise_last_words()
            raise self._gone() from error
        return request_id

    def reply(self, request_id: int, timeout_s: float | None) -> bytes:
        """The result of this request; whatever else arrives before it is dropped."""
        while True:
            incoming = self.receive(timeout_s)
            if incoming.method is None and incoming.id == request_id:
                return result_of(incoming)

    def receive(self, timeout_s: float | None) -> Incoming:
        """The next message.

        :param timeout_s: longest silence; None waits for ever.
        :raises Unreachable: if the daemon hangs up. :raises TimedOut: :raises ReaderGone:
        """
        line = self._line(timeout_s)
        try:
            incoming: Incoming = _decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as error:
            raise NapError(
                f"the daemon at {self._path} answered something that is not JSON-RPC",
                "Is this socket a nappeer's or napindex's?",
            ) from error
        if incoming.method is None and incoming.id is None:
            result_of(incoming)  # about the connection itself: the daemon is full, or will not have us
        return incoming

    def until_closed(self, timeout_s: float) -> bool:
        """Whether the daemon hung up within this time."""
        deadline = self._clock() + timeout_s
        try:
            while (left := deadline - self._clock()) > 0:
                self._line(left)
        except Unreachable:
            return True
        except TimedOut:
            pass
        return False

    # --- the socket -----------------------------------------------------------------------------

    def _connect(self) -> None:
        room = len(os.fsencode(self._path))
        if room > MAX_SOCKET_PATH:
            raise Unreachable(
                f"{self._path}: a socket's path has at most {MAX_SOCKET_PATH} bytes, this one {room}",
                "Give the daemon a shorter --socket or --state",
            )
        deadline = self._clock() + self._timeout_s
        while True:
            left = deadline - self._clock()
            self._socket.settimeout(max(left, 0.001))
            try:
                self._socket.connect(self._path)
                return
            except BlockingIOError as error:  # the backlog is full
                if left <= 0:
                    raise self._silent(self._timeout_s) from error
                self._pause(BACKLOG_PAUSE_S)
            except TimeoutError as error:
                raise self._silent(self._timeout_s) from error
            except (OSError, ValueError) as error:
                raise _refused(self._path, error) from error

    def _line(self, timeout_s: float | None) -> bytes:
        deadline = None if timeout_s is None else self._clock() + timeout_s
        looked = 0
        while True:
            end = self._buffer.find(b"\n", looked)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                return line
            looked = len(self._buffer)
            if looked > MAX_LINE_BYTES:
                raise NapError(f"the daemon at {self._path} sent a line of over {MAX_LINE_BYTES >> 20} MiB")
            self._await_bytes(None if deadline is None else deadline - self._clock(), timeout_s)
            try:
                data = self._socket.recv(_READ_BYTES)
            except OSError as error:
                raise self._gone() from error
            if not data:
                raise self._gone()
            self._buffer += data

    def _await_bytes(self, left_s: float | None, timeout_s: float | None) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if self._reader is not None:
            poll.register(self._reader, 0)  # only errors: the reader hung up
        ready = poll.poll(None if left_s is None else max(0.0, left_s * 1000))
        if any(fd == self._reader for fd, _ in ready):
            raise ReaderGone
        if not ready:
            raise self._silent(timeout_s)

    def _raise_last_words(self) -> None:
        """Raise what the daemon said before it hung up on us, if it said something."""
        try:
            self.receive(0)
        except (Unreachable, TimedOut):
            pass

    def _silent(self, timeout_s: float | None) -> TimedOut:
        return TimedOut(
            f"the daemon at {self._path} did not answer within {timeout_s:g} s",
            "What was asked may still happen. --timeout gives it longer",
        )

    def _gone(self) -> Unreachable:
        return Unreachable(
            f"the daemon at {self._path} hung up before it answered", "Its log says why: it stopped, or dropped us"
        )


def result_of(incoming: Incoming) -> bytes:
    """The result of a reply. :raises NapError: what the daemon answered instead."""
    error = incoming.error
    if error is None:
        return bytes(incoming.result)
    data = error.data or ErrorData()
    if error.code == METHOD_NOT_FOUND:
        raise NapError(error.message, _OTHER_SOCKET, data.code or "usage")
    raise NapError(error.message, data.hint, data.code or ("usage" if error.code == INVALID_PARAMS else "failed"))


def _refused(path: str, error: OSError | ValueError) -> NapError:
    cause = error.errno if isinstance(error, OSError) else None
    if cause in (errno.EACCES, errno.EPERM):
        return Denied(f"{path}: permission denied", "Only the daemon's own user and root may control it")
    if cause == errno.ENOENT:
        return Unreachable(f"{path}: no such socket", "Start the daemon, or name its socket with --socket")
    if cause == errno.ECONNREFUSED:
        if not _is_socket(path):
            return Unreachable(f"{path}: not a socket", "Name the daemon's control socket with --socket")
        return Unreachable(f"{path}: no daemon answers", "It has stopped: start it again")
    reason = os.strerror(cause) if cause is not None else str(error)
    return Unreachable(f"{path}: {reason}", "Name the daemon's control socket with --socket")


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False
