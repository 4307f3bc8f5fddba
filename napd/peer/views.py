"""What people and scripts are shown of downloads: domain values to documents."""

from __future__ import annotations

import os
from collections.abc import Iterable

from ..model import DownloadState
from ..ops.events import rfc3339
from ..wire import documents
from .fetch.downloads import Downloads
from .item import Item


def download_documents(downloads: Downloads, items: Iterable[Item], now: float) -> list[documents.Download]:
    positions = downloads.queue.positions()
    return [_download(downloads, item, positions.get(item.id), now) for item in items]


def _download(downloads: Downloads, item: Item, position: int | None, now: float) -> documents.Download:
    running = downloads.running(item)
    found = downloads.holders(item)
    rate = 0.0 if running is None else running.bytes_per_s()
    left = None if item.size is None else item.size - item.bytes_done
    eta = left / rate if left is not None and rate > 0 and item.state is DownloadState.ACTIVE else None
    return documents.Download(
        id=item.id,
        content=item.content,
        name=item.name,
        size=item.size,
        state=item.state.value,
        priority=item.priority.value,
        position=None if item.state.ended else position,
        bytes_done=item.bytes_done,
        bytes_received=item.bytes_received,
        bytes_per_s=round(rate, 1),
        eta_s=None if eta is None else round(eta, 1),
        sources=0 if found is None or item.state.ended else len(found.holders),
        path=None if item.path is None else shown_path(item.path),
        error=item.error,
        added=rfc3339(item.added),
        finished=None if item.finished is None else rfc3339(item.finished),
        sequential=item.sequential,
    )


def shown_path(path: str) -> str:
    """A path as JSON can carry it: bytes that are not UTF-8 become U+FFFD."""
    return os.fsencode(path).decode("utf-8", "replace")
