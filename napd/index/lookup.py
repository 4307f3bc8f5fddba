"""Numbers by a hash of what each stands for: some 6 bytes each, instead of two objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .columns import Ids

#: Tables that grow each for itself, so that no growth takes more than some milliseconds at some millions of numbers.
_TABLES = 256
_FIRST = 64
#: Numbers in a table from which on it grows by two thirds; a smaller one is three times as large, to grow more rarely.
_LARGE = 1_000
#: In a slot of a table: a number was here, others may come after it.
_GONE = 0xFFFFFFFF

Hashes = NDArray[np.uint64]

_NONE: Ids = np.zeros(0, np.uint32)


class Lookup:
    """Hashes have to be secret where strangers choose what they are of.

    :param hashes_of: the hash of each of some numbers that are here; asked again when a table grows.
    :param numbers: that are here from the beginning.
    """

    def __init__(self, hashes_of: Callable[[Ids], Hashes], numbers: Ids) -> None:
        self._hashes_of = hashes_of
        #: Those that have ever had a number.
        self._tables: dict[int, _Table] = {}
        if not len(numbers):
            return
        hashes = hashes_of(numbers)
        table_of = (hashes % np.uint64(_TABLES)).astype(np.uint8)
        order = np.argsort(table_of, kind="stable")
        ends = np.cumsum(np.bincount(table_of, minlength=_TABLES)).tolist()
        numbers, hashes = numbers[order], hashes[order]
        for place, (at, to) in enumerate(pairwise([0, *ends])):
            self._tables[place] = _Table(numbers[at:to], hashes[at:to])

    def add(self, number: int, hashed: int) -> None:
        """It is not here yet."""
        place = hashed % _TABLES
        table = self._tables.get(place)
        if table is None or table.is_full():
            there = _NONE if table is None else table.numbers()
            table = self._tables[place] = _Table(there, self._hashes_of(there))
        table.add(number, hashed)

    def remove(self, number: int, hashed: int) -> None:
        """It is here."""
        self._tables[hashed % _TABLES].remove(number, hashed)

    def candidates(self, hashed: int) -> Iterator[int]:
        """Numbers that may have this hash."""
        table = self._tables.get(hashed % _TABLES)
        return iter(()) if table is None else table.candidates(hashed)

    def __len__(self) -> int:
        return sum(map(len, self._tables.values()))


class _Table:
    """Open addressing: a number is in the first free slot from the one that its hash says."""

    __slots__ = ("_gone", "_size", "_slots", "_taken")

    def __init__(self, numbers: Ids, hashes: Hashes) -> None:
        """With room for more of them; all of them go on to the next slot until it is free."""
        size = max(_FIRST, len(numbers) * 3 if len(numbers) < _LARGE else len(numbers) * 5 // 3)
        slots: Ids = np.zeros(size, np.uint32)
        self._taken, self._gone, self._size = len(numbers), 0, size
        self._slots = memoryview(slots)  # type: ignore[arg-type]
        places = hashes // np.uint64(_TABLES) % np.uint64(size)
        while len(numbers):
            free = slots[places] == 0
            slots[places[free]] = numbers[free]
            left = slots[places] != numbers
            numbers, places = numbers[left], (places[left] + np.uint64(1)) % np.uint64(size)

    def is_full(self) -> bool:
        return (self._taken + 1) * 4 > self._size * 3

    def numbers(self) -> Ids:
        slots: Ids = np.frombuffer(self._slots, np.uint32)
        numbers: Ids = slots[(slots != 0) & (slots != _GONE)]
        return numbers

    def add(self, number: int, hashed: int) -> None:
        slots, size = self._slots, self._size
        place = hashed // _TABLES % size
        while slots[place]:
            place = (place + 1) % size
        slots[place] = number
        self._taken += 1

    def remove(self, number: int, hashed: int) -> None:
        """It is there."""
        for place in self._places(hashed):
            if self._slots[place] == number:
                self._slots[place] = _GONE
                self._gone += 1
                return

    def candidates(self, hashed: int) -> Iterator[int]:
        """Numbers that may have this hash."""
        for place in self._places(hashed):
            number = self._slots[place]
            if number == 0:
                return
            if number != _GONE:
                yield number

    def __len__(self) -> int:
        return self._taken - self._gone

    def _places(self, hashed: int) -> Iterator[int]:
        """Where to look: there is always an empty slot to end at."""
        place = hashed // _TABLES % self._size
        while True:
            yield place
            place = (place + 1) % self._size
