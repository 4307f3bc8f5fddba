"""What most accounts say, where it is known how many say each thing in each way, but not who they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

V = TypeVar("V")


def elected(votes: Iterable[tuple[V, int]], order: Callable[[V], Any] = lambda value: value) -> V | None:
    """The value that most accounts say, of equal ones the first in order; None if the counts alone do not tell.

    :param votes: values, at least one, each with a number of accounts. The same value may come several times, and
        then an account may be counted each time.
    """
    fewest: dict[V, int] = {}
    most: dict[V, int] = {}
    for value, accounts in votes:
        fewest[value] = max(accounts, fewest.get(value, 0))
        most[value] = accounts + most.get(value, 0)
    if len(most) == 1:
        return next(iter(most))
    best = min(most, key=lambda value: (-fewest[value], order(value)))
    for value, accounts in most.items():
        if value == best or accounts < fewest[best]:
            continue
        if accounts > fewest[best] or order(value) < order(best):
            return None
    return best
