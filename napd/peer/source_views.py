"""What people and scripts are shown of a download's sources: what each gives, why it is used or not, what is next."""

from __future__ import annotations

from attrs import evolve, frozen

from ..model import DownloadState, PeerId
from ..wire import documents
from .fetch.downloads import Downloads
from .fetch.lane import Lane
from .fetch.retries import LAST_RETRY_S
from .item import Item
from .sources.addresses import LAST_BACK_OFF_S
from .sources.pool import SourcePool
from .sources.scoring import Score, score
from .sources.source import Source, SourceState
from .sources.standings import longest_ban_s

_BAN_WORDS = {
    "integrity": "it sent bytes that are not this content",
    "gone": "it said that it does not have it any more",
    "busy": "it was too busy",
    "refused": "it refused the request",
}
_STATE_WORDS = {
    SourceState.CONNECTING: "the connection is being made",
    SourceState.UNREACHABLE: "it has no address that works",
    SourceState.READY: "connected; nothing left to ask of it",
}


@frozen
class _Told:
    """A state's word, why it is so, and when that changes."""

    state: str
    why: str
    retry_in_s: float | None = None
    longest_wait_s: float | None = None


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
        state = _state(downloads, pool, item, holder.peer, lane, bool(holder.addresses), now)
        rows.append(_row(pool, holder.user, holder.peer, state, lane, now))
    for peer, lane in lanes.items():
        if peer not in told:
            state = _Told("active", "it serves this download, though the index does not list it now")
            rows.append(_row(pool, lane.source.user, peer, state, lane, now))
    return sorted(rows, key=lambda row: (-row.bytes_per_s, -(row.score.bytes_per_s if row.score else 0.0), row.user))


def _row(pool: SourcePool, user: str, peer: PeerId, told: _Told, lane: Lane | None, now: float) -> documents.SourceRow:
    source = pool.source(peer)
    rtt_s = None if source is None else source.rtt_s
    place = None if lane is None else lane.position
    estimate_s = None if lane is None else lane.estimate_s
    expected = score(evolve(pool.facts(peer), queue_position=place, queue_s=estimate_s))
    return documents.SourceRow(
        user=user,
        peer=peer,
        state=told.state,
        bytes_per_s=0.0 if lane is None else round(lane.meter.per_s(now), 1),
        rtt_ms=None if rtt_s is None else round(rtt_s * 1000, 2),
        queue_position=place,
        why=f"{told.why}; {_expected_words(expected)}",
        queue_estimate_s=None if estimate_s is None else round(estimate_s, 1),
        score=_score(expected),
        retry_in_s=None if told.retry_in_s is None else round(told.retry_in_s, 1),
        longest_wait_s=told.longest_wait_s,
    )


def _score(expected: Score) -> documents.SourceScore:
    return documents.SourceScore(
        bytes_per_s=round(expected.bytes_per_s, 1),
        measured=expected.measured,
        pace_bytes_per_s=round(expected.pace_bytes_per_s, 1),
        rtt_ms=round(expected.rtt_s * 1000, 2),
        queue_s=round(expected.queue_s, 1),
        reliability=round(expected.reliability, 4),
    )


def _expected_words(expected: Score) -> str:
    """The parts of the score, in words."""
    if not expected.measured:
        return "not measured yet"
    parts = [f"pace {expected.pace_bytes_per_s / 1e6:.1f} MB/s", f"{expected.rtt_s * 1000:.0f} ms away"]
    if expected.queue_s:
        parts.append(f"{expected.queue_s:.0f} s in its queue")
    parts.append(f"{expected.reliability * 100:.0f} % reliable")
    return f"expected to give {expected.bytes_per_s / 1e6:.1f} MB/s ({', '.join(parts)})"


def _state(
    downloads: Downloads, pool: SourcePool, item: Item, peer: PeerId, lane: Lane | None, has_address: bool, now: float
) -> _Told:
    ban = downloads.ban_code(item, peer)
    if ban is not None:
        return _banned(downloads, item, peer, ban)
    if lane is not None:
        return _at_work(downloads, item, lane)
    if item.state is not DownloadState.ACTIVE:
        return _idle(downloads, item)
    if not has_address:
        return _Told("unreachable", "others cannot reach it: no address of its could be proved")
    return _not_at_work(pool, item, pool.source(peer), now)


def _banned(downloads: Downloads, item: Item, peer: PeerId, code: str) -> _Told:
    left = downloads.ban_left_s(item, peer)
    longest = longest_ban_s(code)
    words = _BAN_WORDS.get(code, f"it failed: {code}")
    sooner = ", sooner if nobody else is left" if code == "integrity" else ""
    why = f"{words}; it is not asked for it for {left:.0f} s more (at most {longest:.0f} s{sooner})"
    return _Told("banned", why, left, longest)


def _at_work(downloads: Downloads, item: Item, lane: Lane) -> _Told:
    session = lane.source.session
    if lane.position is not None:
        about = "" if lane.estimate_s is None else f", for about {lane.estimate_s:.0f} s"
        return _Told("queued", f"all its upload slots are taken; our place is {lane.position}{about}")
    why = f"it is fetching it too and has {lane.parts} chunks of it; " if lane.partial else ""
    why += f"{lane.in_flight} chunks asked for, {lane.served} received"
    if lane.doubtful and session is not None:
        why += f"; nothing has come for {session.stuck_s:.0f} s, and others are asked"
    if lane.alone:
        why += f"; on parole for {downloads.parole_left(item, lane.source.peer)} good chunks more, one at a time"
    elif lane.crawling:
        why += "; far slower than the best, so one at a time"
    return _Told("active", why)


def _idle(downloads: Downloads, item: Item) -> _Told:
    if item.state.ended:
        return _Told("idle", f"the download is {item.state.value}")
    why = f"the download is {item.state.value} and asks nobody"
    retry_in_s = downloads.retry_in_s(item)
    if retry_in_s is None:
        return _Told("idle", why)
    why += f"; looked at again in {retry_in_s:.0f} s (at most every {LAST_RETRY_S:.0f} s)"
    return _Told("idle", why, retry_in_s, LAST_RETRY_S)


def _not_at_work(pool: SourcePool, item: Item, source: Source | None, now: float) -> _Told:
    if source is None or source.state is SourceState.IDLE:
        return _Told("idle", f"at most {pool.places} are at work at a time, and others were chosen")
    if source.state is SourceState.BACKING_OFF:
        left = max(0.0, source.retry_at - now)
        why = f"tried again in {left:.0f} s (waits grow to {LAST_BACK_OFF_S:.0f} s at most)"
        why += "" if source.failure is None else f": {source.failure.message}"
        return _Told("backing_off", why, left, LAST_BACK_OFF_S)
    if source.state is SourceState.READY and not pool.has_place(source, item.priority.rank):
        return _Told("ready", f"connected; as many downloads as may be ({pool.per_source}) are at work with it")
    return _Told(source.state.value, _STATE_WORDS[source.state])
