"""Nodes on one real PostgreSQL, in this process: leases, the log, and what is followed when it has gaps."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import count
from random import Random
from typing import Any

import psycopg
import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred

from napd.background import Background
from napd.index.catalogues import Catalogues
from napd.index.cluster.interface import LEASE_S
from napd.index.cluster.node import Node
from napd.index.limits import Limits
from napd.index.presence import Online, Presence
from napd.index.services import Services, assemble
from napd.index.store.interface import NOWHERE, Step
from napd.index.store.postgres.store import PostgresStore
from napd.model import PeerId
from napd.net.dial import TLSDialler
from napd.ops.events import Event, Events
from tests.support.index_script import entry, identity
from tests.support.postgres import PostgresServer
from tests.support.waiting import Eventually

KEY = PeerId("k" * 52)
EPOCH = "e" * 64
_ids = count(1)


@define(eq=False)
class Process:
    """One node, without its sockets. `asleep`: it does not renew, as if it were stopped."""

    services: Services
    store: PostgresStore
    node: Node
    background: Background
    events: list[Event]
    replaced: list[tuple[int, int]] = field(factory=list)
    offset_s: float = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.offset_s

    async def login(self, user: str, *names: str) -> Online:
        """A session at this node, with a catalogue of its own."""
        store = self.store
        account = await store.account_for(user, KEY, 1.0)
        opened = await store.open_session(account.number, NOWHERE, 1.0)
        online = await self.services.catalogues.connect(account, opened, 1.0)
        step = Step(account.number, opened.session, EPOCH, 0, 1, [entry(f"m/{name}") for name in names], (), True)
        self.services.catalogues.publish(online, await store.apply(step, 1000))
        return online

    def users(self) -> dict[str, int]:
        return {online.account.user: len(online.items) for online in self.services.presence.all()}

    def said(self, name: str) -> Sequence[Event]:
        return [event for event in self.events if event.event == name]


class Nodes:
    def __init__(self, url: str) -> None:
        self.url = url
        self.all: list[Process] = []

    def start(self) -> Process:
        heard: list[Event] = []
        events = Events(time.time)
        events.listen(heard.append)
        background = Background(events.fault)
        store = PostgresStore.open(reactor, self.url, lambda: f"account-{next(_ids)}", time.monotonic, Random(1))
        made: list[Process] = []

        def join(catalogues: Catalogues, presence: Presence) -> Node:
            return Node(
                store, catalogues, presence, clock=reactor_clock, random=Random(2), events=events,
                monotonic=lambda: made[0].monotonic() if made else time.monotonic(),
            )  # fmt: skip

        services = assemble(
            clock=reactor_clock, now=time.time, events=events, background=background, identity=identity("index"),
            store=store, dialler=TLSDialler(reactor, identity("index")), random=Random(3), limits=Limits(), join=join,
        )  # fmt: skip
        node = services.cluster
        assert isinstance(node, Node)
        process = Process(services, store, node, background, heard)
        made.append(process)
        node.start(
            background, f"node{len(self.all)}", lambda account, session: process.replaced.append((account, session))
        )
        self.all.append(process)
        return process

    def sql(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SET search_path = napd")
            connection.execute(statement.encode())

    async def end(self) -> None:
        for process in self.all:
            await process.background.stop()
            await process.node.stop()
            process.services.seeking.stop()
            await process.store.stop()


reactor_clock: Any = reactor


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
    here.services.catalogues.disconnect(ann)
    here.node.left(ann.account.number, ann.session)
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


async def test_a_gap_in_the_log_is_filled_by_comparing_everything(nodes: Nodes, eventually: Eventually) -> None:
    here, there = nodes.start(), nodes.start()
    await here.login("ann", "a")
    await eventually(lambda: there.users() == {"ann": 1})
    # As if the follower had been far behind while the log was cut.
    with psycopg.connect(nodes.url, autocommit=True) as connection, connection.transaction():
        connection.execute("UPDATE napd.clock SET change = change + 100000")
        connection.execute("DELETE FROM napd.change")
    await here.login("bob", "b")
    await eventually(lambda: there.users() == {"ann": 1, "bob": 1})
    assert there.said("index.node_resync")


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
    assert here.replaced == [(old.account.number, new.session)]
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
