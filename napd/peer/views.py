"""What people and scripts are shown of downloads and their sources: domain values to documents."""

from __future__ import annotations

import os
from collections.abc import Iterable

from ..model import DownloadState
from ..ops.events import rfc3339
from ..wire import documents
from .downloads import Downloads
from .lane import Lane
from .queue import Item
from .sources import Source, SourcePool, SourceState

_BAN_WORDS = {
    "integrity": "it sent bytes that are not this content; it is not asked for it again for an hour",
    "gone": "it said that it does not have it any more",
    "busy": "it was too busy",
    "refused": "it refused the request",
}


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


def source_rows(downloads: Downloads, pool: SourcePool, item: Item, now: float) -> list[documents.SourceRow]:
    """Every holder, the best at work first; `now` on the clock's scale."""
    running = downloads.running(item)
    lanes = {} if running is None else running.lanes
    found = downloads.holders(item)
    rows = []
    told = set()
    for holder in () if found is None else found.holders:
        told.add(holder.peer)
        lane = lanes.get(holder.peer)
        source = pool.source(holder.peer)
        state, why = _state(item, lane, source, downloads.ban_code(item, holder.peer), bool(holder.addresses), now)
        rows.append(_source_row(holder.user, holder.peer, state, why, lane, source, now))
    for peer, lane in lanes.items():
        if peer not in told:
            why = "it serves this download, though the index does not list it now"
            rows.append(_source_row(lane.source.user, peer, "active", why, lane, lane.source, now))
    return sorted(rows, key=lambda row: (-row.bytes_per_s, row.user))


def _source_row(
    user: str, peer: str, state: str, why: str, lane: Lane | None, source: Source | None, now: float
) -> documents.SourceRow:
    rtt = None if source is None or source.rtt_s is None else round(source.rtt_s * 1000, 2)
    rate = 0.0 if lane is None else round(lane.meter.per_s(now), 1)
    position, estimate = _place(lane)
    return documents.SourceRow(user, peer, state, rate, rtt, position, why, estimate)


def _place(lane: Lane | None) -> tuple[int | None, float | None]:
    """In the source's queue, and for about how many seconds yet."""
    if lane is None or lane.position is None or lane.source.session is None:
        return None, None
    estimate = lane.source.session.estimate_s(lane.content)
    return lane.position, None if estimate is None else round(estimate, 1)


def _state(
    item: Item, lane: Lane | None, source: Source | None, ban: str | None, has_address: bool, now: float
) -> tuple[str, str]:
    """The state's word, and why it is so."""
    if ban is not None:
        return "banned", _BAN_WORDS.get(ban, f"it failed: {ban}")
    if lane is not None and lane.position is not None:
        _, estimate = _place(lane)
        about = "" if estimate is None else f", for about {estimate:.0f} s"
        return "queued", f"all its upload slots are taken; our place is {lane.position}{about}"
    if lane is not None and lane.partial:
        there = f"it is fetching it too and has {lane.parts} chunks of it"
        return "active", f"{there}; {lane.in_flight} asked for, {lane.served} received"
    if lane is not None:
        return "active", f"{lane.in_flight} chunks asked for, {lane.served} received"
    if item.state.ended:
        return "idle", f"the download is {item.state.value}"
    if item.state is not DownloadState.ACTIVE:
        return "idle", f"the download is {item.state.value} and asks nobody"
    if not has_address:
        return "unreachable", "others cannot reach it: no address of its could be proved"
    if source is None:
        return "idle", "it has not been asked yet"
    if source.state is SourceState.BACKING_OFF:
        why = "" if source.failure is None else f": {source.failure.message}"
        return "backing_off", f"tried again in {max(0.0, source.retry_at - now):.0f} s{why}"
    return source.state.value, _STATE_WORDS.get(source.state, "it has not been asked yet")


_STATE_WORDS = {
    SourceState.CONNECTING: "the connection is being made",
    SourceState.UNREACHABLE: "it has no address that works",
    SourceState.READY: "connected; nothing left to ask of it",
}
