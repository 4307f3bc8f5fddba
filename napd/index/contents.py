"""Contents by number and by id: 32 bytes for the id and some 8 to find it by, instead of two objects each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..model import ContentId
from .columns import Ids

ID_BYTES = 32
_FIRST = 1_024
_MASK64 = (1 << 64) - 1
#: In a slot of the table: a content was here, others may come after it.
_GONE = 0xFFFFFFFF


class ContentIds:
    """A hash table with open addressing, of numbers. Its multipliers are secret: peers choose the ids."""

    def __init__(self) -> None:
        # Python's hashes of texts are another secret in each process.
        self._multipliers = [hash(f"content {word}") & _MASK64 | 1 for word in range(ID_BYTES // 8)]
        self.raw: NDArray[np.uint8] = np.zeros((_FIRST, ID_BYTES), np.uint8)
        self._bytes = memoryview(self.raw).cast("B")  # type: ignore[arg-type]
        #: Slots that are taken, and those of them whose content is gone.
        self._taken = self._gone = 0
        self._make_table(_FIRST)

    @classmethod
    def of(cls, raw: NDArray[np.uint8], numbers: Ids) -> ContentIds:
        """:param raw: ids by number, of which `numbers` are in use."""
        ids = cls()
        ids._hold(raw)
        ids._fill(numbers)
        return ids

    def reach(self, number: int) -> None:
        """Have room for this number."""
        have = len(self.raw)
        if number >= have:
            grown = np.zeros((max(number + 1, have * 3 // 2), ID_BYTES), np.uint8)
            grown[:have] = self.raw
            self._hold(grown)

    def add(self, number: int, content: str) -> None:
        """Neither number nor id may be there yet."""
        self.reach(number)
        raw = bytes.fromhex(content)
        self._bytes[number * ID_BYTES : (number + 1) * ID_BYTES] = raw
        if (self._taken + 1) * 4 > len(self._table) * 3:
            self._fill(np.append(self._numbers(), np.uint32(number)))
            return
        for slot in self._slots(raw):
            if self._at[slot] == 0:
                self._at[slot] = number
                self._taken += 1
                return

    def remove(self, number: int) -> None:
        raw = self._raw(number)
        for slot in self._slots(raw):
            if self._at[slot] == number:
                self._at[slot] = _GONE
                self._gone += 1
                self._bytes[number * ID_BYTES : (number + 1) * ID_BYTES] = bytes(ID_BYTES)
                return

    def id_of(self, number: int) -> ContentId:
        return ContentId(self._raw(number).hex())

    def number_of(self, content: str) -> int | None:
        raw = bytes.fromhex(content)
        for slot in self._slots(raw):
            number = self._at[slot]
            if number == 0:
                return None
            if number != _GONE and self._raw(number) == raw:
                return number
        return None

    def __len__(self) -> int:
        return self._taken - self._gone

    def _raw(self, number: int) -> bytes:
        return bytes(self._bytes[number * ID_BYTES : (number + 1) * ID_BYTES])

    def _hold(self, raw: NDArray[np.uint8]) -> None:
        self.raw = raw
        self._bytes = memoryview(raw).cast("B")  # type: ignore[arg-type]

    def _make_table(self, slots: int) -> None:
        """:param slots: a power of two."""
        self._table: Ids = np.zeros(slots, np.uint32)
        self._at = memoryview(self._table)  # type: ignore[arg-type]
        self._shift = 65 - slots.bit_length()

    def _slots(self, raw: bytes) -> Iterator[int]:
        """Where to look for this id: the table always has an empty slot to end at."""
        mask = len(self._table) - 1
        total = 0
        for at, multiplier in enumerate(self._multipliers):
            total += int.from_bytes(raw[at * 8 : at * 8 + 8], "little") * multiplier
        slot = (total & _MASK64) >> self._shift
        while True:
            yield slot
            slot = (slot + 1) & mask

    def _numbers(self) -> Ids:
        numbers: Ids = self._table[(self._table != 0) & (self._table != _GONE)]
        return numbers

    def _fill(self, numbers: Ids) -> None:
        """A new table, at most two thirds full, with these in it: all go on to the next slot until it is free."""
        self._make_table(max(_FIRST, 1 << (len(numbers) * 3 // 2).bit_length()))
        self._taken, self._gone = len(numbers), 0
        words = self.raw.view("<u8")[numbers].astype(np.uint64)
        slots = (words * np.array(self._multipliers, np.uint64)).sum(axis=1, dtype=np.uint64) >> np.uint64(self._shift)
        mask = np.uint64(len(self._table) - 1)
        while len(numbers):
            free = self._table[slots] == 0
            self._table[slots[free]] = numbers[free]
            left = self._table[slots] != numbers
            numbers, slots = numbers[left], (slots[left] + np.uint64(1)) & mask
