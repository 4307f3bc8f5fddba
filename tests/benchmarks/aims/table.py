"""The table of rows and aims for people, and bench-transfer.json for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..report import aligned, figure_document, shown
from .rows import Row

_HEADINGS = ("", "median", "range", "aim", "")


def rows_document(rows: Iterable[Row]) -> list[dict[str, Any]]:
    return [
        {
            **figure_document(row.figure),
            "aim": None if row.aim is None else {"sign": row.aim.sign, "value": row.aim.value},
            "reached": row.reached,
            "skipped": row.skipped,
        }
        for row in rows
    ]


def rows_table(rows: Sequence[Row]) -> str:
    return aligned([_HEADINGS, *map(_cells, rows)])


def _cells(row: Row) -> tuple[str, ...]:
    figure = row.figure
    aim = "" if row.aim is None else f"{row.aim.sign} {row.aim.value:,g} {figure.unit}"
    if row.skipped is not None or not figure.samples:
        return figure.name, "", "", aim, f"skipped: {row.skipped or 'not measured'}"
    verdict = {None: "", True: "reached", False: "short"}[row.reached]
    few = len(figure.samples) == 1
    between = "" if few else f"{shown(figure.low)} – {shown(figure.high)}"
    return figure.name, f"{shown(figure.median)} {figure.unit}", between, aim, verdict
