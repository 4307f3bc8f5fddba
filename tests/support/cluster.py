"""Nodes on one real PostgreSQL, in this process, each without its sockets."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import count
from random import Random
from typing import Any
from urllib.parse import urlsplit

import psycopg
from attrs import define, field
from twisted.internet import reactor

from napd.background import Background
from napd.index.catalogues import Catalogues
from napd.index.cluster.interface import LEASE_S, Condition
from napd.index.cluster.node import Node
from napd.index.cluster.telling import condition_of
from napd.index.housekeeping import Housekeeping
from napd.index.limits import Limits
from napd.index.presence import Online, Presence
from napd.index.retention import RETENTION_DAYS
from napd.index.services import Services, assemble
from napd.index.store.interface import NOWHERE, Position, Step
from napd.index.store.postgres.store import PostgresStore
from napd.model import PeerId
from napd.net.dial import TLSDialler
from napd.ops.events import Event, Events
from tests.support.index_script import entry, identity

reactor_clock: Any = reactor

KEY = PeerId("k" * 52)
EPOCH = "e" * 64
_ids = count(1)


@define(eq=False)
class Process:
    """One node, without its sockets."""

    services: Services
    store: PostgresStore
    node: Node
    background: Background
    events: list[Event]
    housekeeping: Housekeeping
    sessions_replaced: list[tuple[int, int]] = field(factory=list)
    offset_s: float = 0.0

    def replaced(self, account: int, session: int) -> None:
        self.sessions_replaced.append((account, session))

    def node_lost(self) -> None:
        self.background.start("forget", self.housekeeping.forget_left())

    def store_went_back(self) -> None:
        """Its daemon would end, and begin anew."""

    def was_lost(self) -> None:
        """Its daemon's sessions would end if nothing is kept: see tests/loopback."""

    def monotonic(self) -> float:
        return time.monotonic() + self.offset_s

    async def login(self, user: str, *names: str) -> Online:
        """A session at this node, with a catalogue of its own."""
        store = self.store
        account = await store.account_for(user, KEY, 1.0)
        opened = await store.open_session(account.number, NOWHERE, 1.0)
        online = await self.services.catalogues.connect(account, opened, 1.0)
        self.node.arrived(online, self.node.node)
        await self.announce(online, 0, *names)
        return online

    async def reconnect(self, online: Online) -> Online:
        """The same peer with the same catalogue logs in here."""
        # It is further on by now, and what is stored is a part of it.
        opened = await self.store.open_session(online.account.number, Position(EPOCH, 2, "f" * 64), 1.0)
        again = await self.services.catalogues.connect(online.account, opened, 1.0)
        self.node.arrived(again, self.node.node)
        return again

    async def announce(self, online: Online, revision: int, *names: str) -> None:
        """All that the peer offers from now on."""
        entries = [entry(f"m/{name}") for name in names]
        step = Step(online.account.number, online.session, EPOCH, 0, revision + 1, entries, (), True)
        await self.services.catalogues.publish(online, await self.store.apply(step, 1000))

    def parts(self, online: Online, *added: str, dropped: tuple[str, ...] = ()) -> None:
        """The peer of a session here says what it has parts of."""
        self.services.catalogues.parts_changed(online, added, dropped)
        self.node.said(online)

    def slots(self, online: Online, free: int) -> None:
        self.services.presence.slots_told(online, free)
        self.node.said(online)

    def knows(self, user: str) -> Condition:
        """What is known here of a user who is online."""
        online = self.services.presence.by_user(user)
        assert online is not None
        return condition_of(self.services.presence, online)

    def leave(self, online: Online) -> None:
        self.services.catalogues.disconnect(online)
        self.node.left(online.account.number, online.session)
        self.services.retention.left(online)

    async def die(self) -> None:
        """It does nothing any more, and says nothing of it."""
        await self.background.stop()

    def users(self) -> dict[str, int]:
        return {online.account.user: len(online.items) for online in self.services.presence.all()}

    def said(self, name: str) -> Sequence[Event]:
        return [event for event in self.events if event.event == name]


class Nodes:
    def __init__(self, url: str) -> None:
        self.url = url
        self.all: list[Process] = []

    def start(self, name: str = "", retention_days: float = RETENTION_DAYS, through: str | None = None) -> Process:
        """:param through: the address of a proxy that leads to PostgreSQL."""
        url = self.url if through is None else urlsplit(self.url)._replace(netloc=f"napd@{through}").geturl()
        heard: list[Event] = []
        events = Events(time.time)
        events.listen(heard.append)
        background = Background(events.fault)
        store = PostgresStore.open(reactor, url, lambda: f"account-{next(_ids)}", time.monotonic, Random(1))
        made: list[Process] = []

        def join(catalogues: Catalogues, presence: Presence) -> Node:
            return Node(
                store, catalogues, presence, clock=reactor_clock, random=Random(2), events=events,
                monotonic=lambda: made[0].monotonic() if made else time.monotonic(),
            )  # fmt: skip

        services = assemble(
            clock=reactor_clock, now=time.time, events=events, background=background, identity=identity("index"),
            store=store, dialler=TLSDialler(reactor, identity("index")), random=Random(3), limits=Limits(), join=join,
            retention_days=retention_days,
        )  # fmt: skip
        housekeeping = Housekeeping(
            reactor_clock, time.time, store, services.presence, services.catalogues, services.retention
        )
        node = services.cluster
        assert isinstance(node, Node)
        process = Process(services, store, node, background, heard, housekeeping)
        made.append(process)
        node.start(background, name or f"node{len(self.all)}", process)
        self.all.append(process)
        return process

    def sql(self, *statements: str) -> None:
        """In one transaction."""
        with psycopg.connect(self.url, autocommit=True) as connection, connection.transaction():
            connection.execute("SET LOCAL search_path = napd")
            for statement in statements:
                connection.execute(statement.encode())

    def lose_the_log(self) -> None:
        """As if all were far behind while it was cut."""
        self.sql("UPDATE clock SET change = change + 100000", "DELETE FROM change")

    def have_been_steady(self) -> bool:
        """Whether PostgreSQL has been up for as long as it takes to judge; then all nodes are as if they had, too."""
        up = "SELECT pg_postmaster_start_time() < clock_timestamp() - make_interval(secs => 16)"
        if not self._one(up):
            return False
        for process in self.all:
            process.node._steady_since = process.monotonic() - 2 * LEASE_S
        return True

    def end_lease(self, process: Process) -> None:
        """As if it had not been renewed for so long."""
        self.sql(f"UPDATE node SET until = clock_timestamp() WHERE number = {process.node.node}")

    def time(self) -> float:
        """PostgreSQL's."""
        return float(self._one("SELECT extract(epoch FROM clock_timestamp())::double precision"))

    def renewed(self, since: float) -> bool:
        """Whether all leases have been renewed since then, by PostgreSQL's clock."""
        first_end = self._one("SELECT extract(epoch FROM min(until))::double precision FROM napd.node WHERE NOT gone")
        return float(first_end) >= since + LEASE_S

    def kept(self) -> list[str]:
        """Users of whom the store has a catalogue."""
        query = "SELECT name FROM napd.account JOIN napd.catalogue ON account = number WHERE listings > 0 ORDER BY name"
        with psycopg.connect(self.url) as connection:
            return [name for (name,) in connection.execute(query.encode())]

    def number(self) -> int:
        """Of the last change."""
        return int(self._one("SELECT change FROM napd.clock"))

    def _one(self, query: str) -> Any:
        with psycopg.connect(self.url) as connection:
            row = connection.execute(query.encode()).fetchone()
            return row and row[0]

    async def end(self) -> None:
        for process in self.all:
            await process.background.stop()
            await process.node.stop()
            process.services.seeking.stop()
            await process.store.stop()
