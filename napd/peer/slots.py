"""Upload slots: who is served now, who waits at which place. Pure.

A slot belongs to a holder (one connection of a user). Users take turns: each time a slot is free, the user who has
waited longest without a turn gets it, and within a user the connection that asked first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from attrs import define, field

#: Compared by identity or value, as the holders see fit; only has to be hashable.
H = TypeVar("H")


@define
class Slots(Generic[H]):
    """At most `limit` holders at a time."""

    limit: int
    _holders: set[H] = field(factory=set)
    # Users in the order of their turns, each with the holders that wait.
    _waiting: dict[str, deque[H]] = field(factory=dict)

    @property
    def taken(self) -> int:
        return len(self._holders)

    @property
    def contended(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    def ask(self, holder: H, user: str) -> bool:
        """Whether the holder has a slot now; if not it waits, and `grant` will name it."""
        if holder in self._holders:
            return True
        if len(self._holders) < self.limit and not self._waiting:
            self._holders.add(holder)
            return True
        line = self._waiting.setdefault(user, deque())
        if holder not in line:
            line.append(holder)
        return False

    def give_back(self, holder: H) -> None:
        """The holder needs its slot no more, or waits no more."""
        self._holders.discard(holder)
        for user, line in list(self._waiting.items()):
            if holder in line:
                line.remove(holder)
                if not line:
                    del self._waiting[user]

    def grant(self) -> list[H]:
        """Hand free slots to those whose turn it is; returns who got one."""
        granted: list[H] = []
        while self._waiting and len(self._holders) < self.limit:
            user = next(iter(self._waiting))
            line = self._waiting.pop(user)
            holder = line.popleft()
            if line:
                self._waiting[user] = line
            self._holders.add(holder)
            granted.append(holder)
        return granted

    def in_turn(self) -> Iterator[H]:
        """Those who wait, in the order in which they will be served."""
        lines = [deque(line) for line in self._waiting.values()]
        while lines:
            for line in lines:
                yield line.popleft()
            lines = [line for line in lines if line]
