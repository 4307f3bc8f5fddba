"""Who may have what: one rule, asked before any disk or slot is touched. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ...model import EVERYONE
from ...wire.ticket import Claims


def may_fetch(claims: Claims, audiences: Iterable[Iterable[str]]) -> bool:
    """Whether somebody with these claims may have a content, given its listings' audiences.

    One listing that is open to the asker is enough. No listing and no permission give the same answer.
    """
    mine = {EVERYONE, f"@{claims.account}", *claims.groups}
    return any(not mine.isdisjoint(audience) for audience in audiences)
