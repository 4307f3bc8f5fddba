"""What is wished for, and what was found."""

from __future__ import annotations

from napd.wire.documents import FindsDocument, WishesDocument, WishRow

from ..page import Cell, Column, Page, table
from ..text import age_text, size_text

_WISHES = (
    Column("ID", right=True),
    Column("STATE"),
    Column("FOUND", right=True),
    Column("LAST", right=True),
    Column("GET", spare=1),
    Column("WISH", stretch=32),
    Column("NOTE", stretch=24),
)
_FINDS = (
    Column("WISH", right=True),
    Column("AGE", right=True),
    Column("SIZE", right=True),
    Column("NAME", stretch=32),
    Column("DOWNLOAD", right=True, spare=1),
    Column("CONTENT", stretch=12),
)
_STATE_COLOURS = {"standing": "green", "searched": "yellow", "offline": "dim", "refused": "red"}


def wishes(document: WishesDocument, page: Page) -> list[str]:
    return table(
        page,
        _WISHES,
        (
            [
                Cell(str(row.id), "bold"),
                Cell(row.state, _STATE_COLOURS.get(row.state)),
                f"{row.found:,}",
                age_text(row.last, page.now) if row.last else "",
                "yes" if row.get else "",
                wish_text(row),
                Cell(row.error.message, "red") if row.error else "",
            ]
            for row in document.wishes
        ),
    )


def wish_text(row: WishRow) -> str:
    """As it would be typed: the words, then the filters."""
    parts = [row.query]
    parts += [f"--ext {extension}" for extension in row.ext]
    if row.type is not None:
        parts.append(f"--type {row.type}")
    if row.min_size is not None:
        parts.append(f"--min-size {row.min_size}")
    if row.max_size is not None:
        parts.append(f"--max-size {row.max_size}")
    if row.min_bitrate is not None:
        parts.append(f"--min-bitrate {row.min_bitrate}")
    if row.user is not None:
        parts.append(f"--user {row.user}")
    return " ".join(parts)


def finds(document: FindsDocument, page: Page) -> list[str]:
    return table(
        page,
        _FINDS,
        (
            [
                str(row.wish),
                age_text(row.time, page.now),
                size_text(row.size),
                row.name,
                "" if row.download is None else str(row.download),
                row.content,
            ]
            for row in document.finds
        ),
    )
