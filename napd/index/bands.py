"""Popularity in bands: items by the number of online sources of their content, so that a search begins with the best.

Band n has the items whose content has from 2**(n-1) up to 2**n - 1 sources; a count that stays within its band costs
nothing.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from .columns import Column, Ids

_ID_BYTES = 4


class Bands:
    """Counts are those of listings for everyone: nobody's rank shows what he must not see."""

    def __init__(self) -> None:
        #: Band 0 is nobody's.
        self._bands: list[BitMap] = []
        self._band_of = Column(np.uint8)
        #: Those of all bands; not to be changed.
        self.items = BitMap()

    def put(self, items: Ids, sources: Ids) -> None:
        """Wherever they were before.

        :param sources: of the content of each; 0 if nobody online offers the item to everyone.
        """
        if not len(items):
            return
        self._reach(items)
        places = items.astype(np.intp)
        # The exponent of a float is the number of bits.
        numbers = np.frexp(sources)[1].astype(np.uint8)
        before = self._band_of.all[places]
        moving = numbers != before
        self._band_of.all[places] = numbers
        items, before, numbers = items[moving], before[moving], numbers[moving]
        for number, part in _by_band(items, before):
            if number:
                self._band(number).difference_update(BitMap(part))
            else:
                self.items.update(part)
        for number, part in _by_band(items, numbers):
            if number:
                self._band(number).update(part)
            else:
                self.items.difference_update(BitMap(part))

    def has(self, items: Ids) -> NDArray[np.bool_]:
        """Which of these are in any band."""
        self._reach(items)
        inside: NDArray[np.bool_] = self._band_of.all[items.astype(np.intp)] != 0
        return inside

    def from_the_top(self) -> Iterator[tuple[int, BitMap]]:
        """Each band, the best-held first, with the most sources that one in it may have; not to be changed."""
        for number in range(len(self._bands), 0, -1):
            yield (1 << number) - 1, self._bands[number - 1]

    def _reach(self, items: Ids) -> None:
        if len(items):
            self._band_of.reach(int(items.max()))

    def _band(self, number: int) -> BitMap:
        while len(self._bands) < number:
            self._bands.append(BitMap())
        return self._bands[number - 1]


def moves(before: Ids, after: Ids) -> NDArray[np.bool_]:
    """Which of these counts are in another band than before, if each is one more or one less."""
    # Past a power of two no bit stays as it was.
    moving: NDArray[np.bool_] = before & after == 0
    return moving


def _by_band(items: Ids, numbers: NDArray[np.uint8]) -> Iterator[tuple[int, array[int]]]:
    in_order = items[np.argsort(numbers, kind="stable")].tobytes()
    at = 0
    for number, count in enumerate(np.bincount(numbers).tolist()):
        if count:
            yield number, array("I", in_order[at : at + count * _ID_BYTES])
        at += count * _ID_BYTES
