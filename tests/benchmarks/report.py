"""The table for people and bench.json for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .figures import Figure, Section

SCHEMA = 1
_HEADINGS = ("", "median", "range", "MB/s", "ratio")


def document(
    machine: Mapping[str, object], scale: Mapping[str, object], taken: str, load: float, sections: Iterable[Section]
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "taken": taken,
        "machine": dict(machine),
        "load_before": load,
        "scale": dict(scale),
        "sections": [
            {"title": section.title, "figures": [figure_document(figure) for figure in section.measured()]}
            for section in sections
        ],
    }


def to_json(written: Mapping[str, Any]) -> str:
    return json.dumps(written, indent=2) + "\n"


def table(sections: Iterable[Section]) -> str:
    """Plain text; each section under its title, the columns of all aligned."""
    titled = [(section.title, [_cells(figure) for figure in section.measured()]) for section in sections]
    widths = _widths([_HEADINGS, *(cells for _, section in titled for cells in section)])
    lines = [_line(_HEADINGS, widths)]
    for title, section in titled:
        if section:
            lines += ["", title, *(_line(cells, widths) for cells in section)]
    return "\n".join(lines) + "\n"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """One table: the first and the last column to the left, those between to the right."""
    widths = _widths(rows)
    return "".join(_line(row, widths) + "\n" for row in rows)


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def figure_document(figure: Figure) -> dict[str, Any]:
    return {
        "name": figure.name,
        "unit": figure.unit,
        "median": _rounded(figure.median),
        "low": _rounded(figure.low),
        "high": _rounded(figure.high),
        "mb_per_s": None if figure.rate is None else _rounded(figure.rate),
        "ratios": [{"to": ratio.to, "value": _rounded(ratio.value)} for ratio in figure.ratios],
        "samples": [_rounded(sample) for sample in figure.samples],
    }


def _cells(figure: Figure) -> tuple[str, ...]:
    only_one = len(figure.samples) == 1
    return (
        f"  {figure.name}",
        f"{shown(figure.median)} {figure.unit}",
        "" if only_one else f"{shown(figure.low)} – {shown(figure.high)}",
        "" if figure.rate is None else f"{figure.rate:,.0f}",
        ", ".join(f"{ratio.value:.2f} × {ratio.to}" for ratio in figure.ratios),
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others, last = cells
    right = [cell.rjust(width) for cell, width in zip(others, widths[1:-1], strict=True)]
    return "  ".join([first.ljust(widths[0]), *right, last]).rstrip()


def shown(value: float) -> str:
    """Three digits that count."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(decimals, 3)}f}"


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
