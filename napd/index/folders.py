"""Folders by number: the files in one share the text of its path."""

from __future__ import annotations

import numpy as np

from .columns import Column, Ids
from .texts import Texts

#: Folders whose numbers are remembered: files of one folder come together, so that the newest ones are enough.
_MAX_RECENT = 10_000


class Folders:
    """A number is in use as long as an item has it. The same path may have several, which costs only its text."""

    def __init__(self) -> None:
        self.texts = Texts()
        self.used = Column(np.uint32)
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
        folders._free = [number for number in np.flatnonzero(used == 0).tolist() if number]
        return folders

    def take(self, folder: str) -> int:
        """The number of this folder, once more in use."""
        number = self._recent.get(folder)
        if number is None:
            number = self._free.pop() if self._free else self.highest + 1
            self.highest = max(self.highest, number)
            self.texts.put(number, folder.encode())
            self.used.reach(number)
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
            if self._recent.get(folder) == number:
                del self._recent[folder]
            self.texts.drop(number)
            self._free.append(number)
