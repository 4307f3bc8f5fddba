"""Rows: a figure, the aim beside it, and whether it is reached. Nothing fails by them."""

from __future__ import annotations

from attrs import define, field, frozen

from ..figures import Figure, Section


@frozen
class Aim:
    """:ivar sign: ``≥`` or ``≤``."""

    sign: str
    value: float

    def reached(self, value: float) -> bool:
        return value >= self.value if self.sign == "≥" else value <= self.value


def at_least(value: float) -> Aim:
    return Aim("≥", value)


def at_most(value: float) -> Aim:
    return Aim("≤", value)


@define(eq=False)
class Row:
    """:ivar figure: a sample of each round, already the ratio where the aim is one.

    :ivar aim: None: shown beside the others, held to nothing.
    :ivar skipped: why it was not measured.
    """

    figure: Figure
    aim: Aim | None
    skipped: str | None = None

    @classmethod
    def of(cls, name: str, unit: str, aim: Aim | None = None) -> Row:
        return cls(Figure(name, unit), aim)

    def add(self, sample: float) -> None:
        self.figure.add(sample)

    @property
    def reached(self) -> bool | None:
        if self.aim is None or not self.figure.samples:
            return None
        return self.aim.reached(self.figure.median)


@define
class Outcome:
    """What a part came to: its rows, and the raw figures that they come from."""

    rows: list[Row] = field(factory=list)
    sections: list[Section] = field(factory=list)

    def row(self, name: str, unit: str, aim: Aim | None = None) -> Row:
        made = Row.of(name, unit, aim)
        self.rows.append(made)
        return made

    def section(self, title: str) -> Section:
        made = Section(title)
        self.sections.append(made)
        return made
