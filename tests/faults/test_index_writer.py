"""The index, or the process that writes its database, is killed: while a peer announces, while the log is played in."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as global_reactor

from napd.wire import index as wire
from napd.wire.catalogue import CatalogueDigest, entry_digest
from tests.support.index_script import EPOCH, TLSScript, entry, identity
from tests.support.processes import ROOT, IndexProcess, Processes
from tests.support.waiting import Eventually, until

reactor: Any = global_reactor

STEPS, ENTRIES = 60, 150
#: Times that something is killed in the course of them.
KILLS = 2


def child_of(index: IndexProcess) -> int:
    """The process that writes."""
    (child,) = index.children()
    return child


class Announcer:
    """A peer with one list, in steps: it knows where it stands after each of them."""

    def __init__(self, index: IndexProcess, eventually: Eventually) -> None:
        self.index = index
        self.eventually = eventually
        self.steps = [[entry(f"some/step {step} file {n}") for n in range(ENTRIES)] for step in range(STEPS)]
        total = CatalogueDigest()
        self.digests = [total.hex()]
        for step in self.steps:
            total.add_all(map(entry_digest, step))
            self.digests.append(total.hex())
        self.acknowledged = 0
        #: Sent to the index, over all its lives.
        self.sent = 0

    async def come(self) -> None:
        """Log in with all that there is to announce; the index says where to go on."""
        self.peer = TLSScript(reactor, identity("ann"), self.eventually)
        await self.peer.dial(self.index.address, self.index.id)
        welcome = await self.peer.login("ann", epoch=EPOCH, revision=STEPS, digest=self.digests[-1])
        # Everything that was acknowledged, and nothing half.
        assert welcome.revision >= self.acknowledged
        assert welcome.digest == self.digests[welcome.revision]
        self.acknowledged = self.next = welcome.revision

    async def announce_until(self, revision: int) -> None:
        """As many at once as may be; returns when this one is acknowledged, and others are under way."""
        while self.acknowledged < revision:
            self.send()
            ack = await self.peer.expect(wire.Ack)
            assert ack.revision == self.acknowledged + 1
            self.acknowledged = ack.revision

    def send(self) -> None:
        while self.next < min(STEPS, self.acknowledged + wire.ANNOUNCE_WINDOW):
            base = self.next
            self.next += 1
            self.sent += 1
            digest = self.digests[self.next]
            self.peer.say(wire.Announce(EPOCH, base, self.next, self.steps[base], (), base == 0, digest))


async def kill_daemon(ann: Announcer) -> None:
    """And start it at once: its writer may still have something to do."""
    ann.index.kill()
    ann.index.restart()


async def kill_writer(ann: Announcer) -> None:
    index, mark = ann.index, ann.index.mark()
    writer = child_of(index)
    os.kill(writer, signal.SIGSTOP)
    ann.send()
    # What is answered after them: the index has taken them all.
    ann.peer.say(wire.Search(1, "some"))
    await ann.peer.expect(wire.Results)
    os.kill(writer, signal.SIGKILL)
    lost = index.wait_for_event("index.writer_lost", after=mark)
    assert lost["error"] == "signal 9"
    assert 1 <= lost["writes"] <= wire.ANNOUNCE_WINDOW


async def kill_both(ann: Announcer) -> None:
    writer = child_of(ann.index)
    os.kill(writer, signal.SIGSTOP)
    ann.index.process.send_signal(signal.SIGKILL)
    os.kill(writer, signal.SIGKILL)
    ann.index.kill()
    ann.index.restart()


@pytest.mark.limit(120)
# That the store failed is a fault of the index's own, and in its log.
@pytest.mark.parametrize("kill", [kill_daemon, pytest.param(kill_writer, marks=pytest.mark.faulty), kill_both])
async def test_a_peer_goes_on_from_what_was_acknowledged(
    processes: Processes, eventually: Eventually, kill: Any
) -> None:
    index = processes.index()
    ann = Announcer(index, eventually)
    await ann.come()
    for part in range(1, KILLS + 1):
        await ann.announce_until(part * STEPS // (KILLS + 1))
        await kill(ann)
        await eventually(lambda: ann.peer.lost is not None, "the session is over")
        await ann.come()
    await ann.announce_until(STEPS)
    # Of each life only what was under way is sent again.
    assert ann.sent <= STEPS + KILLS * wire.ANNOUNCE_WINDOW
    assert index.ctl("index", "status").json["listings"] == STEPS * ENTRIES
    await ann.peer.leave()
    assert index.terminate() == 0
    check(index.state / "index.db", STEPS * ENTRIES)


@pytest.mark.limit(60)
async def test_a_signal_to_everybody_loses_nothing(processes: Processes, eventually: Eventually) -> None:
    index = processes.index()
    ann = Announcer(index, eventually)
    await ann.come()
    await ann.announce_until(STEPS // 2)
    os.kill(child_of(index), signal.SIGTERM)
    assert index.terminate() == 0
    assert index.seen("index.writer_lost") == []
    assert index.seen("daemon.fault") == []
    index.restart()
    await ann.come()
    await ann.peer.leave()


def check(database: Path, listings: int) -> None:
    """It is whole, and counts what is there."""
    with sqlite3.connect(database) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        counted = connection.execute(
            "SELECT (SELECT count(*) FROM item), (SELECT count(*) FROM item_digest), (SELECT count(*) FROM content), "
            "(SELECT sum(items) FROM content), (SELECT sum(items) FROM folder), (SELECT sum(listings) FROM catalogue)"
        )
        ((items, digests, contents, by_content, by_folder, held),) = counted
        assert items == digests == by_content == by_folder
        assert connection.execute("SELECT items, contents, listings FROM clock").fetchall() == [(items, contents, held)]
        assert held == listings
    connection.close()


#: Writes for ever, and plays each transaction into the database; says how many there are.
WRITING = """
import sys
from pathlib import Path
from napd.index.store.interface import NOWHERE
from napd.index.store.sqlite.committing import Committing
from napd.index.store.sqlite.requests import AccountFor, Apply, OpenSession
from napd.index.store.sqlite.schema import FUNCTIONS, scripts
from napd.index.store.sqlite.tables import Log, Tables
from napd.model import PeerId
from napd.ops.database import open_database
path = Path(sys.argv[1])
connection = open_database(path, scripts(), functions=FUNCTIONS)
committing = Committing(connection, path, Tables(connection, Log()), long_log=1)
(account,) = committing.commit([AccountFor("id", "ann", PeerId("k" * 52), 1.0)])
(opened,) = committing.commit([OpenSession(account.number, NOWHERE, 1.0)])
step = 0
while True:
    step += 1
    names = [f"{opened.session} {step} {n} {'x' * 100}" for n in range(1000)]
    rows = [(name.encode().ljust(32)[:32], 1, f"folder {n % 50}", name, *[None] * 5) for n, name in enumerate(names)]
    request = Apply(account.number, opened.session, "e" * 64, step - 1, step, step == 1, 10**9, rows, ())
    (done,) = committing.commit([request])
    assert not isinstance(done, Exception), done
    print(opened.session, step, flush=True)
    committing.checkpoint(idle=False)
"""


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def acknowledged(lines: Sequence[str]) -> tuple[int, int]:
    """Session and step."""
    session, step = lines[-1].split()
    return int(session), int(step)


def test_a_writer_that_is_killed_while_the_log_is_played_in_leaves_a_whole_database(tmp_path: Path) -> None:
    path, moments = tmp_path / "index.db", random.Random(1)
    for _ in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITING, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(moments.randrange(1, 5))]
        before = size_of(path)
        # It grows only while the log is played into it.
        until(lambda before=before: size_of(path) > before, "it is in the middle of it", every_s=0.0002)
        process.kill()
        lines += process.stdout.read().splitlines()
        process.wait()
        process.stdout.close()
        session, step = acknowledged([line for line in lines if line.count(" ") == 1])
        with sqlite3.connect(path) as connection:
            ((revision, held),) = connection.execute("SELECT revision, listings FROM catalogue")
            ((newest,),) = connection.execute("SELECT session FROM account")
        connection.close()
        assert newest == session
        # The one that was acknowledged, or the next if the word of it did not come out.
        assert revision in (step, step + 1)
        assert held == revision * 1000
        check(path, held)
