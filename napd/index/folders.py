"""Folders by number: the files in one share the text of its path."""

from __future__ import annotations

import numpy as np

from .columns import Column, Ids
from .lookup import Hashes, Lookup
from .texts import Texts

#: Folders whose numbers are remembered: files of one folder come together.
_MAX_RECENT = 10_000
_MASK64 = (1 << 64) - 1


class Folders:
    """A number is in use as long as an item has it."""

    def __init__(self) -> None:
        self.texts = Texts()
        self.used = Column(np.uint32)
        self._lookup = Lookup(self._hashes_of, np.zeros(0, np.uint32))
        self._recent: dict[str, int] = {}
        self._free: list[int] = []
        self.highest = 0

    @classmethod
    def of(cls, texts: Texts, used: Ids) -> Folders:
        """:param used: by number, how many items are in it."""
        folders = cls()
        folders.texts = texts
        folders.used.put(used)
        folders.highest = len(used) - 1
        folders._lookup = Lookup(folders._hashes_of, np.flatnonzero(used).astype(np.uint32))
        folders._free = [number for number in np.flatnonzero(used == 0).tolist() if number]
        return folders

    def take(self, folder: str) -> int:
        """The number of this folder, once more in use."""
        number = self._recent.get(folder)
        if number is None:
            number = self._found(folder) or self._new(folder)
            if len(self._recent) >= _MAX_RECENT:
                self._recent.clear()
            self._recent[folder] = number
        self.used.one[number] += 1
        return number

    def get(self, number: int) -> str:
        return self.texts.get(number).decode()

    def drop(self, number: int) -> None:
        """Once less in use."""
        self.used.one[number] -= 1
        if not self.used.one[number]:
            folder = self.get(number)
            self._recent.pop(folder, None)
            self._lookup.remove(number, _hash_of(folder))
            self.texts.drop(number)
            self._free.append(number)

    def _found(self, folder: str) -> int | None:
        text = folder.encode()
        for number in self._lookup.candidates(_hash_of(folder)):
            if self.texts.get(number) == text:
                return number
        return None

    def _new(self, folder: str) -> int:
        number = self._free.pop() if self._free else self.highest + 1
        self.highest = max(self.highest, number)
        self.texts.put(number, folder.encode())
        self.used.reach(number)
        self._lookup.add(number, _hash_of(folder))
        return number

    def _hashes_of(self, numbers: Ids) -> Hashes:
        return np.fromiter((_hash_of(self.get(number)) for number in numbers.tolist()), np.uint64, len(numbers))


def _hash_of(folder: str) -> int:
    """Python's own, which is secret."""
    return hash(folder) & _MASK64
