"""Lines and raw bytes, told apart in what a stream delivers, however it is cut. Pure.

A line ends with LF and has at most `MAX_LINE_BYTES`. Whoever hears a line may say that raw bytes follow; those are put
into a buffer of the hearer's if it has one, and handed on as they come otherwise.
"""

from __future__ import annotations

from collections.abc import Callable

from ..wire.line import MAX_LINE_BYTES


class TooLong(Exception):
    """A line of more than `MAX_LINE_BYTES`."""


class Splitter:
    """Feed it with `feed`; or ask for `space` and fill that, which saves raw bytes a copy.

    :param line: hears each line, without its LF.
    :param raw: hears raw bytes; of those that were put into a buffer, a view.
    """

    def __init__(self, line: Callable[[bytes], None], raw: Callable[[bytes | memoryview], None]) -> None:
        self._line = line
        self._raw = raw
        self._begun = bytearray()
        self._raw_left = 0
        self._into: memoryview | None = None
        self._stopped = False

    def expect_raw(self, size: int, into: memoryview | None = None) -> None:
        """The next `size` bytes are raw: called from within `line`. `into` has room for at least as many."""
        self._raw_left = size
        self._into = into[:size] if into is not None and size else None

    def stop(self) -> None:
        """Tell nothing more, not even the rest of what is being fed."""
        self._stopped = True
        self._begun.clear()
        self._into = None

    def space(self) -> memoryview | None:
        """Where the next bytes of the stream belong; None: feed them."""
        return self._into

    def filled(self, size: int) -> None:
        """So many bytes were put into `space`, from its beginning."""
        into = self._into
        if into is None or size > len(into):
            raise ValueError(f"{size} bytes were not asked for")
        self._raw_left -= size
        self._into = into[size:] if self._raw_left else None
        self._raw(into[:size])

    def feed(self, data: bytes) -> None:
        """
        :raises TooLong: a line is; nothing more is told then.
        """
        at = self._finish_line(data) if self._begun else 0
        while at < len(data) and not self._stopped:
            if self._raw_left:
                at = self._feed_raw(data, at)
                continue
            end = data.find(b"\n", at)
            if end < 0:
                self._begin_line(data[at:])
                return
            self._tell_line(data[at:end])
            at = end + 1

    def _feed_raw(self, data: bytes, at: int) -> int:
        """Where what follows begins."""
        end = min(len(data), at + self._raw_left)
        if self._into is not None:
            self._into[: end - at] = memoryview(data)[at:end]
            self.filled(end - at)
        else:
            self._raw_left -= end - at
            self._raw(data if end - at == len(data) else data[at:end])
        return end

    def _finish_line(self, data: bytes) -> int:
        end = data.find(b"\n")
        if end < 0:
            self._begin_line(data)
            return len(data)
        line = bytes(self._begun) + data[:end]
        self._begun.clear()
        self._tell_line(line)
        return end + 1

    def _begin_line(self, data: bytes) -> None:
        self._begun += data
        if len(self._begun) > MAX_LINE_BYTES:
            self.stop()
            raise TooLong

    def _tell_line(self, line: bytes) -> None:
        if len(line) > MAX_LINE_BYTES:
            self.stop()
            raise TooLong
        self._line(line)
