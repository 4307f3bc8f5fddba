"""Where results and diagnoses go: data to standard output, progress and errors to standard error."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from typing import TextIO

import msgspec

from napd.errors import NapError
from napd.wire.documents import ErrorBody, ErrorDocument

from .text import visible


class ReaderGone(Exception):
    """Nobody reads standard output any more: whoever did has had enough. Ends a stream."""


class Output:
    """The two streams of one run.

    When the reader of standard output hangs up (`napctl … | head`), `closed` becomes true and what is written later
    is dropped: the command's own exit status still counts. With `streaming` set, writing then raises `ReaderGone`.
    """

    def __init__(self, stdout: TextIO, stderr: TextIO) -> None:
        self.stdout = stdout
        self.stderr = stderr
        self.closed = False
        self.streaming = False
        for stream in (stdout, stderr):
            # Names may hold what the terminal's encoding does not.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")

    @property
    def reader(self) -> int | None:
        """Standard output's file descriptor, to be watched for its reader's going away."""
        try:
            return self.stdout.fileno()
        except (OSError, ValueError):
            return None

    def document(self, document: bytes) -> None:
        """One JSON document on a line of its own, in UTF-8 whatever the locale says; shown at once."""
        if self.closed:
            return
        try:
            self.stdout.flush()
            self.stdout.buffer.write(document + b"\n")
            self.stdout.buffer.flush()
        except OSError as error:
            self._failed(error)

    def raw(self, data: bytes) -> None:
        """Bytes as they are; on their way at once."""
        if self.closed:
            return
        try:
            self.stdout.buffer.write(data)
            self.stdout.buffer.flush()
        except OSError as error:
            self._failed(error)

    def lines(self, lines: Iterable[str]) -> None:
        """Lines that are `visible` already; shown at once."""
        if self.closed:
            return
        try:
            for line in lines:
                self.stdout.write(line + "\n")
            self.stdout.flush()
        except OSError as error:
            self._failed(error)

    def text(self, text: str) -> None:
        """A script or a help text, as it is."""
        self.lines(text.rstrip("\n").split("\n"))

    def say(self, line: str) -> None:
        """A line on standard error."""
        try:
            self.stderr.write(line + "\n")
            self.stderr.flush()
        except OSError:
            pass

    def error(self, error: NapError, *, json: bool) -> None:
        """The error, on standard output as a document, or as `napctl: subject: cause. Next step.`"""
        if json:
            self.document(error_document(error))
        else:
            self.say(error_line(error))

    def abandon(self) -> None:
        """Drop what standard output has not taken, and all that is still to come."""
        self.closed = True
        _let_go(self.stdout)

    def _failed(self, error: OSError) -> None:
        self.abandon()
        if error.errno == errno.EPIPE:
            if self.streaming:
                raise ReaderGone from error
        else:
            raise NapError(
                f"standard output: {os.strerror(error.errno or 0)}", "What was asked has happened"
            ) from error


def error_document(error: NapError) -> bytes:
    body = ErrorBody(
        code=error.code,
        message=_encodable(error.message),
        hint=None if error.hint is None else _encodable(error.hint),
    )
    return msgspec.json.encode(ErrorDocument(body))


def error_line(error: NapError) -> str:
    return f"napctl: {visible(_sentence(error.message, error.hint))}"


def _sentence(message: str, hint: str | None) -> str:
    parts = [part.strip().rstrip(".") for part in (message, _capital(hint)) if part and part.strip()]
    return ". ".join(parts) + "."


def _capital(hint: str | None) -> str | None:
    """The hint as a sentence of its own, unless it begins with something to be typed."""
    word = hint.split(" ", 1)[0] if hint else ""
    if hint and word.isascii() and word.isalpha() and word not in ("napctl", "twistd"):
        return hint[0].upper() + hint[1:]
    return hint


def _encodable(text: str) -> str:
    """JSON is UTF-8: what stands for bytes that were not becomes U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _let_go(stream: TextIO) -> None:
    """Point the stream's descriptor at nothing, so that the interpreter's last flush cannot fail."""
    try:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)
    except (OSError, ValueError):
        pass
