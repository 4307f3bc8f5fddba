"""What must be so, at every moment or at the end. Each check says what is wrong, or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from napd.content.digest import GROUP_CHUNKS
from napd.model import DownloadState
from napd.ops.events import Event
from napd.peer.files.partial import PARTIAL_DIRECTORY
from tests.simulation.contents import by_id
from tests.simulation.index import SimIndex
from tests.simulation.peers import SimPeer
from tests.simulation.processes import descriptors_in


def at_any_time(peer: SimPeer) -> Iterator[str]:
    """For a process that runs, between two events."""
    downloads = peer.downloads
    queue = downloads.queue
    active = queue.counts()[DownloadState.ACTIVE]
    if active > downloads.limit:
        yield f"{active} downloads are active, the limit is {downloads.limit}"
    for fault in peer.faults:
        yield f"a fault: {fault}"
    for item in queue:
        if item.state is DownloadState.FAILED:
            yield f"download {item.id} failed although no disk did: {item.error}"
        if item.size is not None and not 0 <= item.bytes_done <= item.size:
            yield f"download {item.id} has {item.bytes_done} of {item.size} bytes"


def out_of_order(peer: SimPeer) -> frozenset[int]:
    """Downloads that should run and do not, or the other way round; for a moment that is so after every command."""
    plan = peer.downloads.queue.schedule(peer.downloads.limit)
    return frozenset(item.id for item in (*plan.start, *plan.displace))


def finished(event: Event, peer: SimPeer) -> Iterator[str]:
    """When `download.finished` is said, the file is there and is the content."""
    item = peer.downloads.queue.get(event.fields["download"])
    if item.state is not DownloadState.DONE or item.path is None:
        yield f"download {item.id} was called finished and is {item.state.value}"
        return
    if Path(item.path).read_bytes() != by_id()[item.content].data:
        yield f"download {item.id} was called finished and its file is another: {item.path}"


def not_asked_again(journal: sqlite3.Connection, content: str, first: int, count: int) -> str | None:
    """No chunk that the journal has is asked for."""
    rows = journal.execute(
        "SELECT number, have FROM flushed_group JOIN download ON id=download WHERE content=?"
        " AND state NOT IN ('done', 'cancelled', 'failed')",
        (content,),
    )
    have = dict(rows.fetchall())
    for chunk in range(first, first + count):
        group, at = divmod(chunk, GROUP_CHUNKS)
        bits = have.get(group)
        if bits is not None and at // 8 < len(bits) and bits[at // 8] >> (at % 8) & 1:
            return f"chunk {chunk} of {content[:12]} is journalled and was asked for again"
    return None


def at_rest(peer: SimPeer, deleted: set[int]) -> Iterator[str]:
    """Long after the last transfer. `deleted`: downloads whose files a person has removed."""
    uploads = peer.uploads
    if rows := uploads.rows():
        yield f"uploads are left: {rows}"
    for item in peer.downloads.queue:
        if not item.state.ended:
            yield f"download {item.id} is {item.state.value}"
        if item.state is DownloadState.DONE and item.id not in deleted:
            yield from _is_saved(item.path, item.content, item.id)
    yield from _no_partial_data(peer)
    yield from nothing_open(peer)


def index_knows(index: SimIndex, peers: Sequence[SimPeer]) -> Iterator[str]:
    """What the index says of each peer is what the peer offers, and nobody has parts of anything any more."""
    presence = index.services.presence
    for peer in peers:
        online = presence.by_user(peer.user)
        if online is None:
            yield f"the index does not know that {peer.user} is online"
        elif not online.addresses:
            yield f"the index does not know where {peer.user} is"
        elif online.listings != len(peer.library.files):
            yield f"the index knows {online.listings} files of {peer.user}, who has {len(peer.library.files)}"


def _is_saved(path: str | None, content: str, number: int) -> Iterator[str]:
    if path is None or not Path(path).exists():
        yield f"download {number} is done and has no file ({path})"
    elif Path(path).read_bytes() != by_id()[content].data:  # type: ignore[index]
        yield f"download {number} is done and its file is another ({path})"


def _no_partial_data(peer: SimPeer) -> Iterator[str]:
    left = [str(path) for path in peer.directory.rglob(f"{PARTIAL_DIRECTORY}/*")]
    if left:
        yield f"partial data is left: {left}"


def nothing_open(peer: SimPeer) -> Iterator[str]:
    if left := descriptors_in(peer.directory):
        yield f"descriptors are left: {left}"


def after_the_end(peer: SimPeer) -> Iterator[str]:
    """The process has stopped in good order: it waits for nothing and holds nothing."""
    if calls := peer.world.pending(peer.process):
        yield f"timers are left: {[f'{call.func} in {call.time - peer.world.seconds():.1f} s' for call in calls]}"
    if wires := peer.network.wires_of(peer.process):
        yield f"connections are left: to {[wire.other.host.name for wire in wires]}"
    yield from nothing_open(peer)
    if peer.faults:
        yield f"faults: {peer.faults}"
