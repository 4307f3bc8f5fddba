"""The chunks of one run, read from a file while those before them are sent.

What is in memory anyway is read at once, on the reactor's thread: handing a chunk over to another and back costs as
much as reading it. Other chunks come from a disk thread, more of them at a time the longer the run is sent for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import takewhile
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail

from ...content.digest import CHUNK_BYTES, chunk_bytes
from ...errors import NoSuchThing
from ...net.buffers import Buffers
from ..files.disk import Disk

#: From this size on a chunk is read into a buffer that is kept; of smaller ones many may be under way.
BUFFERED_BYTES = 256 * 1024
#: Chunks that are read at once by a disk thread: they wait in memory until they are sent, as many again are read then.
MOST_AT_ONCE = 4


class RunReader:
    """:param at_once: the bytes of a chunk, if no disk has to be waited for.
    :param read: the bytes of these chunks, from a disk thread; may give fewer, not none.
    :param chunks: the run's.
    """

    def __init__(
        self,
        at_once: Callable[[int], memoryview | None],
        read: Callable[[range], Deferred[list[memoryview]]],
        chunks: range,
    ) -> None:
        self._at_once = at_once
        self._read = read
        self._left = chunks
        self._here: deque[memoryview] = deque()
        self._coming: Deferred[list[memoryview]] | None = None
        self._batch = 1

    async def next(self) -> memoryview:
        """The bytes of the next chunk.

        :raises NoSuchThing: it is not here. :raises NapError: it cannot be read.
        """
        if not self._here:
            if self._coming is None and self._left:
                data = self._at_once(self._left[0])
                if data is not None:
                    self._left = self._left[1:]
                    return data
                self._begin()
            await self._arrive()
            self._begin()
        return self._here.popleft()

    def _begin(self) -> None:
        if self._left and self._coming is None:
            self._coming = self._read(self._left[: self._batch])
            self._batch = min(2 * self._batch, MOST_AT_ONCE)

    async def _arrive(self) -> None:
        coming, self._coming = self._coming, None
        if coming is None:
            raise IndexError("the run has no more chunks")
        data = await coming
        self._here.extend(data)
        self._left = self._left[len(data) :]

    def stop(self) -> None:
        """What is read ahead is not wanted; nobody needs to hear how that ends."""
        if self._coming is not None:
            self._coming.addErrback(lambda _: None)


class Readable(Protocol):
    """A content that is being sent. `source`: its file's descriptor, or all of it, in memory."""

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def source(self) -> memoryview | int: ...
    @property
    def has(self) -> Callable[[int], bool]:
        """Whether a chunk is here."""


class RunReaders:
    """All uploads' readers; they share what they read into. :param run: runs a function on a disk thread."""

    def __init__(self, disk: Disk, run: Callable[..., Deferred[Any]]) -> None:
        self._disk = disk
        self._run = run
        self._buffers = Buffers(CHUNK_BYTES)

    def of(self, file: Readable, chunks: range) -> RunReader:
        return RunReader(partial(self._read_cached, file), partial(self._read, file), chunks)

    def _read_cached(self, file: Readable, chunk: int) -> memoryview | None:
        if isinstance(file.source, memoryview):
            return file.source
        if not file.has(chunk):
            raise NoSuchThing(f"{file.name} has no chunk {chunk} yet")
        buffer = self._buffer(file, chunk)
        return buffer if self._disk.read_cached(file.source, buffer, chunk * CHUNK_BYTES) else None

    def _read(self, file: Readable, chunks: range) -> Deferred[list[memoryview]]:
        there = list(takewhile(file.has, chunks))
        if not there:
            return fail(NoSuchThing(f"{file.name} has no chunk {chunks[0]} yet"))
        return self._run(self._read_chunks, file.source, there, [self._buffer(file, chunk) for chunk in there])

    def _buffer(self, file: Readable, chunk: int) -> memoryview:
        size = chunk_bytes(file.size, chunk)
        return self._buffers.take()[:size] if size >= BUFFERED_BYTES else memoryview(bytearray(size))

    def _read_chunks(self, descriptor: int, chunks: Sequence[int], buffers: Sequence[memoryview]) -> list[memoryview]:
        """On a disk thread."""
        return [
            buffer[: self._disk.read_into(descriptor, buffer, chunk * CHUNK_BYTES)]
            for chunk, buffer in zip(chunks, buffers, strict=True)
        ]
