"""Progress bars of downloads on a terminal. The only module that imports rich; loaded when a display is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from napd.wire.documents import Download

from .text import clock_text, cut, percent_text, rate_text, size_text, visible
from .views.downloads import ENDED, STATE_COLOURS

#: Below so many columns a row keeps only its name, per cent and rate.
_NARROW_COLUMNS = 64
_LEAST_BAR, _MOST_BAR = 8, 40
#: Columns that a wide row needs beside its name and bar.
_FIGURES_COLUMNS = 50
_MOVING, _FINISHED = "green", "cyan"
#: Which rows are shown when there are more than fit: those that move, then those that could.
_INTEREST = {"active": 0, "failed": 1, "waiting": 2, "queued": 3, "paused": 4, "cancelled": 5, "done": 6}


class Bars:
    """A context manager; shows the last document it was given.

    :param transient: the bars vanish at the end, because the result is printed then.
    """

    def __init__(self, stream: TextIO, environ: Mapping[str, str], *, transient: bool) -> None:
        self._console = Console(
            file=stream,
            force_terminal=True,
            # No colour system, no styles at all: dim and bold count as colour to those who set NO_COLOR.
            color_system=None if environ.get("NO_COLOR") else "auto",
            markup=False,
            emoji=False,
            highlight=False,
            _environ=environ,
        )
        self._live = Live(console=self._console, auto_refresh=False, transient=transient)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def update(self, downloads: Sequence[Download]) -> None:
        size = self._console.size
        self._live.update(bars(downloads, size.width, size.height), refresh=True)


def bars(downloads: Sequence[Download], columns: int, lines: int) -> RenderableType:
    """One row per download, as many as fit, and a total if there are several."""
    room = max(1, lines - 3)
    shown = downloads
    if len(downloads) > room:
        shown = sorted(downloads, key=lambda row: _INTEREST.get(row.state, 9))[:room]
    narrow = columns < _NARROW_COLUMNS
    bar = min(_MOST_BAR, max(_LEAST_BAR, (columns - _FIGURES_COLUMNS) // 2))
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(ratio=1, no_wrap=True)
    if not narrow:
        grid.add_column(width=bar)
    grid.add_column(justify="right", no_wrap=True)
    if not narrow:
        grid.add_column(justify="right", no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    if not narrow:
        grid.add_column(justify="right", no_wrap=True)
        grid.add_column(justify="right", no_wrap=True)
    name_room = columns - (bar + _FIGURES_COLUMNS if not narrow else 20)
    for download in shown:
        grid.add_row(*_row(download, bar, max(6, name_room), narrow=narrow))
    if len(downloads) > 1:
        grid.add_row(*_total(downloads, len(shown), bar, narrow=narrow))
    return grid


def _row(download: Download, bar: int, name_room: int, *, narrow: bool) -> list[RenderableType]:
    style = STATE_COLOURS.get(download.state) or ""
    name = Text(cut(f"{download.id} {visible(download.name)}", name_room))
    percent = Text(percent_text(download.bytes_done, download.size), style=style)
    running = download.state == "active"
    pace = Text(rate_text(download.bytes_per_s) if running else download.state, style="" if running else style)
    if narrow:
        return [name, percent, pace]
    amount = Text(f"{size_text(download.bytes_done)} of {size_text(download.size)}", style="dim")
    eta = Text(clock_text(download.eta_s) if running else "")
    sources = Text("" if download.state in ENDED else f"{download.sources} src", style="dim")
    done = _bar(download.size or 1, _completed(download), bar)
    return [name, done, percent, amount, pace, eta, sources]


def _bar(total: int, completed: int, width: int) -> ProgressBar:
    return ProgressBar(total=total, completed=completed, width=width, complete_style=_MOVING, finished_style=_FINISHED)


def _completed(download: Download) -> int:
    return 1 if download.size == 0 and download.state == "done" else download.bytes_done


def _total(downloads: Sequence[Download], shown: int, bar: int, *, narrow: bool) -> list[RenderableType]:
    known = [row for row in downloads if row.size is not None]
    size = sum(row.size or 0 for row in known)
    done = sum(row.bytes_done for row in known)
    rate = sum(row.bytes_per_s for row in downloads if row.state == "active")
    ended = sum(row.state in ENDED for row in downloads)
    hidden = f", {len(downloads) - shown} not shown" if shown < len(downloads) else ""
    name = Text(f"{ended} of {len(downloads)} ended{hidden}", style="bold")
    percent = Text(percent_text(done, size), style="bold")
    pace = Text(rate_text(rate), style="bold")
    if narrow:
        return [name, percent, pace]
    amount = Text(f"{size_text(done)} of {size_text(size)}", style="dim")
    eta = Text(clock_text((size - done) / rate) if rate >= 1 and done < size else "")
    return [
        name,
        _bar(size or 1, done if size else 1, bar),
        percent,
        amount,
        pace,
        eta,
        Text(""),
    ]
