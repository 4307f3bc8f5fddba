"""The page that human output is laid out on: its width, its colours, and the table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from .text import cut, pad, visible, width

_COLOURS = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "cyan": "36",
}
_GAP = "  "
#: No column that may be cut becomes narrower than this.
_NARROWEST = 8
#: Where nothing is cut, such a column is aligned up to here; longer cells push the rest of their line aside.
_ALIGNED = 48


class Page(Struct, frozen=True):
    """Where lines go.

    `width` is None where lines are not cut (anything but a terminal); `now` is seconds since 1970, for ages.
    """

    now: float
    width: int | None = None
    colour: bool = False

    def paint(self, text: str, colour: str | None) -> str:
        if not self.colour or colour is None or not text:
            return text
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


class Column(Struct, frozen=True):
    """`stretch`: may be cut to fit the page, and can still be read at this width; 0 is never cut.

    `spare`: left out of a narrow page, the higher the sooner, before others become unreadable; 0 stays.
    """

    title: str
    right: bool = False
    stretch: int = 0
    spare: int = 0


class Cell(Struct, frozen=True):
    text: str
    colour: str | None = None


def table(page: Page, columns: Sequence[Column], rows: Iterable[Sequence[str | Cell]]) -> list[str]:
    """Aligned lines under a line of titles; every cell is made `visible` here. No rows, no lines.

    A column whose cells are all empty is left out.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    if not cells:
        return []
    used = [i for i in range(len(columns)) if any(row[i].text for row in cells)]
    natural = {i: max(width(columns[i].title), *(width(row[i].text) for row in cells)) for i in used}
    used = _spared(used, columns, natural, page.width)
    columns = [columns[i] for i in used]
    cells = [[row[i] for i in used] for row in cells]
    widths = [natural[i] for i in used]
    if page.width is None:
        widths = [min(wide, _ALIGNED) if column.stretch else wide for wide, column in zip(widths, columns, strict=True)]
    else:
        _shrink(widths, columns, page.width - len(_GAP) * (len(columns) - 1))
    titles = [Cell(column.title, "dim") for column in columns]
    return [_line(page, columns, widths, row) for row in (titles, *cells)]


def facts(page: Page, pairs: Iterable[tuple[str, str | Cell]]) -> list[str]:
    """`label  value` lines, the values aligned and made `visible`; not cut."""
    rows = [(label, _cell(value)) for label, value in pairs]
    room = max((width(label) for label, _ in rows), default=0)
    return [f"{page.paint(pad(label, room), 'dim')}{_GAP}{page.paint(cell.text, cell.colour)}" for label, cell in rows]


def _cell(value: str | Cell) -> Cell:
    if isinstance(value, str):
        return Cell(visible(value))
    return Cell(visible(value.text), value.colour)


def _spared(
    used: Sequence[int], columns: Sequence[Column], natural: Mapping[int, int], page_width: int | None
) -> list[int]:
    """The columns that stay, so that those which are cut keep a readable width."""
    kept = list(used)
    while page_width is not None:
        wanted = sum(min(natural[i], columns[i].stretch) if columns[i].stretch else natural[i] for i in kept)
        spare = [i for i in kept if columns[i].spare]
        if not spare or wanted + len(_GAP) * (len(kept) - 1) <= page_width:
            break
        kept.remove(max(spare, key=lambda i: columns[i].spare))
    return kept


def _shrink(widths: list[int], columns: Sequence[Column], room: int) -> None:
    """Narrow the columns that may be cut until the line fits: first to what can be read, then to the least."""
    stretchable = [i for i, column in enumerate(columns) if column.stretch]
    for least in ({i: columns[i].stretch for i in stretchable}, dict.fromkeys(stretchable, _NARROWEST)):
        while sum(widths) > room:
            widest = max(stretchable, key=lambda i: widths[i] - least[i], default=None)
            if widest is None or widths[widest] <= least[widest]:
                break
            widths[widest] -= 1


def _line(page: Page, columns: Sequence[Column], widths: Sequence[int], row: Sequence[Cell]) -> str:
    last = len(row) - 1
    parts = []
    for i, (column, columns_wide, cell) in enumerate(zip(columns, widths, row, strict=True)):
        text = cell.text if page.width is None else cut(cell.text, columns_wide)
        filled = text if i == last and not column.right else pad(text, columns_wide, right=column.right)
        parts.append(page.paint(filled, cell.colour))
    return _GAP.join(parts).rstrip()
