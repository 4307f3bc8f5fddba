"""Bytes that grow at their end: the first of them in a file, once there is one that has them, the rest in memory."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from pathlib import Path

#: Bytes read by one call to the system, at most.
_AT_ONCE = 1 << 20
#: Bytes in memory are in blocks of so many: letting go of one takes a third of a millisecond.
_BLOCK = 4 << 20


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
        #: What is from this place on is in memory, in blocks of which the first begins at `_start`.
        self._from = self._start = self._end = 0
        self._blocks = [bytearray()]
        self.fixed = 0

    @classmethod
    def of(cls, base: Stretch | bytearray) -> Arena:
        """With these bytes, where they are."""
        arena = cls()
        if isinstance(base, bytearray):
            for at in range(0, len(base), _BLOCK):
                arena.append(base[at : at + _BLOCK])
        else:
            arena._base = base
            arena._from = arena._start = arena._end = arena.fixed = len(base)
        return arena

    def read(self, at: int, length: int) -> bytes:
        if at >= self._from:
            number, start = divmod(at - self._start, _BLOCK)
            if 0 < length <= _BLOCK - start:
                return bytes(self._blocks[number][start : start + length])
            return b"".join(self._blocks[n][first:end] for n, first, end in self._spans(at, length))
        if self._base is None:
            raise IndexError(at)
        inside = min(length, self._from - at)
        data = self._base.read(at, inside)
        return data if inside == length else data + self.read(self._from, length - inside)

    def write(self, at: int, data: bytes) -> None:
        """Over what is there, and on behind it; zeros are put in between.

        :param at: not among the fixed ones.
        """
        if at < self.fixed:
            raise IndexError(at)
        missing = at + len(data) - self._end
        if missing > 0:
            self.append(bytes(missing))
        for number, first, end in self._spans(at, len(data)):
            self._blocks[number][first:end] = data[: end - first]
            data = data[end - first :]

    def append(self, data: bytes | bytearray) -> int:
        """Where it is."""
        place, block = self._end, self._blocks[-1]
        self._end += len(data)
        if len(block) + len(data) <= _BLOCK:
            block += data
            return place
        while data:
            if len(block) == _BLOCK:
                block = bytearray()
                self._blocks.append(block)
            room = _BLOCK - len(block)
            block += data[:room]
            data = data[room:]
        return place

    def fix(self) -> None:
        """All that is there is written to a file now."""
        self.fixed = len(self)

    def rest_on(self, base: Stretch) -> list[bytearray]:
        """The file is written, and has all that was fixed. What memory that frees: letting go of it takes time."""
        self._base, self._from = base, len(base)
        count = min((self._from - self._start) // _BLOCK, len(self._blocks) - 1)
        freed = self._blocks[:count]
        del self._blocks[:count]
        self._start += count * _BLOCK
        return freed

    def __len__(self) -> int:
        return self._end

    def _spans(self, at: int, length: int) -> Iterator[tuple[int, int, int]]:
        """Numbers of blocks, and where in each the bytes are from one place on."""
        number, first = divmod(at - self._start, _BLOCK)
        while length > 0:
            end = min(first + length, _BLOCK)
            yield number, first, end
            length -= end - first
            number, first = number + 1, 0
