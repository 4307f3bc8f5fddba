"""Popularity in bands: items by the number of online sources of their content, so that a search begins with the best.

Band n has the items whose content has from 2**(n-1) up to 2**n - 1 sources; a count that stays within its band costs
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyroaring import BitMap


class Bands:
    """Counts are those of listings for everyone: nobody's rank shows what he must not see."""

    def __init__(self) -> None:
        self._bands: list[BitMap] = []

    def put(self, item: int, sources: int) -> None:
        self._band(sources).add(item)

    def take(self, item: int, sources: int) -> None:
        self._band(sources).discard(item)

    def apart(self, before: int, after: int) -> bool:
        return before.bit_length() != after.bit_length()

    def move(self, items: Iterable[int], before: int, after: int) -> None:
        moving = BitMap(items)
        if moving:
            self._band(before).difference_update(moving)
            self._band(after).update(moving)

    def from_the_top(self) -> Iterator[BitMap]:
        """Each band, the best-held first; not to be changed."""
        return reversed(self._bands)

    def _band(self, sources: int) -> BitMap:
        number = sources.bit_length()
        while len(self._bands) <= number:
            self._bands.append(BitMap())
        return self._bands[number]
