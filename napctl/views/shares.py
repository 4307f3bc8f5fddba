"""What is shared, what is left out of it and why."""

from __future__ import annotations

from napd.wire.documents import CheckDocument, ShareRow, SharesDocument

from ..page import Cell, Column, Page, facts, table
from ..text import count_text, size_text, visible

_COLUMNS = (
    Column("NAME", stretch=12),
    Column("STATE"),
    Column("FILES", right=True),
    Column("SIZE", right=True),
    Column("HASHING", right=True, spare=2),
    Column("SKIPPED", right=True),
    Column("AUDIENCE", spare=1),
    Column("DIRECTORY", stretch=20),
)
_STATE_COLOURS = {"ok": "green", "scanning": "blue", "unavailable": "red"}
#: Skipped files shown for each share; --json has up to 100.
_SHOWN_SKIPPED = 10


def shares(document: SharesDocument, page: Page) -> list[str]:
    lines = table(
        page,
        _COLUMNS,
        (
            [
                Cell(row.name, "bold"),
                Cell(row.state, _STATE_COLOURS.get(row.state)),
                f"{row.listings:,}",
                size_text(row.bytes),
                f"{row.hashing:,}" if row.hashing else "",
                f"{_skipped(row):,}" if _skipped(row) else "",
                " ".join(row.audience),
                row.directory,
            ]
            for row in document.shares
        ),
    )
    for row in document.shares:
        lines.extend(_skipped_lines(row, page))
    return lines


def _skipped(row: ShareRow) -> int:
    return max(row.skipped_count, len(row.skipped))


def _skipped_lines(row: ShareRow, page: Page) -> list[str]:
    if not row.skipped:
        return []
    lines = ["", f"{visible(row.name)}: {count_text(_skipped(row), 'file')} skipped"]
    lines += [
        f"  {visible(file.path)}  {page.paint(visible(file.reason), 'dim')}" for file in row.skipped[:_SHOWN_SKIPPED]
    ]
    more = _skipped(row) - min(len(row.skipped), _SHOWN_SKIPPED)
    if more:
        lines.append(page.paint(f"  and {more:,} more", "dim"))
    return lines


def check(document: CheckDocument, page: Page) -> list[str]:
    verdict = Cell("yes", "green") if document.shared else Cell("no", "red")
    pairs: list[tuple[str, str | Cell]] = [("path", document.path), ("shared", verdict)]
    if document.share is not None:
        pairs.append(("share", document.share))
    if document.reason is not None:
        pairs.append(("because", document.reason))
    if document.size is not None:
        pairs.append(("size", size_text(document.size)))
    if document.content is not None:
        pairs.append(("content", document.content))
    return facts(page, pairs)
