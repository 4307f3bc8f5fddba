"""The bytes of one answer, as they come over the link."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from ...content.digest import CHUNK_BYTES
from ...net.buffers import Buffers

#: Chunks from this size on are put into a buffer as they come; shorter ones are not worth a whole one.
BUFFERED_BYTES = 512 * 1024


def buffer_for(size: int, buffers: Buffers) -> memoryview | None:
    """Where a chunk of this size is put as it comes; None: its pieces are collected."""
    return buffers.take() if BUFFERED_BYTES <= size <= buffers.size else None


def held_bytes(size: int) -> int:
    """The memory that a chunk of this size takes up when it has come."""
    return size if size < BUFFERED_BYTES else max(size, CHUNK_BYTES)


@define(eq=False)
class Incoming:
    """Raw bytes that are on their way, in answer to `request`; `hand_on` is for them when they are whole.

    `into`: where they are put; None: they are collected.
    """

    request: object
    size: int
    hand_on: Callable[[bytes | memoryview], None]
    into: memoryview | None = None
    _came: int = 0
    _pieces: list[bytes | memoryview] = field(factory=list)

    def take(self, data: bytes | memoryview) -> None:
        self._came += len(data)
        if self.into is None:
            self._pieces.append(data)

    @property
    def complete(self) -> bool:
        return self._came == self.size

    def whole(self) -> bytes | memoryview:
        if self.into is not None:
            return self.into[: self.size]
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
