"""A large partial download that is taken up: how long until its first request, and how long the reactor is held."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, fail, succeed

from napd.content.digest import CHUNK_BYTES, chunk_count, chunk_digest
from napd.content.manifest import Manifest, manifest_of
from napd.model import DownloadState, Priority
from napd.ops.database import open_database
from napd.peer.files.disk import Disk
from napd.peer.files.flushed import FlushedChunks
from napd.peer.files.journal import SCHEMA, Journal, database_path
from napd.peer.files.partial import PartialFile
from napd.peer.item import Item
from napd.peer.shares.hashing import Hashed
from napd.peer.shares.ledger import Ledger
from napd.peer.shares.schema import SCHEMA as SHARES_SCHEMA
from napd.peer.shares.service import DATABASE_NAME
from napd.peer.shares.walk import Found
from tests.support.processes import IndexProcess, PeerProcess, Processes
from tests.support.waiting import until

from ..community import PATIENCE_S, TickingPeer, ask
from ..files import MIB
from ..ticking import late_ms
from .rows import Outcome, Row, at_most
from .setting import Setting

#: Of the chunks, so many hundredths are journalled, the first ones and then every second one.
JOURNALLED_TO = 40
SECOND_TO = 60
#: Chunks on the disk that the journal does not know: what a crash may leave.
UNJOURNALLED = 64
NAME = "sparse.bin"
#: Seconds before the job whose lateness is the machine's, and after its first request whose lateness is the job's.
AROUND_S = 1.0


def resume(setting: Setting, folder: Path, said: Callable[[str], None]) -> Outcome:
    outcome = Outcome()
    what = f"{setting.resume_size / MIB / 1024:,.0f} GiB partial download taken up"
    first = outcome.row(f"{what}: time to first request", "s", at_most(1.0))
    held = outcome.row(f"{what}: reactor held at most", "ms", at_most(10))
    idle = outcome.row("the same daemon a second before: reactor held at most", "ms")
    said("resume")
    _Resume(setting, folder, Processes(folder), first, held, idle).run()
    return outcome


@define
class _Resume:
    setting: Setting
    folder: Path
    processes: Processes
    first: Row
    held: Row
    idle: Row

    def run(self) -> None:
        shared = self.folder / "shared" / NAME
        shared.parent.mkdir()
        with shared.open("wb") as file:
            file.truncate(self.setting.resume_size)
        zeros = chunk_digest(bytes(CHUNK_BYTES))
        manifest = manifest_of(self.setting.resume_size, zeros * chunk_count(self.setting.resume_size))
        try:
            index = self.processes.index()
            address = f"{index.address}#{index.id}"
            giver = PeerProcess(self.folder / "giver", index=address, shares=[shared.parent])
            taker = TickingPeer(self.folder / "taker", index=address)
            for peer in (giver, taker):
                # So that its databases are there.
                self.processes.keep(peer, start=True)
                peer.terminate()
            _enter_hash(giver.state, shared, zeros)
            _enter_download(taker, manifest)
            shutil.copy(database_path(taker.state), self.folder / "queue.sqlite")
            giver.start()
            until(lambda: _listed(index), "everything announced", PATIENCE_S)
            for _ in range(self.setting.rounds):
                self._round(giver, taker)
        finally:
            self.processes.stop()

    def _round(self, giver: PeerProcess, taker: TickingPeer) -> None:
        for old in taker.state.glob("queue.sqlite*"):
            old.unlink()
        shutil.copy(self.folder / "queue.sqlite", database_path(taker.state))
        mark = taker.mark()
        taker.start()
        taker.wait_for_event("index.connected", after=mark)
        asked = giver.mark()
        _pass(AROUND_S)
        began = time.monotonic()
        self.idle.add(max(late_ms(taker.ticks, began - AROUND_S, began)))
        ask(taker, "queue.resume", selectors=["all"])
        giver.wait_for_event("upload.started", after=asked, timeout=PATIENCE_S)
        first_s = time.monotonic() - began
        _pass(AROUND_S)
        self.first.add(first_s)
        self.held.add(max(late_ms(taker.ticks, began, time.monotonic())))
        taker.kill()


def _enter_hash(state: Path, shared: Path, zeros: bytes) -> None:
    """The giver's books as they would be after it had hashed the file, without hashing that much nothing."""
    ledger = Ledger(open_database(state / DATABASE_NAME, SHARES_SCHEMA), Random(1))
    now = time.time() + 10
    (share,) = ledger.shares()
    ledger.take(share.id, [Found(b"", NAME.encode(), shared.stat())], [], now)
    while works := ledger.work((0, 1 << 62), 1, now):
        ledger.store([Hashed(work, zeros * work.count, 0, now) for work in works], now)
    ledger.close()


def _enter_download(taker: PeerProcess, manifest: Manifest) -> None:
    """The taker's journal and partial file as a crash may leave them."""
    outline = manifest.outline
    item = Item(
        id=1,
        content=outline.content,
        transfer="0123456789abcdef",
        name=NAME,
        size=outline.size,
        directory=str(taker.downloads),
        priority=Priority.NORMAL,
        place=1,
        added=1.0,
        state=DownloadState.PAUSED,
    )
    flushed = FlushedChunks()
    chunks = outline.chunks
    for chunk in range(chunks * JOURNALLED_TO // 100):
        flushed.add(chunk)
    for chunk in range(chunks * JOURNALLED_TO // 100, chunks * SECOND_TO // 100, 2):
        flushed.add(chunk)
    item.bytes_done = flushed.count(outline.size)
    connection = open_database(database_path(taker.state), SCHEMA)
    journal = Journal(connection, _Here())
    journal.save([item], 2)
    journal.outline(item, outline.group_digests)
    for number, digests in manifest.known_groups():
        journal.group(item, number, digests)
    journal.flushed(item, flushed, item.bytes_done)
    connection.close()
    partial = PartialFile(Disk(), item.directory, item.transfer)
    partial.open()
    last = chunks * SECOND_TO // 100
    for chunk in range(last, min(chunks - 1, last + UNJOURNALLED)):
        partial.write_chunk(chunk, bytes(CHUNK_BYTES))
    partial.seal(outline.size)
    partial.close()


class _Here:
    """Runs what the journal has to write at once."""

    def run(self, work: Any, /, *args: Any) -> Deferred[Any]:
        try:
            return succeed(work(*args))
        except sqlite3.Error as error:
            return fail(error)


def _pass(seconds: float) -> None:
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() > end, "the time to pass")


def _listed(index: IndexProcess) -> bool:
    return int(ask(index, "status")["listings"]) == 1
