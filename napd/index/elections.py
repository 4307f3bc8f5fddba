"""What most accounts say, where it is known how many say each thing in each way, but not who they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

V = TypeVar("V")


def elected(
    values: Sequence[V], votes: Sequence[int], uncounted: int = 0, order: Callable[[V], Any] = lambda value: value
) -> V | None:
    """The value that most accounts say, of equal ones the first in order; None if the counts alone do not tell.

    :param values: at least one; the same one may come several times, and then an account may be counted each time.
    :param votes: as many, of accounts.
    :param uncounted: as many more may say whatever it be.
    """
    if not uncounted and values.count(values[0]) == len(values):
        return values[0]
    fewest: dict[V, int] = {}
    most: dict[V, int] = {}
    for value, accounts in zip(values, votes, strict=True):
        fewest[value] = max(accounts, fewest.get(value, 0))
        most[value] = accounts + most.get(value, 0)
    best = min(most, key=lambda value: (-fewest[value], order(value)))
    sure = fewest[best] - uncounted
    if sure <= 0:
        return None
    for value, accounts in most.items():
        if value == best or accounts < sure:
            continue
        if accounts > sure or uncounted or order(value) < order(best):
            return None
    return best
