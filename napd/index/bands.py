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

    def put(self, items: Ids, sources: Ids) -> None:
        """Each item once, wherever it was before.

        :param sources: of the content of each; 0 if nobody online offers the item to everyone.
        """
        if not len(items):
            return
        self._band_of.reach(int(items.max()))
        # The exponent of a float is the number of bits.
        numbers = np.frexp(sources)[1].astype(np.uint8)
        before = self._band_of.all[items]
        moving = numbers != before
        items, before, numbers = items[moving], before[moving], numbers[moving]
        self._band_of.all[items] = numbers
        for number, part in _by_band(items, before):
            self._band(number).difference_update(part)
        for number, part in _by_band(items, numbers):
            self._band(number).update(part)

    def from_the_top(self) -> Iterator[BitMap]:
        """Each band, the best-held first; not to be changed."""
        return reversed(self._bands)

    def _band(self, number: int) -> BitMap:
        while len(self._bands) < number:
            self._bands.append(BitMap())
        return self._bands[number - 1]


def rises(before: Ids) -> NDArray[np.bool_]:
    """Which of these counts are in a higher band when they are one more."""
    rising: NDArray[np.bool_] = before & (before + 1) == 0
    return rising


def falls(before: Ids) -> NDArray[np.bool_]:
    """Which of these counts are in a lower band when they are one less."""
    falling: NDArray[np.bool_] = before & (before - 1) == 0
    return falling


def _by_band(items: Ids, numbers: NDArray[np.uint8]) -> Iterator[tuple[int, BitMap]]:
    """Without those of band 0."""
    in_order = items[np.argsort(numbers, kind="stable")].tobytes()
    at = 0
    for number, count in enumerate(np.bincount(numbers).tolist()):
        if count and number:
            yield number, BitMap(array("I", in_order[at : at + count * _ID_BYTES]))
        at += count * _ID_BYTES
