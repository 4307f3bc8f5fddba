"""Accounts that have left and are still linked as holders, so that they are back at once with the same catalogue."""

from __future__ import annotations

from array import array

from attrs import frozen
from pyroaring import BitMap

from .columns import ids_in
from .holders import Holders

#: Contents at which accounts stay linked, in all; some 15 bytes each.
MAX_ABSENT = 5_000_000


@frozen
class Absent:
    """What an account offered to everyone when it left: its items, and their contents, at which it stays."""

    items: BitMap
    contents: BitMap
    bytes: int


class Absentees:
    """By account. Those gone for longest are unlinked when there are too many."""

    def __init__(self, holders: Holders) -> None:
        self._holders = holders
        self._absent: dict[int, Absent] = {}
        self._contents = 0

    def add(self, account: int, absent: Absent) -> None:
        """It has left and is not linked at anything else."""
        self._absent[account] = absent
        self._contents += len(absent.contents)
        while self._contents > MAX_ABSENT:
            longest_gone = next(iter(self._absent))
            absent = self._taken(longest_gone, self._absent[longest_gone])
            self._holders.remove(longest_gone, ids_in(absent.contents))

    def take(self, account: int) -> Absent | None:
        """The account is back, with whatever; None if it is linked at nothing."""
        absent = self._absent.get(account)
        return None if absent is None else self._taken(account, absent)

    def take_same(self, account: int, items: array[int]) -> Absent | None:
        """Likewise, but only if these (sorted) are all that it offered."""
        absent = self._absent.get(account)
        if absent is None or len(absent.items) != len(items) or absent.items.to_array() != items:
            return None
        return self._taken(account, absent)

    def _taken(self, account: int, absent: Absent) -> Absent:
        del self._absent[account]
        self._contents -= len(absent.contents)
        return absent
