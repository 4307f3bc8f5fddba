"""A real index client on the memory network, with everything around it faked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.task import Clock

from napd.background import Background
from napd.discovery.index_client import Account, IndexAddress, IndexClient
from napd.discovery.interface import CataloguePosition, CatalogueStep, Holders
from napd.discovery.trust import KnownIndexes
from napd.net.identity import Identity, new_identity
from napd.ops.events import Event, Events
from tests.support.memory import MemoryDialler, MemoryNetwork, settle
from tests.support.scripted_index import ScriptedIndex

ADDRESS = "index.example:6699"
NOW = 1_600_000_000.0


@define
class Catalogue:
    """A `CatalogueFeed` whose steps a test puts there."""

    at: CataloguePosition = field(factory=lambda: CataloguePosition("e" * 64, 0, "0" * 64, 0, 0))
    steps: dict[int, CatalogueStep] = field(factory=dict)
    heard: list[Callable[[], None]] = field(factory=list)

    def position(self) -> CataloguePosition:
        return self.at

    def step(self, after: int, limit_bytes: int) -> CatalogueStep | None:
        return self.steps.get(after)

    def on_change(self, heard: Callable[[], None]) -> None:
        self.heard.append(heard)


@define
class Told:
    """A `Seeker` that remembers."""

    found: list[Holders] = field(factory=list)
    lost: int = 0

    def holders_changed(self, found: Holders) -> None:
        self.found.append(found)

    def discovery_lost(self) -> None:
        self.lost += 1


class Rig:
    """Clients and indexes on one network and clock."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.catalogue = Catalogue()
        self.told = Told()
        self.faults: list[str] = []
        self.said: list[Event] = []
        self.key: Identity = new_identity()
        self.dialler: MemoryDialler = self.network.dialler("peer.example", self.key)
        self.clients: list[IndexClient] = []

    def index(self, address: str = ADDRESS, identity: Identity | None = None) -> ScriptedIndex:
        return ScriptedIndex(self.network, address, identity)

    def client(
        self,
        addresses: Sequence[IndexAddress] = (IndexAddress(ADDRESS),),
        *,
        user: str = "ada",
        credential: str | None = None,
        advertise: Sequence[str] = (),
        seed: int = 1,
        dialler: Any = None,
        start: bool = True,
    ) -> IndexClient:
        events = Events(lambda: NOW)
        events.listen(self.said.append)
        made = IndexClient(
            clock=self.clock,
            now=lambda: NOW + self.clock.seconds(),
            rng=Random(seed),
            dialler=dialler or self.dialler,
            agent="test",
            addresses=addresses,
            account=Account(user, credential),
            port=6700,
            advertise=advertise,
            known=KnownIndexes(self.state / "known_indexes"),
            feed=self.catalogue,
            events=events,
            background=Background(lambda name, failure: self.faults.append(f"{name}: {failure.getTraceback()}")),
        )
        self.clients.append(made)
        if start:
            made.start(self.told)
            settle(self.clock)
        return made

    def pass_time(self, seconds: float, step: float = 0.25) -> None:
        """Let so much time pass, and everything happen that is due on the way."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end:
            self.clock.advance(min(step, end - self.clock.seconds()))
            settle(self.clock)

    def events(self, name: str) -> list[Event]:
        return [event for event in self.said if event.event == name]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    for client in made.clients:
        client.stop()
    settle(made.clock)
    assert not made.faults, "\n".join(made.faults)
