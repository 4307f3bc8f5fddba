"""The nouns: values that every part of the system shares. Pure, no behaviour beyond their own.

Ids travel and live as text: one form in logs, JSON, SQL and memory, compared as they are.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NewType

#: A content's name: 64 lower-case hex digits (`napd.content.digest.content_id`).
ContentId = NewType("ContentId", str)

#: A daemon's name: 52 characters of base32, the hash of its public key (`napd.net.identity`).
PeerId = NewType("PeerId", str)

#: Stands in every audience that has no restriction.
EVERYONE = "everyone"


class Priority(StrEnum):
    """How soon a download runs; the order of the members is the order of the queue."""

    URGENT = "urgent"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for the most urgent: what the queue sorts by."""
        return _RANKS[self]


_RANKS = {priority: rank for rank, priority in enumerate(Priority)}


class DownloadState(StrEnum):
    """Where a download stands (docs/explanation/downloads.md has the diagram)."""

    QUEUED = "queued"
    ACTIVE = "active"
    WAITING = "waiting"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in _ENDED


_ENDED = frozenset({DownloadState.DONE, DownloadState.FAILED, DownloadState.CANCELLED})
