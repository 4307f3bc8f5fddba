"""The log: one line per event, JSON for machines or text for people, written at once or at the end of the turn.

Lines of one turn of the reactor are written together, in order: thousands of events a second would otherwise be as many
system calls. A fault is written at once, with all that was said before it.

`LogWriter` takes the daemon's own events (`Events.listen(writer.write)`) and, as Twisted's log observer, everything the
framework says (`log.twisted`). Lines may be written from any thread.
"""

from __future__ import annotations

import os
import select
import stat
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, formatEvent
from twisted.python.failure import Failure
from twisted.python.threadable import isInIOThread
from zope.interface import implementer

from ..errors import ConfigurationError, printable
from .events import Event, Events, rfc3339, traceback_of

#: Seconds to wait for a reader of a full pipe before the line is dropped: the daemon must go on.
PATIENCE_S = 1.0
#: Lines that are gathered at most before they are written.
MAX_GATHERED = 500
#: Characters of a framework message that are kept.
MAX_MESSAGE = 2_000
#: New log files: the owner's, readable for the group. State is 0700, but log files may be put elsewhere.
FILE_MODE = 0o640

_LEVELS = {
    LogLevel.debug: "debug",
    LogLevel.info: "info",
    LogLevel.warn: "warn",
    LogLevel.error: "error",
    LogLevel.critical: "error",
}
_framework = Logger("napd")
_encode = msgspec.json.Encoder().encode


#: Has something called in the reactor's next turn; False if it does not run, yet or any more.
Later = Callable[[Callable[[], None]], bool]


class Sink(Protocol):
    """Where finished lines go."""

    def write(self, line: bytes) -> None:
        """All of it (one line or several) or nothing, at once; never raises."""

    def reopen(self) -> None:
        """Go on in a new file of the same name if the old one was moved away."""


class StreamSink:
    """A file descriptor that is already open: stdout."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._broken_line = False

    def write(self, line: bytes) -> None:
        # After a line that was cut off by a reader's slowness, begin with a new one.
        left = b"\n" + line if self._broken_line else line
        whole = len(left)
        try:
            left = _write_all(self._descriptor, left)
        except OSError:
            # The reader is gone or the disk is full: there is nobody left to tell.
            return
        self._broken_line = 0 < len(left) < whole

    def reopen(self) -> None:
        pass


class FileSink:
    """A log file that may be rotated in either of logrotate's ways.

    Moved away, that is noticed and a new one begun; truncated (copytruncate), it is appended to.

    :raises ConfigurationError: if it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._descriptor = self._open()
        except OSError as error:
            raise ConfigurationError(f"log file {path} cannot be written: {error.strerror}") from error
        self._stream = StreamSink(self._descriptor)

    def write(self, line: bytes) -> None:
        if not self._in_place():
            self.reopen()
        self._stream.write(line)

    def reopen(self) -> None:
        try:
            fresh = self._open()
        except OSError:
            # Better a log in the file that was moved away than none.
            return
        os.close(self._descriptor)
        self._descriptor = fresh
        self._stream = StreamSink(fresh)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)

    def _in_place(self) -> bool:
        """Whether the path still leads to what is open (a microsecond or two)."""
        try:
            there = os.stat(self._path)
        except OSError:
            return False
        here = os.fstat(self._descriptor)
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino) or not stat.S_ISREG(there.st_mode)


@implementer(ILogObserver)
class LogWriter:
    """Writes events as lines.

    :param form: ``json`` or ``text``.
    """

    def __init__(self, form: str, sink: Sink) -> None:
        self._line: Callable[[Event], bytes] = json_line if form == "json" else text_line
        self._sink = sink
        self._lock = threading.RLock()
        self._events: Events | None = None
        self._reporting = False
        self._later: Later | None = None
        self._gathered: list[bytes] = []

    def attach(self, events: Events, later: Later | None = None) -> Callable[[], None]:
        """Write these events too, and tell them of the faults that Twisted catches; the returned function ends that.

        :param later: without it every line is written at once. Call `flush` when it will not call any more.
        """
        self._events = events
        self._later = later
        stop_hearing = events.listen(self.write)

        def detach() -> None:
            stop_hearing()
            self._events = self._later = None
            self.flush()

        return detach

    def write(self, event: Event) -> None:
        line = self._line(event)
        with self._lock:
            self._gathered.append(line)
            if event.level == "error" or not self._is_gathering():
                self._write_gathered()

    def _is_gathering(self) -> bool:
        if self._later is None or len(self._gathered) >= MAX_GATHERED:
            return False
        return len(self._gathered) > 1 or (isInIOThread() and self._later(self.flush))

    def flush(self) -> None:
        """What was said so far is written when this returns."""
        with self._lock:
            self._write_gathered()

    def _write_gathered(self) -> None:
        lines, self._gathered = self._gathered, []
        if lines:
            self._sink.write(b"".join(lines))

    def reopen(self) -> None:
        with self._lock:
            self._write_gathered()
            self._sink.reopen()

    def __call__(self, event: LogEvent) -> None:
        """Twisted's own messages. A failure that nobody handled is a fault of ours."""
        failure: Failure | None = event.get("log_failure")
        if failure is not None and self._events is not None and isInIOThread() and not self._reporting:
            # What an observer raises would be logged, and so come here again.
            self._reporting = True
            try:
                self._events.fault(_what(event), failure)
            finally:
                self._reporting = False
            return
        self.write(_from_twisted(event, failure))


def to_framework(event: Event) -> None:
    """Say it through Twisted's log, for those who chose one of its loggers (`--logger`, `--syslog`)."""
    _framework.emit(
        LogLevel.lookupByName(event.level),
        "{event} {said}{fields}",
        event=event.event,
        said=event.message,
        fields=_fields(event),
    )


def json_line(event: Event) -> bytes:
    line = {"time": rfc3339(event.time), "level": event.level, "event": event.event, "message": event.message}
    return _encode(line | event.fields) + b"\n"


def text_line(event: Event) -> bytes:
    """``2026-01-02 03:04:05.678 info  share.added  A directory is offered. share=music``, local time."""
    when = datetime.fromtimestamp(event.time).isoformat(" ", "milliseconds")
    line = f"{when} {event.level:5} {event.event:22} {event.message}{_fields(event)}\n"
    if traceback := event.fields.get("traceback"):
        line += "".join(f"    {row}\n" for row in str(traceback).rstrip("\n").split("\n"))
    return line.encode("utf-8", "backslashreplace")


def _fields(event: Event) -> str:
    return "".join(f" {key}={_shown(value)}" for key, value in event.fields.items() if key != "traceback")


def _shown(value: Any) -> str:
    if isinstance(value, str) and value.isprintable() and value and not any(c in ' "=' for c in value):
        return value
    return _encode(value).decode("utf-8")


def _what(event: LogEvent) -> str:
    said = printable((formatEvent(event) or "").split("\n")[0], 200)
    return said or str(event.get("log_namespace", "twisted"))


def _from_twisted(event: LogEvent, failure: Failure | None) -> Event:
    fields: dict[str, Any] = {"namespace": str(event.get("log_namespace", ""))}
    said = formatEvent(event) or ""
    if failure is not None:
        fields["error"] = printable(failure.getErrorMessage(), 500)
        fields["traceback"] = traceback_of(failure)
    level = event.get("log_level", LogLevel.info)
    return Event(
        id=0,
        time=float(event.get("log_time", time.time())),
        level=_LEVELS.get(level, "info"),
        event="log.twisted",
        message=printable(said.strip(), MAX_MESSAGE),
        fields=fields,
    )


def _write_all(descriptor: int, data: bytes) -> bytes:
    """What could not be written, because a non-blocking descriptor stayed full for `PATIENCE_S`."""
    left = data
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            if not poll.poll(PATIENCE_S * 1000):
                return left
    return left
