"""Who is there: users, uploads, and who we are."""

from __future__ import annotations

from napd.wire.documents import UploadRow, UploadsDocument, UsersDocument, WhoamiDocument

from ..page import Cell, Column, Page, facts, table
from ..text import age_text, rate_text, size_text, span_text

_USERS = (
    Column("USER"),
    Column("FILES", right=True),
    Column("SIZE", right=True),
    Column("ONLINE", right=True),
    Column("PEER", stretch=12, spare=1),
)
_UPLOADS = (
    Column("USER"),
    Column("STATE"),
    Column("PLACE", right=True),
    Column("NAME", stretch=24),
    Column("SENT", right=True),
    Column("RATE", right=True),
    Column("CONTENT", stretch=12, spare=1),
)


def users(document: UsersDocument, page: Page) -> list[str]:
    return table(
        page,
        _USERS,
        (
            [row.user, f"{row.listings:,}", size_text(row.bytes), age_text(row.since, page.now), row.peer]
            for row in document.users
        ),
    )


def uploads(document: UploadsDocument, page: Page) -> list[str]:
    return table(
        page,
        _UPLOADS,
        (
            [
                row.user,
                Cell(row.state, "green" if row.state == "active" else None),
                "" if row.position is None else str(row.position),
                row.name,
                size_text(row.bytes_sent),
                _rate_or_wait(row),
                row.content,
            ]
            for row in document.uploads
        ),
    )


def _rate_or_wait(row: UploadRow) -> str:
    if row.state == "active":
        return rate_text(row.bytes_per_s)
    return "" if row.estimate_s is None else f"in {span_text(row.estimate_s)}"


def whoami(document: WhoamiDocument, page: Page) -> list[str]:
    return facts(
        page,
        [
            ("user", Cell(document.user, "bold")),
            ("peer", document.peer),
            ("index", document.index or "not known yet"),
            ("groups", " ".join(document.groups) or "none"),
        ],
    )
