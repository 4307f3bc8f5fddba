"""Blocks of memory that are used again: fresh ones cost more in page faults than what is done with them."""

from __future__ import annotations

from collections import deque


class Buffers:
    """Blocks of one size, some of them kept. For one thread to take from; they may be used and forgotten on any.

    Nothing has to be given back: a block is free when nobody refers to it any more, and each view and slice of one
    does, wherever it is. So none is ever written to under somebody who still reads it.

    :param most_kept: further ones are made when all of these are in use, and left to the garbage.
    """

    def __init__(self, size: int, most_kept: int = 32) -> None:
        self.size = size
        self._most_kept = most_kept
        self._kept: deque[bytearray] = deque()

    def take(self) -> memoryview:
        """A whole block, with whatever was in it before."""
        for _ in range(len(self._kept)):
            block = self._kept[0]
            # The one that was taken first is the likeliest to be free.
            self._kept.rotate(-1)
            if _is_free(block):
                return memoryview(block)
        block = bytearray(self.size)
        if len(self._kept) < self._most_kept:
            self._kept.append(block)
        return memoryview(block)

    def trim(self) -> None:
        """Give up what nobody uses."""
        kept, self._kept = self._kept, deque()
        while kept:
            block = kept.popleft()
            if not _is_free(block):
                self._kept.append(block)


def _is_free(block: bytearray) -> bool:
    """Whether there is no view of it: Python resizes only then, and keeps the room for one byte more from then on."""
    try:
        block.append(0)
    except BufferError:
        return False
    block.pop()
    return True
