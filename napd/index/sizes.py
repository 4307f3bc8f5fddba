"""Bytes that each item has, in 4 bytes: few items have more than such a number can tell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .columns import Column, Ids

#: What is not less is in a dictionary.
_LARGE = (1 << 32) - 1


class Sizes:
    """By item; of one that was never put it is 0."""

    def __init__(self) -> None:
        self._small = Column(np.uint32)
        self._large: dict[int, int] = {}

    def put(self, item: int, size: int) -> None:
        self._small.reach(item)
        self._small.one[item] = min(size, _LARGE)
        if size >= _LARGE:
            self._large[item] = size

    def put_all(self, sizes: NDArray[np.uint64]) -> None:
        """Have these for all there are, from 0 on."""
        self._small.put(np.minimum(sizes, _LARGE).astype(np.uint32))
        large = np.flatnonzero(sizes >= _LARGE)
        self._large = dict(zip(large.tolist(), sizes[large].tolist(), strict=True))

    def drop(self, item: int) -> None:
        self._small.one[item] = 0
        self._large.pop(item, None)

    def one(self, item: int) -> int:
        size: int = self._small.one[item]
        return self._large[item] if size == _LARGE else size

    def of(self, items: Ids) -> NDArray[np.uint64]:
        small = self._small.all[items]
        sizes: NDArray[np.uint64] = small.astype(np.uint64)
        for place in np.flatnonzero(small == _LARGE).tolist():
            sizes[place] = self._large[int(items[place])]
        return sizes

    def between(self, first: int, end: int) -> NDArray[np.uint64]:
        """Of all items from the first on."""
        self._small.reach(end - 1)
        return self.of(np.arange(first, end, dtype=np.uint32))
