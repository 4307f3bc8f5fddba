"""Where those who wait for an upload slot stand, and for how long about. Pure.

A snapshot of the line: made once, then asked for as many places as there are to be told. Counted are turns, as if every
content that is asked for took one and nobody came or went: those who have a slot come back for what they still want.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from math import ceil
from typing import Generic, TypeVar

from attrs import frozen

from .slots import Waiting

H = TypeVar("H")


@frozen
class Place:
    """`position` counts from 1; `estimate_s` from now, None if nothing tells."""

    position: int
    estimate_s: float | None


@frozen
class _Round:
    """`before`: turns of all in earlier rounds; `ahead`: in this one, of those who come before each user in it."""

    before: int
    ahead: list[int]


@frozen
class _User:
    """`place` in a round; how many contents it still wants over how many connections."""

    place: int
    weight: float
    contents: int
    connections: int

    def turns(self, rounds: int) -> int:
        """In so many rounds, as far as it has anything left."""
        return min(self.contents, ceil(self.weight * rounds))


class Places(Generic[H]):
    """:param contents: how many of them a holder waits for. :param slots: how many turns run side by side."""

    def __init__(
        self, line: Sequence[Waiting[H]], contents: Callable[[H], int], turn_s: float | None, slots: int
    ) -> None:
        self._turn_s = turn_s
        self._slots = slots
        self._users: list[_User] = []
        self._of: dict[H, tuple[_User, int]] = {}
        self._rounds: dict[int, _Round] = {}
        for place, waiting in enumerate(line):
            count = sum(contents(holder) for holder in waiting.holders)
            # One content of these is being sent.
            count += sum(max(0, contents(holder) - 1) for holder in waiting.served)
            user = _User(place, waiting.weight, count, len(waiting.holders) + len(waiting.served))
            self._users.append(user)
            self._of.update({holder: (user, nth) for nth, holder in enumerate(waiting.holders)})

    def holders(self) -> list[H]:
        """Those who wait, users in the order of their turns."""
        return list(self._of)

    def of(self, holder: H, nth: int) -> Place:
        """The place of a holder's n-th content, counted from 0."""
        user, own_place = self._of[holder]
        turn = nth * user.connections + own_place
        number = int(turn / user.weight)
        a_round = self._rounds.get(number) or self._count(number)
        position = 1 + turn + a_round.before - user.turns(number) + a_round.ahead[user.place]
        return Place(position, self._estimate(position))

    def _count(self, number: int) -> _Round:
        before = [user.turns(number) for user in self._users]
        within = [user.turns(number + 1) - done for user, done in zip(self._users, before, strict=True)]
        a_round = self._rounds[number] = _Round(sum(before), [0, *accumulate(within)])
        return a_round

    def _estimate(self, position: int) -> float | None:
        if self._turn_s is None or self._slots <= 0:
            return None
        return round(position * self._turn_s / self._slots, 1)
