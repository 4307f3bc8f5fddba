"""Downloads: the queue, the sources of one, and the lines of a watch without a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from napd.wire.documents import Download, DownloadsDocument, SourcesDocument

from ..page import Cell, Column, Page, table
from ..text import clock_text, percent_text, rate_text, size_text, visible

ENDED = frozenset({"done", "failed", "cancelled"})

STATE_COLOURS = {
    "active": "green",
    "queued": None,
    "waiting": "yellow",
    "paused": "blue",
    "done": "cyan",
    "failed": "red",
    "cancelled": "dim",
}
_PRIORITY_COLOURS = {"urgent": "red", "high": "yellow", "low": "dim"}

#: Failures explained below the queue.
_EXPLAINED = 10

_QUEUE = (
    Column("ID", right=True),
    Column("POS", right=True),
    Column("STATE"),
    Column("PRIORITY", spare=3),
    Column("DONE", right=True),
    Column("SIZE", right=True),
    Column("RATE", right=True, spare=1),
    Column("ETA", right=True, spare=2),
    Column("SOURCES", right=True, spare=4),
    Column("NAME", stretch=18),
    Column("NOTE", stretch=12),
)

_SOURCES = (
    Column("USER"),
    Column("STATE"),
    Column("RATE", right=True),
    Column("RTT", right=True),
    Column("PLACE", right=True),
    Column("PEER", stretch=12, spare=1),
    Column("WHY"),
)


def queue(document: DownloadsDocument, page: Page) -> list[str]:
    """Where lines are cut, the reasons of failures follow below the table, in full."""
    cramped = page.width is not None
    lines = table(page, _QUEUE, (_queue_row(row, cramped=cramped) for row in document.downloads))
    failures = [row for row in document.downloads if cramped and row.error is not None]
    for row in failures[:_EXPLAINED]:
        message = row.error.message if row.error is not None else ""
        lines.append(page.paint(f"{row.id} {row.state}: {visible(message)}", "red"))
    if len(failures) > _EXPLAINED:
        lines.append(page.paint(f"and {len(failures) - _EXPLAINED:,} more", "dim"))
    return lines


def _queue_row(download: Download, *, cramped: bool) -> list[str | Cell]:
    remark = Cell(download.error.code, "red") if cramped and download.error is not None else note(download)
    running = download.state == "active"
    return [
        str(download.id),
        "" if download.position is None else str(download.position),
        Cell(download.state, STATE_COLOURS.get(download.state)),
        Cell(download.priority, _PRIORITY_COLOURS.get(download.priority)),
        percent_text(download.bytes_done, download.size),
        size_text(download.size),
        rate_text(download.bytes_per_s) if running else "",
        clock_text(download.eta_s) if running else "",
        "" if download.state in ENDED else str(download.sources),
        download.name,
        remark,
    ]


def note(download: Download) -> Cell:
    """What a person wants to know next: why it failed, where it went, what it waits for."""
    if download.error is not None:
        return Cell(download.error.message, "red")
    if download.state == "done" and download.path is not None:
        return Cell(download.path)
    if download.state == "waiting":
        return Cell("no source", "yellow")
    return Cell("")


def sources(document: SourcesDocument, page: Page) -> list[str]:
    return table(
        page,
        _SOURCES,
        (
            [
                row.user,
                Cell(row.state, "green" if row.state == "active" else None),
                rate_text(row.bytes_per_s),
                "" if row.rtt_ms is None else _milliseconds(row.rtt_ms),
                "" if row.queue_position is None else str(row.queue_position),
                row.peer,
                row.why,
            ]
            for row in document.sources
        ),
    )


def _milliseconds(ms: float) -> str:
    return f"{ms:.1f} ms" if ms < 10 else f"{ms:.0f} ms"


class Changes:
    """Turns the documents of a watch into one line per change worth a line: a state, a tenth of the whole."""

    def __init__(self) -> None:
        self._said: dict[int, tuple[str, int]] = {}

    def lines(self, downloads: Iterable[Download]) -> list[str]:
        lines = []
        for download in downloads:
            tenths = download.bytes_done * 10 // download.size if download.state == "active" and download.size else 0
            now = (download.state, tenths)
            if self._said.get(download.id) == now:
                continue
            self._said[download.id] = now
            lines.append(change_line(download))
        return lines


def change_line(download: Download) -> str:
    parts = [f"{download.id}", download.state]
    if download.state not in ENDED or download.state == "failed":
        parts.append(percent_text(download.bytes_done, download.size))
    if download.state == "active":
        parts.append(rate_text(download.bytes_per_s))
    parts.append(visible(download.name))
    remark = note(download).text
    if remark:
        parts.append(f"({visible(remark)})")
    return "  ".join(parts)
