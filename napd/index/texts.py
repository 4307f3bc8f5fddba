"""Many short texts by number, in one piece of memory or of a file instead of an object each."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .arena import Arena, Stretch
from .columns import Column

#: Places are counted in so many bytes, so that 32 bits reach 16 GiB.
_UNIT = 4


class Texts:
    """Bytes by number, at most 65,535 each.

    Room that becomes free is used again by texts that are as long, as long as it is not in a file.
    """

    def __init__(self) -> None:
        self.arena = Arena()
        self.places = Column(np.uint32)
        self.lengths = Column(np.uint16)
        #: Length in units → places of so many units that are free.
        self._free: dict[int, list[int]] = {}

    def put(self, number: int, text: bytes) -> None:
        """There must be none of this number yet."""
        self.places.reach(number)
        self.lengths.reach(number)
        units = -(-len(text) // _UNIT)
        free = self._free.get(units)
        if free:
            start = free.pop() * _UNIT
            self.arena.write(start, text)
        else:
            start = self.arena.append(text.ljust(units * _UNIT, b"\0"))
        self.places.one[number] = start // _UNIT
        self.lengths.one[number] = len(text)

    def get(self, number: int) -> bytes:
        return self.arena.read(self.places.one[number] * _UNIT, self.lengths.one[number])

    def drop(self, number: int) -> None:
        units, place = -(-self.lengths.one[number] // _UNIT), self.places.one[number]
        if units and place * _UNIT >= self.arena.fixed:
            self._free.setdefault(units, []).append(place)
        self.places.one[number] = self.lengths.one[number] = 0

    def fix(self) -> None:
        """All texts are written to a file now."""
        self.arena.fix()
        self._free.clear()

    def rest_on(self, base: Stretch) -> list[bytearray]:
        """The file is written; as `Arena.rest_on`."""
        return self.arena.rest_on(base)

    def pack(self, numbers: Iterable[int]) -> None:
        """Leave out what none of these numbers, which are all, has."""
        old, self.arena, self._free = self.arena.read(0, len(self.arena)), Arena(), {}
        for number in numbers:
            start, length = self.places.one[number] * _UNIT, self.lengths.one[number]
            text = old[start : start + length].ljust(-(-length // _UNIT) * _UNIT, b"\0")
            self.places.one[number] = self.arena.append(text) // _UNIT
