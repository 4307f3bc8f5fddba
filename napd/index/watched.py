"""A few contents that somebody watches, so that they are found at once among the thousands that change together."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .columns import Ids
from .contents import hash_of
from .table import ItemTable

_SLOTS = 1 << 20


class Watched:
    """Counted by 20 bits of the hashes of their ids: what is found may be there by chance, and has to be looked up."""

    def __init__(self) -> None:
        self._slots: Ids = np.zeros(_SLOTS, np.uint32)
        self._count = 0

    def add(self, content: str) -> None:
        self._slots[_slot(content)] += 1
        self._count += 1

    def discard(self, content: str) -> None:
        """One that was added."""
        self._slots[_slot(content)] -= 1
        self._count -= 1

    def among(self, contents: Ids, table: ItemTable) -> Iterable[str]:
        """Ids of these contents that may be watched."""
        if not self._count:
            return ()
        slots = table.ids.hashes.all[contents] % _SLOTS
        return [table.content_id(content) for content in contents[self._slots[slots] != 0].tolist()]


def _slot(content: str) -> int:
    return hash_of(content) % _SLOTS
