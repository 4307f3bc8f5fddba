"""What only the SQLite store can show: files, restarts, broken disks, group commit."""

from __future__ import annotations

import os
import resource
import signal
import socket
import sqlite3
import struct
import threading
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import DeferredList, gatherResults
from twisted.internet.task import deferLater

from napd.errors import ConfigurationError
from napd.index.store.commits import GroupCommit
from napd.index.store.interface import NOWHERE, StaleSession, Step, StoreFailed
from napd.index.store.sqlite.committing import TROUBLES, Committing
from napd.index.store.sqlite.requests import AccountFor, Apply, OpenSession, Request, decode_answers, framed
from napd.index.store.sqlite.rows import row_of
from napd.index.store.sqlite.schema import FUNCTIONS, scripts
from napd.index.store.sqlite.store import SqliteStore
from napd.index.store.sqlite.tables import Log, Tables
from napd.index.store.sqlite.writer import MOST_ENTRIES, serve
from napd.model import PeerId
from napd.ops.database import open_database
from napd.ops.events import Events
from napd.ops.threads import Worker
from tests.support.index_script import entry

KEY = PeerId("k" * 52)
EPOCH = "e" * 64


def open_store(path: Path) -> SqliteStore:
    return SqliteStore.open(reactor, path, lambda: "account-1", Random(1))


def step(account: int, session: int, base: int, *names: str, reset: bool = False) -> Step:
    return Step(account, session, EPOCH, base, base + 1, [entry(name) for name in names], (), reset)


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    store = open_store(tmp_path / "index.db")
    account = await store.account_for("ann", KEY, 1.0)
    opened = await store.open_session(account.number, NOWHERE, 1.0)
    applied = await store.apply(step(account.number, opened.session, 0, "m/a", "m/b", reset=True), 10)
    await store.stop()

    store = open_store(tmp_path / "index.db")
    assert await store.account_for("ann", KEY, 2.0) == account
    again = await store.open_session(account.number, applied.position, 2.0)
    assert again.session > opened.session
    assert (again.position, list(again.share)) == (applied.position, sorted(item.id for item in applied.added))
    assert (await store.changes_since(0, 10))[0].number == applied.change
    await store.stop()


async def test_what_was_answered_is_committed_even_if_the_process_ends_now(tmp_path: Path) -> None:
    store = open_store(tmp_path / "index.db")
    account = await store.account_for("ann", KEY, 1.0)
    opened = await store.open_session(account.number, NOWHERE, 1.0)
    await store.apply(step(account.number, opened.session, 0, "m/a", reset=True), 10)
    # Another connection sees what a killed process would leave.
    with sqlite3.connect(tmp_path / "index.db") as look:
        assert look.execute("SELECT revision, listings FROM catalogue").fetchall() == [(1, 1)]
        assert look.execute("SELECT name FROM item").fetchall() == [("a",)]
    look.close()
    await store.stop()


class Writer:
    """What the process does, in this one."""

    def __init__(self, path: Path) -> None:
        self.connection = open_database(path, scripts(), functions=FUNCTIONS)
        self.committing = Committing(self.connection, path, Tables(self.connection, Log()))
        self.log = path.with_name(f"{path.name}-wal")

    def commit(self, *requests: Request) -> list[Any]:
        return self.committing.commit(requests)

    def login(self) -> tuple[int, int]:
        """Account and session."""
        (account,) = self.commit(AccountFor("account-1", "ann", KEY, 1.0))
        (opened,) = self.commit(OpenSession(account.number, NOWHERE, 1.0))
        return account.number, opened.session

    def rows(self, sql: str) -> list[Any]:
        return self.connection.execute(sql).fetchall()


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    made = Writer(tmp_path / "index.db")
    yield made
    made.connection.close()


def apply(account: int, session: int, base: int, *names: str, most: int = 10_000) -> Apply:
    rows = [row_of(entry(name)) for name in names]
    return Apply(account, session, EPOCH, base, base + 1, base == 0, most, rows, ())


def heard(link: socket.socket, count: int) -> list[Any]:
    """So many answers."""
    answers: list[Any] = []
    while len(answers) < count:
        (length,) = struct.unpack("<I", link.recv(4, socket.MSG_WAITALL))
        answers += decode_answers(link.recv(length, socket.MSG_WAITALL))
    return answers


def test_many_steps_at_once_make_few_commits_and_one_write_of_the_catalogue_each(writer: Writer) -> None:
    account, session = writer.login()
    said: list[str] = []
    writer.connection.set_trace_callback(said.append)
    theirs, ours = socket.socketpair()
    with theirs, ours:
        ours.sendall(b"".join(framed(apply(account, session, n, f"m/{n}")) for n in range(300)))
        ours.shutdown(socket.SHUT_WR)
        serve(theirs, writer.committing)
        answers = heard(ours, 300)
    assert [answer.refused for answer in answers] == [None] * 300
    assert sum(sql == "COMMIT" for sql in said) < 20
    assert sum("INTO catalogue" in sql for sql in said) < 20
    assert writer.rows("SELECT revision, listings FROM catalogue") == [(300, 300)]


async def test_what_comes_at_once_is_all_answered_however_many_transactions_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napd.index.store.sqlite.process.AHEAD_BYTES", 1 << 30)
    store = open_store(tmp_path / "index.db")
    account = await store.account_for("ann", KEY, 1.0)
    opened = await store.open_session(account.number, NOWHERE, 1.0)
    # Several times what one takes; and a writer that has read it all, and hears nothing more.
    os.kill(store.writer.pid, signal.SIGSTOP)
    names = [[f"m/{n} {m}" for m in range(500)] for n in range(5 * MOST_ENTRIES // 500)]
    steps = [step(account.number, opened.session, n, *some, reset=n == 0) for n, some in enumerate(names)]
    asked = [store.apply(one, 1_000_000) for one in steps]
    os.kill(store.writer.pid, signal.SIGCONT)
    await gatherResults(asked)
    assert len(await store.holdings(account.number)) == 5 * MOST_ENTRIES
    await store.stop()


def test_of_what_comes_together_nothing_waits_for_what_comes_next(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napd.index.store.sqlite.writer.MOST_ENTRIES", 1)
    account, session = writer.login()
    theirs, ours = socket.socketpair()
    with theirs, ours:
        # The first breaks its transaction.
        asked = [AccountFor("account-1", "bob", KEY, 1.0), *(apply(account, session, n, f"m/{n}") for n in range(5))]
        ours.sendall(b"".join(map(framed, asked)))
        serving = threading.Thread(target=serve, args=(theirs, writer.committing))
        serving.start()
        answers = heard(ours, 6)
        ours.shutdown(socket.SHUT_WR)
        serving.join()
    assert [answer.refused is None for answer in answers] == [False] + [True] * 5


def test_a_request_that_breaks_fails_alone(writer: Writer) -> None:
    account, session = writer.login()
    # No two accounts have one id.
    broken = AccountFor("account-1", "bob", KEY, 1.0)
    added, failed, again = writer.commit(
        apply(account, session, 0, "m/a"), broken, apply(account, session, 1, "m/b")
    )  # fmt: skip
    assert (added.change, again.change) == (1, 2)
    assert isinstance(failed, StoreFailed)
    assert writer.rows("SELECT revision, listings FROM catalogue") == [(2, 2)]
    assert writer.rows("SELECT accounts, items, contents, listings FROM clock") == [(1, 2, 2, 2)]


def test_a_full_disk_fails_the_step_and_changes_nothing(writer: Writer) -> None:
    account, session = writer.login()
    writer.commit(apply(account, session, 0, "m/a"))
    ((pages,),) = writer.rows("PRAGMA page_count")
    writer.connection.execute(f"PRAGMA max_page_count={pages}")
    big = apply(account, session, 1, *(f"m/{n:0200}" for n in range(2000)))
    (failed,) = writer.commit(big)
    assert isinstance(failed, StoreFailed)
    assert "full" in failed.message
    assert writer.rows("SELECT name FROM item") == [("a",)]
    writer.connection.execute("PRAGMA max_page_count=1000000")
    (done,) = writer.commit(big)
    assert len(done.items) == 2000 * 4


def test_what_another_process_has_written_meanwhile_is_gone_on_from(writer: Writer, tmp_path: Path) -> None:
    account, session = writer.login()
    writer.commit(apply(account, session, 0, "m/a"))
    # The writer of a daemon that was killed, say, with what it had been asked for last.
    other = Writer(tmp_path / "index.db")
    other.commit(apply(account, session, 1, "m/b"), OpenSession(account, NOWHERE, 1.0))
    other.connection.close()
    (refused,) = writer.commit(apply(account, session, 1, "m/c"))
    assert isinstance(refused, StaleSession)
    (opened,) = writer.commit(OpenSession(account, NOWHERE, 1.0))
    assert opened.session == session + 2
    (done,) = writer.commit(apply(account, opened.session, 0, "m/c"))
    assert list(array("I", done.items)) == [3]


def test_a_long_log_is_played_into_the_database_between_two_transactions(writer: Writer, tmp_path: Path) -> None:
    account, session = writer.login()
    writer.committing.checkpoint(idle=False)
    assert writer.log.stat().st_size > 0
    eager = Committing(writer.connection, tmp_path / "index.db", Tables(writer.connection, Log()), long_log=1)
    with sqlite3.connect(tmp_path / "index.db", isolation_level=None) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM account").fetchall() == [(1,)]
        eager.commit([apply(account, session, 0, "m/a")])
        # Who reads is not waited for, and keeps what it reads.
        eager.checkpoint(idle=False)
        assert writer.log.stat().st_size > 0
        assert reader.execute("SELECT count(*) FROM item").fetchall() == [(0,)]
    reader.close()
    eager.checkpoint(idle=False)
    assert writer.log.stat().st_size == 0
    assert writer.rows("SELECT count(*) FROM item") == [(1,)]


async def test_a_write_that_breaks_fails_alone(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "x.db", isolation_level=None, check_same_thread=False)
    connection.execute("CREATE TABLE t (n INTEGER UNIQUE)")
    worker = Worker(reactor, "test")
    undone: list[int] = []

    def transaction(work: Callable[[], list[Any]]) -> list[Any]:
        connection.execute("BEGIN")
        try:
            outcomes = work()
        except sqlite3.Error:
            connection.execute("ROLLBACK")
            undone.append(1)
            raise
        connection.execute("COMMIT")
        return outcomes

    commits = GroupCommit(worker, transaction, TROUBLES)

    def insert(n: int) -> int:
        connection.execute("INSERT INTO t VALUES (?)", (n,))
        return n

    outcomes = [commits.write(lambda n=n: insert(n)) for n in (1, 2, 2, 3)]  # type: ignore[misc]
    failed = outcomes[2].addErrback(lambda failure: failure.trap(StoreFailed))
    assert await gatherResults([outcomes[0], outcomes[1], outcomes[3]]) == [1, 2, 3]
    await failed
    assert undone
    assert connection.execute("SELECT n FROM t ORDER BY n").fetchall() == [(1,), (2,), (3,)]
    await worker.stop()
    connection.close()


async def test_a_full_disk_is_over_when_there_is_space(tmp_path: Path) -> None:
    store = open_store(tmp_path / "index.db")
    account = await store.account_for("ann", KEY, 1.0)
    opened = await store.open_session(account.number, NOWHERE, 1.0)
    await store.apply(step(account.number, opened.session, 0, "m/a", reset=True), 10_000)
    size = (tmp_path / "index.db-wal").stat().st_size
    everything = resource.prlimit(store.writer.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    big = step(account.number, opened.session, 1, *(f"m/{n:0200}" for n in range(2000)))
    with pytest.raises(StoreFailed, match="cannot be written"):
        await store.apply(big, 10_000)
    assert len(await store.holdings(account.number)) == 1
    resource.prlimit(store.writer.pid, resource.RLIMIT_FSIZE, everything)
    assert len((await store.apply(big, 10_000)).added) == 2000
    await store.stop()


async def test_a_writer_that_is_killed_fails_what_is_under_way_and_is_started_again(tmp_path: Path) -> None:
    events = Events(lambda: 1.0)
    store = SqliteStore.open(reactor, tmp_path / "index.db", lambda: "account-1", Random(1), events)
    account = await store.account_for("ann", KEY, 1.0)
    opened = await store.open_session(account.number, NOWHERE, 1.0)
    for revision in range(3):
        killed = store.writer.pid
        os.kill(killed, signal.SIGSTOP)
        doomed = store.apply(step(account.number, opened.session, revision, "m/never", reset=True), 10)
        os.kill(killed, signal.SIGKILL)
        with pytest.raises(StoreFailed, match="has ended"):
            await doomed
        # Asked for while there is none.
        applied = await store.apply(step(account.number, opened.session, revision, f"m/{revision}", reset=True), 10)
        assert [item.entry.name for item in applied.added] == [str(revision)]
        assert store.writer.pid != killed
    lost = events.remembered()
    assert [(event.event, event.fields["error"], event.fields["writes"]) for event in lost] == [
        ("index.writer_lost", "signal 9", 1)
    ] * 3
    assert len(await store.holdings(account.number)) == 1
    await store.stop()


@pytest.mark.parametrize("turns", [0, 1, 30])
async def test_a_store_that_is_stopped_while_its_writer_is_away_ends_and_fails_what_waits(
    tmp_path: Path, turns: int
) -> None:
    store = open_store(tmp_path / "index.db")
    await store.account_for("ann", KEY, 1.0)
    os.kill(store.writer.pid, signal.SIGKILL)
    asked = [store.account_for("ann", KEY, 1.0)]
    for _ in range(turns):
        # Its end is noticed, then it is waited for, then for its successor.
        await deferLater(reactor, 0.001)
    asked.append(store.account_for("ann", KEY, 1.0))
    outcomes = DeferredList(asked, consumeErrors=True)
    await store.stop()
    for succeeded, outcome in await outcomes:
        assert succeeded or outcome.check(StoreFailed)


async def test_signals_to_everybody_end_the_writer_only_after_its_daemon_lets_go(tmp_path: Path) -> None:
    store = open_store(tmp_path / "index.db")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # From its first moment on, and later.
        os.kill(store.writer.pid, number)
    account = await store.account_for("ann", KEY, 1.0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(store.writer.pid, number)
    opened = await store.open_session(account.number, NOWHERE, 1.0)
    last = store.apply(step(account.number, opened.session, 0, "m/a", reset=True), 10)
    await store.stop()
    assert len((await last).added) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(store.writer.pid, 0)
    # Nothing is left to be played into it.
    assert os.listdir(tmp_path) == ["index.db"]


async def test_a_writer_gets_nothing_of_its_daemon_but_a_socket(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.set_inheritable(True)
        store = open_store(tmp_path / "index.db")
        await store.account_for("ann", KEY, 1.0)
        descriptors = f"/proc/{store.writer.pid}/fd"
        held = [os.readlink(f"{descriptors}/{number}") for number in os.listdir(descriptors)]
        assert sum(name.startswith("socket:") for name in held) == 1
        await store.stop()


async def test_a_database_of_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    store = open_store(tmp_path / "index.db")
    await store.stop()
    with sqlite3.connect(tmp_path / "index.db") as change:
        change.execute(f"PRAGMA user_version={len(scripts()) + 1}")
    change.close()
    with pytest.raises(ConfigurationError, match="newer"):
        open_store(tmp_path / "index.db")
