"""Popularity in bands: items by the number of online sources of their content, so that a search begins with the best.

Band n has the items whose content has from 2**(n-1) up to 2**n - 1 sources; a count that stays within its band costs
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from .columns import Ids, bitmap


class Bands:
    """Counts are those of listings for everyone: nobody's rank shows what he must not see.

    Everywhere `sources` are those of the content of each item.
    """

    def __init__(self) -> None:
        self._bands: list[BitMap] = []

    def put(self, items: Ids, sources: Ids) -> None:
        for number, part in _by_band(items, sources):
            self._band(number).update(part)

    def take(self, items: Ids, sources: Ids) -> None:
        for number, part in _by_band(items, sources):
            self._band(number).difference_update(part)

    def move(self, items: Ids, before: Ids, after: Ids) -> None:
        self.take(items, before)
        self.put(items, after)

    def from_the_top(self) -> Iterator[BitMap]:
        """Each band, the best-held first; not to be changed."""
        return reversed(self._bands)

    def _band(self, number: int) -> BitMap:
        while len(self._bands) <= number:
            self._bands.append(BitMap())
        return self._bands[number]


def rises(before: Ids) -> NDArray[np.bool_]:
    """Which of these counts are in a higher band when they are one more."""
    rising: NDArray[np.bool_] = (before != 0) & (before & (before + 1) == 0)
    return rising


def falls(before: Ids) -> NDArray[np.bool_]:
    """Which of these counts are in a lower band when they are one less."""
    falling: NDArray[np.bool_] = (before > 1) & (before & (before - 1) == 0)
    return falling


def _by_band(items: Ids, sources: Ids) -> Iterator[tuple[int, BitMap]]:
    if len(items):
        # The exponent of a float is the number of bits.
        numbers = np.frexp(sources)[1]
        for number in set(numbers.tolist()):
            yield number, bitmap(items[numbers == number])
