"""What only the SQLite store can show: files, restarts, broken disks, group commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import gatherResults

from napd.errors import ConfigurationError
from napd.index.store.commits import GroupCommit
from napd.index.store.interface import NOWHERE, Step, StoreFailed
from napd.index.store.sqlite import TROUBLES, SqliteStore, schema_scripts
from napd.model import PeerId
from napd.ops.database import open_database
from napd.ops.threads import Worker
from tests.support.index_script import entry

KEY = PeerId("k" * 52)
EPOCH = "e" * 64


def open_store(path: Path) -> SqliteStore:
    return SqliteStore.open(reactor, path, lambda: "account-1")


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


async def test_many_steps_at_once_make_few_commits_and_one_write_of_the_catalogue_each(tmp_path: Path) -> None:
    connection = open_database(tmp_path / "index.db", schema_scripts())
    store = SqliteStore(reactor, connection, "test", lambda: "account-1")
    account = await store.account_for("ann", KEY, 1.0)
    opened = await store.open_session(account.number, NOWHERE, 1.0)
    said: list[str] = []
    connection.set_trace_callback(said.append)
    steps = [step(account.number, opened.session, n, f"m/{n}", reset=n == 0) for n in range(300)]
    await gatherResults([store.apply(one, 1000) for one in steps])
    assert sum(sql == "COMMIT" for sql in said) < 20
    assert sum("INTO catalogue" in sql for sql in said) < 20
    assert len(await store.holdings(account.number)) == 300
    await store.stop()


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


async def test_a_full_disk_fails_the_step_changes_nothing_and_is_over_when_there_is_space(tmp_path: Path) -> None:
    connection = open_database(tmp_path / "index.db", schema_scripts())
    store = SqliteStore(reactor, connection, "test", lambda: "account-1")
    account = await store.account_for("ann", KEY, 1.0)
    opened = await store.open_session(account.number, NOWHERE, 1.0)
    await store.apply(step(account.number, opened.session, 0, "m/a", reset=True), 10_000)
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count={pages}")
    big = step(account.number, opened.session, 1, *(f"m/{n:0200}" for n in range(2000)))
    with pytest.raises(StoreFailed, match="full"):
        await store.apply(big, 10_000)
    assert len(await store.holdings(account.number)) == 1
    connection.execute("PRAGMA max_page_count=1000000")
    assert len((await store.apply(big, 10_000)).added) == 2000
    await store.stop()


async def test_a_database_of_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    store = open_store(tmp_path / "index.db")
    await store.stop()
    with sqlite3.connect(tmp_path / "index.db") as change:
        change.execute(f"PRAGMA user_version={len(schema_scripts()) + 1}")
    change.close()
    with pytest.raises(ConfigurationError, match="newer"):
        open_store(tmp_path / "index.db")
