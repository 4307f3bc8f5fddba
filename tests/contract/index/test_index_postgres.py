"""What only the PostgreSQL store can show: several processes at once, lost connections, passwords."""

from __future__ import annotations

import time
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import pytest
from twisted.internet import reactor
from twisted.internet.defer import gatherResults

from napd.errors import CannotStart, ConfigurationError
from napd.index.cluster.interface import Present
from napd.index.store import choosing
from napd.index.store.interface import NOWHERE, Opened, Step, StoreFailed
from napd.index.store.postgres import connection, nodes
from napd.index.store.postgres.connection import Connection, named, schema_scripts
from napd.index.store.postgres.store import PostgresStore
from napd.model import PeerId
from napd.ops.events import Events
from tests.support.index_script import entry
from tests.support.postgres import PostgresServer

KEY = PeerId("k" * 52)
EPOCH = "e" * 64
MANY = 1_000_000
_ids = count(1)


def open_store(url: str) -> PostgresStore:
    return PostgresStore.open(reactor, url, lambda: f"account-{next(_ids)}", time.monotonic, Random(1))


def step(account: int, session: int, base: int, *names: str, reset: bool = False) -> Step:
    return Step(account, session, EPOCH, base, base + 1, [entry(name) for name in names], (), reset)


async def login(store: PostgresStore, user: str = "ann") -> tuple[int, Opened]:
    account = await store.account_for(user, KEY, 1.0)
    return account.number, await store.open_session(account.number, NOWHERE, 1.0)


def cut(url: str) -> None:
    """End every other connection to the database, as a restart does."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


async def test_everything_is_there_after_a_restart(postgres: PostgresServer) -> None:
    url = postgres.database()
    store = open_store(url)
    account, opened = await login(store)
    applied = await store.apply(step(account, opened.session, 0, "m/a", "m/b", reset=True), 10)
    await store.stop()

    store = open_store(url)
    again = await store.open_session(account, applied.position, 2.0)
    assert again.session > opened.session
    assert (again.position, list(again.share)) == (applied.position, sorted(item.id for item in applied.added))
    assert (await store.changes_since(0, 10))[0].number == applied.change
    await store.stop()


async def test_writes_and_reads_outlive_the_loss_of_their_connections(postgres: PostgresServer) -> None:
    url = postgres.database()
    store = open_store(url)
    account, opened = await login(store)
    for n in range(4):
        cut(url)
        await store.apply(step(account, opened.session, n, f"m/{n}", reset=n == 0), MANY)
        cut(url)
        assert len(await store.holdings(account)) == n + 1
    await store.stop()


async def test_a_step_whose_commit_was_made_when_the_connection_was_lost_is_not_made_twice(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.database()
    store = open_store(url)
    account, opened = await login(store)
    await store.apply(step(account, opened.session, 0, "m/a", reset=True), MANY)
    do = Connection.do
    lost: list[str] = []

    def lose_the_answer(connection: Connection, statement: str, *values: object) -> None:
        do(connection, statement, *values)
        if statement == "COMMIT" and not lost:
            lost.append(statement)
            connection.close()
            raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(Connection, "do", lose_the_answer)
    steps = [step(account, opened.session, n, f"m/{n}") for n in (1, 2, 3)]
    applied = await gatherResults([store.apply(one, MANY) for one in steps])
    assert lost
    assert [[item.entry.name for item in one.added] for one in applied] == [["1"], ["2"], ["3"]]
    assert [one.change for one in applied] == [2, 3, 4]
    assert [change.number for change in await store.changes_since(0, 10)] == [1, 2, 3, 4]
    # And what is out of step in earnest still is.
    with pytest.raises(Exception, match="revision 4"):
        await store.apply(step(account, opened.session, 2, "m/x"), MANY)
    await store.stop()


async def test_what_two_processes_add_at_once_is_one_item_and_every_change_has_a_number(
    postgres: PostgresServer,
) -> None:
    url = postgres.database()
    stores = [open_store(url), open_store(url)]
    sessions = [await login(store, f"user{n}") for n, store in enumerate(stores)]
    names = [f"m/{n}" for n in range(60)]
    asked = []
    for turn in range(30):
        for which, (store, (account, opened)) in enumerate(zip(stores, sessions, strict=True)):
            # The same files in different orders: whoever waits for the other would wait for ever.
            some = names[turn * 2 : turn * 2 + 2] if which else names[58 - turn * 2 : 60 - turn * 2]
            asked.append(store.apply(step(account, opened.session, turn, *some, reset=turn == 0), MANY))
    follower = open_store(url)
    seen = 0
    while seen < 60:
        for change in await follower.changes_since(seen, 100):
            # A number that came later than a higher one would have been missed.
            assert change.number == seen + 1
            seen = change.number
    applied = await gatherResults(asked)
    assert sorted(one.change for one in applied) == list(range(1, 61))
    first, second = [await follower.holdings(account) for account, _ in sessions]
    assert first == second
    assert len(first) == 60
    for store in (*stores, follower):
        await store.stop()


async def test_the_catalogue_that_another_process_changed_is_read_again(postgres: PostgresServer) -> None:
    url = postgres.database()
    here, there = open_store(url), open_store(url)
    account, opened = await login(here)
    first = await here.apply(step(account, opened.session, 0, "m/a", reset=True), MANY)
    moved = await there.open_session(account, first.position, 2.0)
    await there.apply(step(account, moved.session, 1, "m/b"), MANY)
    back = await here.open_session(account, NOWHERE, 3.0)
    assert len(back.dropped) == 2
    await here.apply(step(account, back.session, 0, "m/c", reset=True), MANY)
    assert len(await there.holdings(account)) == 1
    await here.stop()
    await there.stop()


async def test_what_accounts_hold_is_read_for_many_at_once_and_not_for_too_many(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(postgres.database())
    sizes = [0, 1, 2, 0, 4, 5, 0, 1]
    numbers = []
    for n, size in enumerate(sizes):
        account, opened = await login(store, f"user{n}")
        numbers.append(account)
        if size:
            names = [f"m/{n}/{m}" for m in range(size)]
            await store.apply(step(account, opened.session, 0, *names, reset=True), MANY)
    monkeypatch.setattr(nodes, "READ_HOLDINGS", 6)
    pieces = []
    while sum(map(len, pieces)) < len(sizes):
        arrived = await store.arrivals(numbers[sum(map(len, pieces)) :], MANY)
        pieces.append([len(one.share) for one in arrived])
    assert pieces == [[0, 1, 2, 0, 4], [5, 0, 1]]
    assert [one.account.user for one in await store.arrivals(numbers[6:4:-1], MANY)] == ["user5", "user6"]
    await store.stop()


async def test_what_an_account_held_is_known_as_of_each_change(postgres: PostgresServer) -> None:
    store = open_store(postgres.database())
    account, opened = await login(store)
    held = [[]]
    for n in range(6):
        # It takes some back, and some again.
        names = [f"m/{m}" for m in range(10) if m % (n + 2)]
        one = Step(account, opened.session, EPOCH, 0, n + 1, [entry(name) for name in names], (), reset=True)
        await store.apply(one, MANY)
        held.append(list(await store.holdings(account)))
    for change, expected in enumerate(held):
        [arrival] = await store.arrivals([account], change)
        assert list(arrival.share) == expected
    await store.stop()


async def test_a_sweep_spares_what_another_process_has_just_added(postgres: PostgresServer) -> None:
    url = postgres.database()
    here, there = open_store(url), open_store(url)
    account, opened = await login(here)
    await here.apply(step(account, opened.session, 0, "m/a", "m/b", reset=True), MANY)
    await here.apply(step(account, opened.session, 0, reset=True), MANY)
    other, entered = await login(there, "bob")
    kept = await there.apply(step(other, entered.session, 0, "m/a", reset=True), MANY)
    swept = await here.sweep(0)
    assert len(swept.removed) == 1
    assert kept.added[0].id not in swept.removed
    assert len(await here.items(await here.holdings(other))) == 1
    assert (await here.counts()).items == 1
    await here.stop()
    await there.stop()


async def test_a_store_that_stops_does_not_wait_for_a_postgres_that_is_away(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(postgres.database())
    account, opened = await login(store)

    def away(*_: object, **__: object) -> None:
        raise psycopg.OperationalError("connection refused")

    monkeypatch.setattr(psycopg, "connect", away)
    await store._writer.run(store._writing.close)
    asked = store.apply(step(account, opened.session, 0, "m/a", reset=True), MANY)
    stopped = store.stop()
    with pytest.raises(StoreFailed, match="connection refused"):
        await asked
    await stopped


def test_passwords_are_in_no_name_and_in_no_message(postgres: PostgresServer) -> None:
    assert (
        named("postgresql://ann:s3cret@db.example:5433/nap?sslmode=require") == "postgresql://ann@db.example:5433/nap"
    )
    refused = f"postgresql://nobody:s3cret@127.0.0.1:{postgres.port}/nothing"
    for url in ("postgresql://ann:s3cret/x@db/nap", refused, "postgresql://ann:s3cret@127.0.0.1:1/x"):
        with pytest.raises((ConfigurationError, CannotStart)) as said:
            open_store(url)
        assert "s3cret" not in str(said.value)
        assert said.value.hint
    assert "s3cret" not in repr(Connection(refused, "test"))


def test_a_database_of_a_newer_schema_is_refused_and_left_alone(postgres: PostgresServer) -> None:
    url = postgres.database()
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("CREATE SCHEMA napd")
        admin.execute("CREATE TABLE napd.clock (version integer)")
        admin.execute("INSERT INTO napd.clock VALUES (99)")
    with pytest.raises(ConfigurationError, match="schema 99"):
        open_store(url)


def test_without_the_driver_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'psycopg'")

    monkeypatch.setattr(choosing, "import_module", missing)
    with pytest.raises(ConfigurationError) as refused:
        choosing.open_store(
            reactor,
            "postgresql://db/nap",
            tmp_path / "index.db",
            identity=KEY,
            new_account_id=lambda: "1",
            events=Events(time.time),
            monotonic=time.monotonic,
            random=Random(1),
        )
    assert refused.value.hint == "pip install 'napd[postgres]'"


async def test_a_database_of_the_first_schema_is_brought_to_the_present_one(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.database()
    scripts = schema_scripts()
    with monkeypatch.context() as then:
        then.setattr(connection, "schema_scripts", lambda: scripts[:1])
        store = open_store(url)
        account, opened = await login(store)
        applied = await store.apply(step(account, opened.session, 0, "m/a", "m/b", reset=True), 10)
        await store.stop()
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("SET search_path = napd")
        admin.execute("INSERT INTO node (name, until) VALUES ('old', now())")
        admin.execute("INSERT INTO presence (account, session, node, since) VALUES (%s, %s, 1, 5)", (account, 1))
    store = open_store(url)
    assert (await store.standing()).present == [Present(account, 1, 1, 5.0, ())]
    assert len(await store.holdings(account)) == len(applied.added) == 2
    assert [node.name for node in await store.nodes()] == ["old"]
    await store.stop()
