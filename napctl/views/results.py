"""Search results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from napd.wire.documents import SearchDocument

from ..page import Cell, Column, Page, table
from ..text import clock_text, count_text, size_text, visible

_COLUMNS = (
    Column("#", right=True),
    Column("SIZE", right=True),
    Column("SOURCES", right=True),
    Column("NAME", stretch=36),
    Column("MEDIA", spare=2),
    Column("FOLDER", stretch=16, spare=1),
    Column("USERS", stretch=10, spare=3),
)
#: Users named before the rest is counted.
_NAMED_USERS = 2


def results(document: SearchDocument, page: Page) -> list[str]:
    return table(
        page,
        _COLUMNS,
        (
            [
                Cell(str(row.n), "bold"),
                size_text(row.size),
                Cell(str(row.sources), "green" if row.sources > 1 else None),
                row.name,
                media_text(row.media),
                row.folder or "",
                users_text(row.users),
            ]
            for row in document.results
        ),
    )


def media_text(media: Mapping[str, float]) -> str:
    """`3:45 256k`, `1920x1080`: what is known."""
    parts = []
    if "duration_s" in media:
        parts.append(clock_text(media["duration_s"]))
    if "bitrate_kbps" in media:
        parts.append(f"{media['bitrate_kbps']:.0f}k")
    if "width" in media and "height" in media:
        parts.append(f"{media['width']:.0f}x{media['height']:.0f}")
    return " ".join(parts)


def users_text(users: Sequence[str]) -> str:
    more = len(users) - _NAMED_USERS
    return " ".join(users[:_NAMED_USERS]) + (f" +{more}" if more > 0 else "")


def summary(document: SearchDocument) -> str:
    """The line below the results: how many, how fast, how to get more."""
    if document.reason is not None:
        return f"Nothing can match: {visible(document.reason)}."
    took = f"{document.took_ms:.1f} ms"
    if not document.results:
        return f"No results from others in {took} (your own files are not shown)."
    found = f"{count_text(len(document.results), 'result')} in {took}"
    if document.next is not None:
        return f"{found}; the next ones with --page {visible(document.next)}"
    return f"{found}{', the list was cut' if document.truncated else ''}."
