"""Content → accounts that offer it: one linked list for each content, all in two columns, 8 bytes a holding."""

from __future__ import annotations

from collections.abc import Container

import numpy as np

from .columns import Column, Ids

_NONE: Ids = np.zeros(0, np.uint32)


class Holders:
    """Accounts that are not online may stay in it, so that coming and going changes nothing here."""

    def __init__(self) -> None:
        #: By content: the first place of its list. By place: an account, and the next place, 0 at the end.
        self._first = Column(np.uint32)
        self._account = Column(np.uint32)
        self._next = Column(np.uint32)
        self._used = 1
        self._free: list[Ids] = []

    def of(self, content: int) -> list[int]:
        found = []
        accounts, following = self._account.one, self._next.one
        place = self._first.one[content] if content < len(self._first.all) else 0
        while place:
            found.append(accounts[place])
            place = following[place]
        return found

    def some_of(self, content: int, among: Container[int], most: int) -> list[int]:
        """At most so many of those that are among these."""
        found: list[int] = []
        accounts, following = self._account.one, self._next.one
        place = self._first.one[content] if content < len(self._first.all) else 0
        while place and len(found) < most:
            if accounts[place] in among:
                found.append(accounts[place])
            place = following[place]
        return found

    @property
    def places(self) -> int:
        """As many as there have ever been holdings at once."""
        return self._used - 1

    def add(self, account: int, contents: Ids) -> None:
        """The account must not be at any of these, each of which is there once."""
        if not len(contents):
            return
        self._first.reach(int(contents.max()))
        places = self._take(len(contents))
        self._account.all[places] = account
        self._next.all[places] = self._first.all[contents]
        self._first.all[contents] = places

    def remove(self, account: int, contents: Ids) -> None:
        """The account must be at all of these. Takes as many steps as the longest of the lists, through all at once."""
        first, following = self._first.all, self._next.all
        before, places = np.zeros(len(contents), np.uint32), first[contents] if len(contents) else _NONE
        while len(places):
            found = self._account.all[places] == account
            at, came_from = places[found], before[found]
            of_first = came_from == 0
            first[contents[found][of_first]] = following[at[of_first]]
            following[came_from[~of_first]] = following[at[~of_first]]
            if len(at):
                self._free.append(at)
            contents, before = contents[~found], places[~found]
            places = following[before]

    def _take(self, count: int) -> Ids:
        """Places that nobody uses."""
        taken = []
        while self._free and count:
            free = self._free.pop()
            if len(free) > count:
                self._free.append(free[count:])
                free = free[:count]
            taken.append(free)
            count -= len(free)
        if count:
            self._account.reach(self._used + count)
            self._next.reach(self._used + count)
            taken.append(np.arange(self._used, self._used + count, dtype=np.uint32))
            self._used += count
        return taken[0] if len(taken) == 1 else np.concatenate(taken)
