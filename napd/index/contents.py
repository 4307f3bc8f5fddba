"""Contents by number and by id: 32 bytes for the id and some 8 to find it by, instead of two objects each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..model import ContentId
from .columns import Column, Ids

ID_BYTES = 32
#: Tables that grow each for itself, so that no growth takes more than some milliseconds at some millions of contents.
_TABLES = 64
_FIRST = 64
_MASK64 = (1 << 64) - 1
#: In a slot of a table: a content was here, others may come after it.
_GONE = 0xFFFFFFFF

_Hashes = NDArray[np.uint64]


class ContentIds:
    """Hash tables of numbers. Their multipliers are secret: peers choose the ids."""

    def __init__(self) -> None:
        # Python's hashes of texts are another secret in each process.
        self._multipliers = [hash(f"content {word}") & _MASK64 | 1 for word in range(ID_BYTES // 8)]
        self._bytes: Column[np.uint8] = Column(np.uint8)
        self._tables = [_Table(np.zeros(0, np.uint32), np.zeros(0, np.uint64)) for _ in range(_TABLES)]

    @classmethod
    def of(cls, raw: NDArray[np.uint8], numbers: Ids) -> ContentIds:
        """:param raw: ids by number, of which `numbers` are in use."""
        ids = cls()
        ids._bytes.put(raw.reshape(-1))
        hashes = ids._hashes(numbers)
        table_of = (hashes % np.uint64(_TABLES)).astype(np.uint8)
        order = np.argsort(table_of, kind="stable")
        ends = np.cumsum(np.bincount(table_of, minlength=_TABLES))[:-1]
        parts = zip(np.split(numbers[order], ends), np.split(hashes[order], ends), strict=True)
        ids._tables = [_Table(*part) for part in parts]
        return ids

    @property
    def raw(self) -> NDArray[np.uint8]:
        """Ids by number, not to be kept."""
        raw: NDArray[np.uint8] = self._bytes.all[: len(self._bytes.all) // ID_BYTES * ID_BYTES].reshape(-1, ID_BYTES)
        return raw

    def reach(self, number: int) -> None:
        """Have room for this number."""
        self._bytes.reach((number + 1) * ID_BYTES - 1)

    def add(self, number: int, content: str) -> None:
        """Neither number nor id may be there yet."""
        self.add_all((number,), (content,))

    def add_all(self, numbers: Sequence[int], contents: Iterable[str]) -> None:
        """None of these numbers and ids may be there yet."""
        if not numbers:
            return
        self.reach(max(numbers))
        places: Ids = np.array(numbers, np.uint32)
        self.raw[places] = np.frombuffer(bytes.fromhex("".join(contents)), np.uint8).reshape(-1, ID_BYTES)
        for number, hashed in zip(numbers, self._hashes(places).tolist(), strict=True):
            table = self._tables[hashed % _TABLES]
            if table.is_full():
                there = table.numbers()
                table = self._tables[hashed % _TABLES] = _Table(there, self._hashes(there))
            table.add(number, hashed)

    def remove(self, number: int) -> None:
        hashed = self._hash(self._raw(number))
        self._tables[hashed % _TABLES].remove(number, hashed)
        self._bytes.one[number * ID_BYTES : (number + 1) * ID_BYTES] = bytes(ID_BYTES)

    def id_of(self, number: int) -> ContentId:
        return ContentId(self._bytes.one[number * ID_BYTES : (number + 1) * ID_BYTES].hex())

    def beginnings(self, numbers: Ids) -> NDArray[np.uint64]:
        """The first 8 bytes of each id, as numbers that are in the same order."""
        return self.raw.view(">u8")[:, 0][numbers].astype(np.uint64)

    def number_of(self, content: str) -> int | None:
        raw = bytes.fromhex(content)
        hashed = self._hash(raw)
        for number in self._tables[hashed % _TABLES].candidates(hashed):
            if self._raw(number) == raw:
                return number
        return None

    def __len__(self) -> int:
        return sum(map(len, self._tables))

    def _raw(self, number: int) -> bytes:
        return bytes(self._bytes.one[number * ID_BYTES : (number + 1) * ID_BYTES])

    def _hash(self, raw: bytes) -> int:
        total = 0
        for at, multiplier in enumerate(self._multipliers):
            total += int.from_bytes(raw[at * 8 : at * 8 + 8], "little") * multiplier
        return (total & _MASK64) >> 24

    def _hashes(self, numbers: Ids) -> _Hashes:
        """`_hash` of many."""
        words = self.raw.view("<u8")[numbers].astype(np.uint64)
        totals: _Hashes = (words * np.array(self._multipliers, np.uint64)).sum(axis=1, dtype=np.uint64)
        return totals >> np.uint64(24)


class _Table:
    """Open addressing: a number is in the first free slot from the one that its hash says."""

    __slots__ = ("_gone", "_mask", "_slots", "_taken")

    def __init__(self, numbers: Ids, hashes: _Hashes) -> None:
        """At most two thirds full with these: all of them go on to the next slot until it is free."""
        slots: Ids = np.zeros(max(_FIRST, 1 << (len(numbers) * 3 // 2).bit_length()), np.uint32)
        self._taken, self._gone, self._mask = len(numbers), 0, len(slots) - 1
        mask, places = np.uint64(self._mask), _first(hashes) & np.uint64(self._mask)
        while len(numbers):
            free = slots[places] == 0
            slots[places[free]] = numbers[free]
            left = slots[places] != numbers
            numbers, places = numbers[left], (places[left] + np.uint64(1)) & mask
        self._slots = memoryview(slots)  # type: ignore[arg-type]

    def is_full(self) -> bool:
        return (self._taken + 1) * 4 > (self._mask + 1) * 3

    def numbers(self) -> Ids:
        slots: Ids = np.frombuffer(self._slots, np.uint32)
        numbers: Ids = slots[(slots != 0) & (slots != _GONE)]
        return numbers

    def add(self, number: int, hashed: int) -> None:
        slots, place = self._slots, hashed // _TABLES & self._mask
        while slots[place]:
            place = (place + 1) & self._mask
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
        place = hashed // _TABLES & self._mask
        while True:
            yield place
            place = (place + 1) & self._mask


def _first(hashes: _Hashes) -> _Hashes:
    places: _Hashes = hashes // np.uint64(_TABLES)
    return places
