"""Content → accounts that offer it: one linked list for each content, all in three columns.

A list is one number for its content, and 8 bytes for each account but the last: where another place would be named
there is the last account itself. Most contents have a single one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise

import numpy as np

from .columns import Column, Ids

#: A number from this one on is no place but the last account of a list.
_LAST = 1 << 31
#: Steps through many lists at once.
MAX_ABREAST = 64


class Holders:
    """Accounts that are not online may stay in it, so that coming and going changes nothing here."""

    def __init__(self) -> None:
        #: By content: the first place of its list, 0 if there is none. By place: an account, and the next place.
        self._first = Column(np.uint32)
        self._account = Column(np.uint32)
        self._next = Column(np.uint32)
        self._used = 1
        self._free: list[Ids] = []

    def of(self, content: int) -> list[int]:
        return list(self._each(content))

    def some_of(self, content: int, among: Column[np.uint8], most: int) -> list[int]:
        """At most so many of those that are marked there."""
        marks = among.one
        return list(islice((account for account in self._each(content) if marks[account]), most))

    def some_of_each(self, contents: Ids, among: Column[np.uint8], most: int) -> list[list[int]]:
        """`some_of` each of these, a hundred of them in the time of a few: their lists are walked side by side."""
        accounts, following, marks = self._account.all, self._next.all, among.all
        first = self._first.all[contents.astype(np.intp)]
        rows = np.flatnonzero(first)
        at, counts = first[rows], np.zeros(len(contents), np.int64)
        of_rows, found = [rows[:0]], [at[:0]]
        for _ in range(MAX_ABREAST):
            if not len(at):
                break
            inner = at < _LAST
            places = np.where(inner, at, 0)
            here = np.where(inner, accounts[places], at & (_LAST - 1))
            marked = marks[here] != 0
            of_rows.append(rows[marked])
            found.append(here[marked])
            counts[of_rows[-1]] += 1
            at = np.where(inner, following[places], 0)
            goes_on = (at != 0) & (counts[rows] < most)
            rows, at = rows[goes_on], at[goes_on]
        in_rows = np.concatenate(of_rows)
        in_order = np.concatenate(found)[np.argsort(in_rows, kind="stable")].tolist()
        ends = np.cumsum(np.bincount(in_rows, minlength=len(contents))).tolist()
        some = [in_order[begin:end] for begin, end in pairwise([0, *ends])]
        # What is left are long lists of those who are not there.
        for row in rows.tolist():
            some[row] = self.some_of(int(contents[row]), among, most)
        return some

    @property
    def places(self) -> int:
        """As many as there have ever been at once."""
        return self._used - 1

    def add(self, account: int, contents: Ids) -> None:
        """The account must not be at any of these, each of which is there once."""
        if not len(contents):
            return
        self._first.reach(int(contents.max()))
        first = self._first.all[contents]
        is_new = first == 0
        self._first.all[contents[is_new]] = _LAST | account
        has_others = ~is_new
        places = self._take(int(np.count_nonzero(has_others)))
        self._account.all[places] = account
        self._next.all[places] = first[has_others]
        self._first.all[contents[has_others]] = places

    def remove(self, account: int, contents: Ids) -> None:
        """The account must be at all of these. Takes as many steps as the longest of the lists, through all at once."""
        if not len(contents):
            return
        at = self._first.all[contents]
        # The place that names this one, and the place that names that; 0 is the content itself.
        before = np.zeros(len(contents), np.uint32)
        above = before
        while len(at):
            is_last = at >= _LAST
            accounts = self._account.all[np.where(is_last, 0, at)]
            accounts[is_last] = at[is_last] - np.uint32(_LAST)
            found = accounts == account
            self._unlink(contents[found], above[found], before[found], at[found])
            left = ~found
            contents, above, before = contents[left], before[left], at[left]
            at = self._next.all[before]

    def _unlink(self, contents: Ids, above: Ids, before: Ids, at: Ids) -> None:
        inner = at < _LAST
        self._point(contents[inner], before[inner], self._next.all[at[inner]])
        self._let_go(at[inner])
        alone = ~inner & (before == 0)
        self._first.all[contents[alone]] = 0
        # The one before is the last one now.
        ends = ~inner & (before != 0)
        self._point(contents[ends], above[ends], self._account.all[before[ends]] | np.uint32(_LAST))
        self._let_go(before[ends])

    def _point(self, contents: Ids, places: Ids, to: Ids) -> None:
        """Let these places name others; or the contents, where the place is 0."""
        of_content = places == 0
        self._first.all[contents[of_content]] = to[of_content]
        self._next.all[places[~of_content]] = to[~of_content]

    def _each(self, content: int) -> Iterator[int]:
        accounts, following = self._account.one, self._next.one
        at = self._first.one[content] if content < len(self._first.all) else 0
        while 0 < at < _LAST:
            yield accounts[at]
            at = following[at]
        if at:
            yield at - _LAST

    def _let_go(self, places: Ids) -> None:
        if len(places):
            self._free.append(places)

    def _take(self, count: int) -> Ids:
        """Places that nobody uses."""
        taken = [np.zeros(0, np.uint32)]
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
        return np.concatenate(taken)
