"""Nodes on one real PostgreSQL, in this process: leases, the log, and what is followed when it has gaps."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import deferLater

from napd.index import wishing
from napd.index.cluster.interface import LEASE_S, Condition
from napd.index.items import Asker
from napd.index.language import understand
from napd.index.networks import network_of
from napd.index.search import Found
from tests.support.cluster import Nodes, reactor_clock
from tests.support.index_script import content
from tests.support.postgres import PostgresServer
from tests.support.waiting import Eventually


class Listener:
    """Implements `napd.index.wishing.Wisher`."""

    def __init__(self) -> None:
        self.asker = Asker(77, "a-77", "other")
        self.told: list[bool] = []

    def tell_wished(self, number: int, results: Sequence[Found], *, more: bool) -> None:
        self.told.append(bool(results) or more)


@pytest.fixture
def nodes(postgres: PostgresServer) -> Iterator[Nodes]:
    made = Nodes(postgres.database())
    yield made
    pytest_twisted.blockon(ensureDeferred(made.end()))


async def test_what_happens_at_one_node_is_seen_at_another_at_once(nodes: Nodes, eventually: Eventually) -> None:
    here, there = nodes.start(), nodes.start()
    ann = await here.login("ann", "a", "b")
    began = time.monotonic()
    await eventually(lambda: there.users() == {"ann": 2})
    assert time.monotonic() - began < 1.0
    here.node.reached(ann, ("192.0.2.1:7000",))
    await eventually(lambda: [online.addresses for online in there.services.presence.all()] == [("192.0.2.1:7000",)])
    here.leave(ann)
    await eventually(lambda: there.users() == {})


async def test_a_node_that_comes_later_learns_who_is_there(nodes: Nodes, eventually: Eventually) -> None:
    here = nodes.start()
    ann = await here.login("ann", "a", "b")
    here.node.reached(ann, ("192.0.2.1:7000",))
    await here.login("bob", "b")
    there = nodes.start()
    await eventually(lambda: there.users() == {"ann": 2, "bob": 1})
    known = there.services.presence.by_user("ann")
    assert known is not None
    await eventually(lambda: known.addresses == ("192.0.2.1:7000",))


async def test_what_sessions_say_of_themselves_is_known_at_all_nodes(nodes: Nodes, eventually: Eventually) -> None:
    here, there = nodes.start(), nodes.start()
    ann = await here.login("ann", "a", "b")
    bob = await there.login("bob", "c")
    a, b, c, unknown = content("m/a"), content("m/b"), content("m/c"), content("unknown")
    await eventually(lambda: there.users() == {"ann": 2, "bob": 1} == here.users())
    here.services.presence.connects_from(ann, network_of("8.8.8.8"))
    here.slots(ann, 0)
    here.parts(ann, c, unknown)
    expected = Condition(busy=True, network="8.8.8.0/24", parts={c: True, unknown: False})
    await eventually(lambda: there.knows("ann") == expected)
    # And by whoever comes later, or has missed something.
    late = nodes.start()
    await eventually(lambda: late.users() == {"ann": 2, "bob": 1} and late.knows("ann") == expected)
    nodes.lose_the_log()
    here.parts(ann, b, dropped=(unknown,))
    here.slots(ann, 3)
    there.parts(bob, a, c)
    expected = Condition(network="8.8.8.0/24", parts={b: True, c: True})
    await eventually(lambda: there.knows("ann") == late.knows("ann") == expected)
    expected = Condition(parts={a: True, c: True})
    await eventually(lambda: here.knows("bob") == late.knows("bob") == expected)
    # It is of the session, and ends with it.
    here.leave(ann)
    await eventually(lambda: there.users() == {"bob": 1})
    again = await there.login("ann", "a", "b")
    await eventually(lambda: here.users() == {"ann": 2, "bob": 1})
    assert here.knows("ann") == there.knows("ann") == Condition()
    there.leave(again)


async def test_what_changes_often_is_told_once_a_second(nodes: Nodes, eventually: Eventually) -> None:
    here, there = nodes.start(), nodes.start()
    sessions = [await here.login(f"user{n}", "a") for n in range(20)]
    await eventually(lambda: len(there.users()) == 20)
    before = nodes.number()
    began = time.monotonic()
    while time.monotonic() - began < 2.5:
        for online in sessions:
            here.slots(online, int(time.monotonic() * 1000) % 2)
        await deferLater(reactor_clock, 0.01)
    for online in sessions:
        here.slots(online, 0)
    await eventually(lambda: len(there.services.presence.busy) == 20)
    assert nodes.number() - before <= time.monotonic() - began + 1


async def test_contents_are_open_at_all_nodes_or_at_none(nodes: Nodes, eventually: Eventually) -> None:
    here, there = nodes.start(), nodes.start()
    a = content("m/a")

    def is_open() -> list[bool]:
        return [process.services.presence.swarms.is_open(a) for process in nodes.all]

    ann, bob = await here.login("ann", "a"), await here.login("bob")
    here.parts(bob, a)
    await eventually(lambda: there.users() == {"ann": 1, "bob": 0} and there.knows("bob").parts == {a: True})
    # Those who have begun can end without him who left, at every node, also at one that never saw him.
    here.leave(ann)
    await eventually(lambda: there.users() == {"bob": 0})
    late = nodes.start()
    await eventually(lambda: late.users() == {"bob": 0} and late.knows("bob").parts == {a: True})
    assert is_open() == [True] * 3
    # What is withdrawn is open nowhere.
    ann = await there.login("ann", "a")
    await eventually(lambda: here.users().get("ann") == late.users().get("ann") == 1)
    await there.announce(ann, 1, "b")
    await eventually(lambda: is_open() == [False] * 3)
    await eventually(lambda: late.knows("bob").parts == here.knows("bob").parts == {a: False})
    last = nodes.start()
    await eventually(lambda: "bob" in last.users() and last.knows("bob").parts == {a: False})


async def test_wishes_hear_of_what_is_announced_elsewhere_and_hold_it_up_if_there_is_too_much(
    nodes: Nodes, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wishing, "MAX_BACKLOG", 20)
    here, there, third = nodes.start(), nodes.start(), nodes.start()
    ann, heard = await here.login("ann"), Listener()
    await eventually(lambda: there.users() == third.users() == {"ann": 0})
    assert there.services.wishing.hold(heard, 1, understand("song"))
    with monkeypatch.context() as busy:
        busy.setattr(there.services.wishing, "_schedule_matching", lambda: None)
        for n in range(10):
            await here.announce(ann, n, *(f"song {m}" for m in range(30 * (n + 1))))
        await eventually(lambda: third.users() == {"ann": 300})
        assert there.users()["ann"] < 100
    there.services.wishing._schedule_matching()
    await eventually(lambda: there.users() == {"ann": 300})
    await eventually(lambda: any(heard.told))


async def test_wishes_hear_of_what_was_announced_before_its_peer_was_seen_to_be_online(
    nodes: Nodes, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = nodes.start(), nodes.start()
    heard = Listener()
    assert there.services.wishing.hold(heard, 1, understand("song"))
    await here.login("zoe")
    await eventually(lambda: there.users() == {"zoe": 0})
    arrivals, hurry = there.store.arrivals, Deferred[None]()

    async def late(*what: Any) -> Any:
        if not hurry.called:
            await hurry
        return await arrivals(*what)

    monkeypatch.setattr(there.store, "arrivals", lambda *what: ensureDeferred(late(*what)))
    await here.login("ann", "song")
    hurry.callback(None)
    await eventually(lambda: there.users() == {"zoe": 0, "ann": 1})
    await eventually(lambda: any(heard.told))


async def test_a_gap_in_the_log_is_filled_by_comparing_everything(nodes: Nodes, eventually: Eventually) -> None:
    here, there = nodes.start(), nodes.start()
    await here.login("ann", "a")
    await eventually(lambda: there.users() == {"ann": 1})
    nodes.lose_the_log()
    await here.login("bob", "b")
    await eventually(lambda: there.users() == {"ann": 1, "bob": 1})
    assert there.said("index.node_resync") and not there.said("index.node_outdated")


async def test_a_node_that_was_found_dead_writes_nothing_and_comes_back_as_another(
    nodes: Nodes, eventually: Eventually
) -> None:
    here, there = nodes.start(), nodes.start()
    await here.login("ann", "a")
    await eventually(lambda: there.users() == {"ann": 1})
    number = here.node.node
    await there.store._lessee.run(lambda: there.store._lease.leave(number))
    await eventually(lambda: there.users() == {})
    # What it writes under its old number waits until it has another: nobody sees an account at a dead node.
    await here.login("bob", "b")
    assert here.node.node > number
    await eventually(lambda: there.users() == {"ann": 1, "bob": 1})
    assert [event.fields["node"] for event in here.said("index.node_up")] == [number, here.node.node]


async def test_a_session_that_has_a_later_one_elsewhere_is_not_told_again(nodes: Nodes, eventually: Eventually) -> None:
    here, there = nodes.start(), nodes.start()
    old = await here.login("ann", "a")
    await eventually(lambda: there.users() == {"ann": 1})
    new = await there.login("ann", "a", "b", "c")
    await eventually(lambda: here.users() == {"ann": 3})
    assert here.sessions_replaced == [(old.account.number, new.session)]
    # The earlier session's end comes late, and takes nothing away.
    here.node.left(old.account.number, old.session)
    await here.login("bob", "b")
    # The log is in order: who sees the later has seen the earlier.
    await eventually(lambda: there.users().get("bob") == 1)
    assert there.users() == here.users() == {"ann": 3, "bob": 1}


async def test_by_its_own_clock_a_node_stops_at_two_thirds_of_its_lease(nodes: Nodes, eventually: Eventually) -> None:
    here = nodes.start()
    await here.login("ann", "a")
    assert here.node.may_admit()
    nodes.sql("ALTER TABLE node RENAME TO away")
    here.offset_s = LEASE_S * 2 / 3
    assert not here.node.may_admit()
    waiting = ensureDeferred(here.login("bob", "b"))
    await eventually(lambda: bool(here.said("index.node_cut_off")))
    assert not waiting.called
    assert here.users() == {"ann": 1}
    nodes.sql("ALTER TABLE away RENAME TO node")
    await waiting
    assert here.node.may_admit()


async def test_where_nothing_is_kept_who_moves_is_not_forgotten_and_who_leaves_is(
    nodes: Nodes, eventually: Eventually
) -> None:
    here, there = nodes.start(retention_days=0), nodes.start(retention_days=0)
    old = await here.login("ann", "a")
    await eventually(lambda: there.users() == {"ann": 1})
    # It logs in at the other node before this one sees that its connection is gone.
    new = await there.reconnect(old)
    assert there.users() == {"ann": 1}
    here.leave(old)
    await eventually(lambda: here.users() == {"ann": 1})
    # Writes are made in their order: who sees the later sees what became of the earlier.
    await here.login("bob", "b")
    assert nodes.kept() == ["ann", "bob"]
    there.leave(new)
    await eventually(lambda: nodes.kept() == ["bob"])
    await eventually(lambda: there.users() == here.users() == {"bob": 1})


@pytest.mark.limit(60)
async def test_where_nothing_is_kept_those_of_a_node_that_is_lost_are_forgotten_by_another(
    nodes: Nodes, eventually: Eventually
) -> None:
    here, there, third = (nodes.start(retention_days=0) for _ in range(3))
    await here.login("ann", "a")
    await there.login("bob", "b")
    moves = await here.login("carl", "c")
    await eventually(lambda: there.users() == third.users() == {"ann": 1, "bob": 1, "carl": 1})
    await eventually(nodes.have_been_steady, timeout=LEASE_S + 5)
    await here.die()
    await third.reconnect(moves)
    nodes.end_lease(here)
    await eventually(lambda: there.users() == third.users() == {"bob": 1, "carl": 1})
    await eventually(lambda: nodes.kept() == ["bob", "carl"])


async def test_where_nothing_is_kept_a_node_that_stops_forgets_its_own_before_it_leaves(nodes: Nodes) -> None:
    here = nodes.start(retention_days=0)
    sessions = [await here.login(f"user{n}", f"{n}") for n in range(10)]
    for online in sessions:
        here.leave(online)
    await here.node.stop()
    assert nodes.kept() == []
