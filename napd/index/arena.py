"""Bytes that grow at their end: the first of them in a file, once there is one that has them, the rest in memory."""

from __future__ import annotations

import os
import weakref
from pathlib import Path

#: Bytes read by one call to the system, at most.
_AT_ONCE = 1 << 20


class OpenFile:
    """A file that is read from anywhere, until nobody uses it any more.

    :raises OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self.number)


class Stretch:
    """A part of a file that nobody writes any more, read where it is looked at: the kernel keeps what is used."""

    __slots__ = ("_file", "_length", "_offset")

    def __init__(self, file: OpenFile, offset: int, length: int) -> None:
        self._file = file
        self._offset = offset
        self._length = length

    def read(self, at: int, length: int) -> bytes:
        """:raises OSError: the disk fails, or the file is shorter than it was."""
        data = os.pread(self._file.number, length, self._offset + at)
        if len(data) != length:
            raise OSError("the file of a stretch of bytes was cut off")
        return data

    def read_all(self) -> bytearray:
        """:raises OSError: as by `read`."""
        data = bytearray(self._length)
        for at in range(0, self._length, _AT_ONCE):
            data[at : at + _AT_ONCE] = self.read(at, min(_AT_ONCE, self._length - at))
        return data

    def __len__(self) -> int:
        return self._length


class Arena:
    """:ivar fixed: bytes that cannot be changed: they are in a file, or are being written to one."""

    def __init__(self) -> None:
        self._base: Stretch | None = None
        #: What is from this place on is in memory.
        self._from = 0
        self._rest = bytearray()
        self.fixed = 0

    @classmethod
    def of(cls, base: Stretch | bytearray) -> Arena:
        """With these bytes, where they are."""
        arena = cls()
        if isinstance(base, bytearray):
            arena._rest = base
        else:
            arena._base = base
            arena._from = arena.fixed = len(base)
        return arena

    def read(self, at: int, length: int) -> bytes:
        start = at - self._from
        if start >= 0:
            return bytes(self._rest[start : start + length])
        if self._base is None:
            raise IndexError(at)
        if start + length <= 0:
            return self._base.read(at, length)
        return self._base.read(at, -start) + self._rest[: start + length]

    def write(self, at: int, data: bytes) -> None:
        """Over what is there, and on behind it; zeros are put in between.

        :param at: not among the fixed ones.
        """
        if at < self.fixed:
            raise IndexError(at)
        start = at - self._from
        if start > len(self._rest):
            self._rest += bytes(start - len(self._rest))
        self._rest[start : start + len(data)] = data

    def append(self, data: bytes) -> int:
        """Where it is."""
        at = self._from + len(self._rest)
        self._rest += data
        return at

    def fix(self) -> None:
        """All that is there is written to a file now."""
        self.fixed = len(self)

    def rest_on(self, base: Stretch) -> None:
        """The file is written, and has all that was fixed."""
        del self._rest[: len(base) - self._from]
        self._base, self._from = base, len(base)

    def __len__(self) -> int:
        return self._from + len(self._rest)
