"""Many numbered things in the order of a figure, the highest first, without sorting those that nobody gets to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Figures = NDArray[np.int64]
_Numbers = NDArray[np.intp]

#: How many are put in order at first; then four times as many each time.
_FIRST = 256
_GROWTH = 4


def best_first(figures: Figures, ties: Callable[[_Numbers], Figures]) -> Iterator[_Numbers]:
    """All numbers from 0 on by falling figures, piece by piece.

    :param ties: of these numbers, by what equal ones are in order: the lowest first.
    """
    for piece, equal in _pieces(figures):
        yield piece[np.lexsort((ties(piece), -figures[piece]))]
        if len(equal):
            tied = ties(equal)
            for among, same in _pieces(-tied):
                yield equal[among[np.argsort(tied[among], kind="stable")]]
                if len(same):
                    yield equal[same]


def _pieces(figures: Figures) -> Iterator[tuple[_Numbers, _Numbers]]:
    """The highest ones, in no order; then all those that are equal to the lowest of these, if they are many more."""
    left, size = np.arange(len(figures)), _FIRST
    while len(left):
        if len(left) <= _GROWTH * size:
            yield left, left[:0]
            return
        of_left = figures[left]
        least = np.partition(of_left, len(left) - size)[len(left) - size]
        above, equal = left[of_left > least], left[of_left == least]
        left = left[of_left < least]
        if len(equal) <= _GROWTH * size:
            yield np.concatenate((above, equal)), equal[:0]
        else:
            yield above, equal
        size *= _GROWTH
