"""Figures: what was measured round by round, with its median and range, and its ratio to what it is compared with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median

from attrs import define, field, frozen


@frozen
class Ratio:
    """:ivar value: how many times the other: the median over the rounds, each against its own neighbour."""

    to: str
    value: float


@define(eq=False)
class Figure:
    """One row.

    :ivar unit: ``s``, ``ms``, ``MB``, ``files/s``, ``MB/s``, ``s/GB``.
    :ivar moved: bytes that one round moves, so that a rate can be shown beside its seconds.
    :ivar samples: one of each round, in their order.
    """

    name: str
    unit: str
    moved: int | None = None
    against: tuple[Figure, ...] = ()
    samples: list[float] = field(factory=list, init=False)

    def add(self, sample: float) -> None:
        self.samples.append(sample)

    @property
    def median(self) -> float:
        return median(self.samples) if self.samples else math.nan

    @property
    def low(self) -> float:
        return min(self.samples, default=math.nan)

    @property
    def high(self) -> float:
        return max(self.samples, default=math.nan)

    @property
    def rate(self) -> float | None:
        """MB per second, of the median round."""
        return None if self.moved is None or self.unit != "s" else self.moved / self.median / 1e6

    @property
    def ratios(self) -> list[Ratio]:
        """Rounds that were run side by side are compared with each other, so that a slow minute slows both."""
        return [Ratio(other.name, _times(self.samples, other.samples)) for other in self.against if other.median > 0]


def _times(mine: Sequence[float], others: Sequence[float]) -> float:
    if len(mine) == len(others) and all(others):
        return median(one / other for one, other in zip(mine, others, strict=True))
    return median(mine) / median(others)


@define
class Section:
    """Figures that belong together, under one heading."""

    title: str
    figures: list[Figure] = field(factory=list)

    def figure(self, name: str, unit: str, *against: Figure, moved: int | None = None) -> Figure:
        made = Figure(name, unit, moved, against)
        self.figures.append(made)
        return made

    def measured(self) -> Iterator[Figure]:
        return (figure for figure in self.figures if figure.samples)
