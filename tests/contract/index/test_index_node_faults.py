"""What nodes do when something is wrong: a PostgreSQL that was away or does not answer, clocks that jump, deaf ears."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg
import pytest
import pytest_twisted
from twisted.internet.defer import ensureDeferred

from napd.index.cluster.interface import CUT_OFF_S, LEASE_S, RENEW_S
from tests.support.chaos import ChaosProxy
from tests.support.cluster import Nodes
from tests.support.postgres import PostgresServer, restore, running_server, save
from tests.support.waiting import Eventually


@pytest.fixture
def nodes(postgres: PostgresServer) -> Iterator[Nodes]:
    made = Nodes(postgres.database())
    yield made
    pytest_twisted.blockon(ensureDeferred(made.end()))


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """One that may be stopped."""
    yield from running_server()


@contextmanager
def silent(url: str, purpose: str) -> Iterator[None]:
    """PostgreSQL keeps these connections of all nodes, and neither answers on them nor ends them."""
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s",
            (f"napindex {purpose}",),
        ).fetchall()
    for (pid,) in rows:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for (pid,) in rows:
            os.kill(pid, signal.SIGCONT)


async def test_a_wake_up_call_that_is_not_heard_costs_a_second(nodes: Nodes, eventually: Eventually) -> None:
    here, there = nodes.start(), nodes.start()
    await here.login("ann", "a")
    await eventually(lambda: there.users() == {"ann": 1})
    await there.store._lessee.run(lambda: there.store._leasing.do("UNLISTEN *"))
    began = time.monotonic()
    await here.login("bob", "b")
    await eventually(lambda: there.users() == {"ann": 1, "bob": 1})
    assert time.monotonic() - began < 2.0


@pytest.mark.limit(60)
async def test_a_lease_connection_that_answers_no_more_is_made_anew_before_the_lease_is_over(
    nodes: Nodes, eventually: Eventually
) -> None:
    here, there = nodes.start(), nodes.start()
    await here.login("ann", "a")
    await there.login("bob", "b")
    await eventually(lambda: here.users() == there.users() == {"ann": 1, "bob": 1})
    numbers = [here.node.node, there.node.node]
    with silent(nodes.url, "lease"):
        began = nodes.time()
        await eventually(lambda: nodes.renewed(began), "both leases are renewed", LEASE_S)
        await here.login("carl", "c")
        await eventually(lambda: there.users() == {"ann": 1, "bob": 1, "carl": 1})
    assert numbers == [here.node.node, there.node.node]
    assert not here.said("index.node_lost") and not there.said("index.node_lost")


@pytest.mark.parametrize("purpose", ["reads", "writes"])
async def test_other_connections_that_answer_no_more_are_made_anew(
    nodes: Nodes, eventually: Eventually, purpose: str
) -> None:
    here, there = nodes.start(), nodes.start()
    await here.login("ann", "a")
    await eventually(lambda: there.users() == {"ann": 1})
    for process in nodes.all:
        # Not a minute.
        process.store._writing._statement_s = process.store._reading._statement_s = 2.0
    with silent(nodes.url, purpose):
        bob = ensureDeferred(here.login("bob", "b"))
        await eventually(lambda: there.users() == {"ann": 1, "bob": 1}, timeout=20)
        await bob
    assert not here.said("index.node_lost") and not there.said("index.node_lost")


@pytest.mark.slow
@pytest.mark.limit(120)
async def test_a_node_whose_network_swallows_everything_is_cut_off_found_dead_and_comes_back(
    nodes: Nodes, eventually: Eventually
) -> None:
    proxy = ChaosProxy().start()
    try:
        proxy.lead_to(urlsplit(nodes.url).netloc.rpartition("@")[2])
        here, there = nodes.start(through=proxy.address), nodes.start()
        await here.login("ann", "a")
        await there.login("bob", "b")
        await eventually(lambda: here.users() == there.users() == {"ann": 1, "bob": 1})
        await eventually(nodes.have_been_steady, timeout=LEASE_S + 5)
        number = here.node.node
        # No connection ends, and nothing comes through.
        proxy.weather.swallowing = True
        began = time.monotonic()
        waiting = ensureDeferred(here.login("carl", "c"))
        await eventually(lambda: not here.node.may_admit(), "no logins are taken", LEASE_S)
        assert CUT_OFF_S - RENEW_S - 1 < time.monotonic() - began < CUT_OFF_S + 1
        await eventually(lambda: there.users() == {"bob": 1}, "it is found dead", LEASE_S)
        assert here.users() == {"ann": 1, "bob": 1} and not waiting.called
        proxy.weather.swallowing = False
        await eventually(lambda: here.node.node > number, "it is there again", 2 * LEASE_S)
        await eventually(lambda: there.users() == here.users() == {"ann": 1, "bob": 1, "carl": 1})
        await waiting
    finally:
        proxy.stop()


@pytest.mark.limit(60)
async def test_a_clock_that_is_put_forward_kills_nobody(nodes: Nodes, eventually: Eventually) -> None:
    here, there = nodes.start(), nodes.start()
    await here.login("ann", "a")
    await there.login("bob", "b")
    await eventually(lambda: here.users() == there.users() == {"ann": 1, "bob": 1})
    numbers = [here.node.node, there.node.node]
    await eventually(nodes.have_been_steady, timeout=LEASE_S + 5)
    # As leases look after a jump.
    nodes.sql("UPDATE node SET until = until - interval '1 hour'")
    began = nodes.time()
    await eventually(lambda: nodes.renewed(began), "both leases are renewed", 2 * RENEW_S)
    assert numbers == [here.node.node, there.node.node]
    assert here.users() == there.users() == {"ann": 1, "bob": 1}


@pytest.mark.limit(60)
async def test_a_clock_that_is_put_back_makes_no_dead_node_immortal(nodes: Nodes, eventually: Eventually) -> None:
    here, there = nodes.start(), nodes.start()
    await here.login("ann", "a")
    await there.login("bob", "b")
    await eventually(lambda: here.users() == there.users() == {"ann": 1, "bob": 1})
    await eventually(nodes.have_been_steady, timeout=LEASE_S + 5)
    await here.die()
    nodes.sql("UPDATE node SET until = until + interval '1 hour'")
    began = time.monotonic()
    await eventually(lambda: there.users() == {"bob": 1}, timeout=2 * LEASE_S)
    assert LEASE_S - 1 < time.monotonic() - began < LEASE_S + 3
    assert [event.fields["node"] for event in there.said("index.node_lost")] == [here.node.node]


async def test_nodes_of_one_name_are_two_nodes(nodes: Nodes, eventually: Eventually) -> None:
    here, there = nodes.start("one"), nodes.start("one")
    ann = await here.login("ann", "a")
    await there.login("bob", "b")
    await eventually(lambda: here.users() == there.users() == {"ann": 1, "bob": 1})
    assert here.node.node != there.node.node
    here.leave(ann)
    await here.node.stop()
    await eventually(lambda: there.users() == {"bob": 1})


async def test_a_node_sees_that_the_database_is_an_older_one(nodes: Nodes, eventually: Eventually) -> None:
    here, there = nodes.start(), nodes.start()
    await here.login("ann", "a")
    await eventually(lambda: there.users() == {"ann": 1})
    save(nodes.url)
    await there.login("bob", "b")
    await eventually(lambda: here.users() == there.users() == {"ann": 1, "bob": 1})
    restore(nodes.url)
    # By the time that anybody looks others may have been busy: the numbers tell nothing.
    nodes.sql("UPDATE clock SET change = change + 10")
    await eventually(lambda: here.said("index.node_outdated") and there.said("index.node_outdated"))


@pytest.mark.slow
@pytest.mark.limit(120)
async def test_after_postgresql_was_away_for_longer_than_a_lease_nobody_is_judged_for_a_whole_one(
    own_postgres: PostgresServer, eventually: Eventually
) -> None:
    nodes = Nodes(own_postgres.database())
    try:
        here, there, dead = nodes.start(), nodes.start(), nodes.start()
        for process, user in zip(nodes.all, ("ann", "bob", "carl"), strict=True):
            await process.login(user, user)
        everybody = {"ann": 1, "bob": 1, "carl": 1}
        await eventually(lambda: here.users() == there.users() == dead.users() == everybody)
        numbers = [process.node.node for process in nodes.all]
        await eventually(nodes.have_been_steady, timeout=LEASE_S + 5)
        own_postgres.halt()
        gone = time.monotonic()
        await dead.die()
        await eventually(lambda: time.monotonic() - gone > LEASE_S + 1, timeout=LEASE_S + 5)
        for process in (here, there):
            assert process.said("index.node_cut_off") and not process.node.may_admit()
            assert process.users() == everybody
        own_postgres.resume()
        back = time.monotonic()
        await eventually(lambda: here.said("index.node_lost") or there.said("index.node_lost"), timeout=2 * LEASE_S)
        assert time.monotonic() - back > LEASE_S - 1
        await eventually(lambda: here.users() == there.users() == {"ann": 1, "bob": 1})
        lost = [event.fields["node"] for one in (here, there) for event in one.said("index.node_lost")]
        assert lost == [numbers[2]]
        assert not here.said("index.node_outdated") and not there.said("index.node_outdated")
        assert [here.node.node, there.node.node] == numbers[:2]
        assert CUT_OFF_S < LEASE_S
    finally:
        await nodes.end()
