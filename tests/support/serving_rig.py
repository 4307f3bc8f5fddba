"""A real peer that serves, on a virtual clock, and fetchers that a test scripts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random
from types import MappingProxyType, SimpleNamespace
from typing import Any

from twisted.internet.task import Clock

from napd.content.digest import CHUNK_BYTES
from napd.wire import peer as wire
from tests.support.memory import MemoryNetwork, settle
from tests.support.scripted_peer import ScriptedPeer, scripted_fetcher
from tests.support.swarm import Node, Town, run_until

MIB = CHUNK_BYTES


def data_of(size: int) -> bytes:
    return Random(size).randbytes(size)


class Rig:
    """A real peer that serves, and fetchers that are scripted."""

    def __init__(self, directory: Path, slots: int = 8, weights: Mapping[str, float] = MappingProxyType({})) -> None:
        self.clock = Clock()
        self.town = Town(self.clock)
        self.network = MemoryNetwork(self.clock)
        self.node = Node(self.town, self.network, "ada", directory / "ada", slots=slots, weights=weights)
        self.small = self.node.library.add("small.txt", b"hello")
        self.three = self.node.library.add("three.bin", data_of(2 * MIB + 7))

    def connect(self) -> ScriptedPeer:
        fetcher = scripted_fetcher(self.clock)
        self.network.join("bob.example", fetcher.identity, self.node.address, wire.ALPN, lambda: fetcher.link)
        settle(self.clock)
        return fetcher

    def ticket(self, fetcher: ScriptedPeer, user: str = "bob", groups: tuple[str, ...] = ()) -> str:
        shown = SimpleNamespace(user=user, key=fetcher.identity, groups=groups)
        return self.town.ticket(shown)  # type: ignore[arg-type]

    def admitted(self, user: str = "bob", groups: tuple[str, ...] = ()) -> ScriptedPeer:
        fetcher = self.connect()
        fetcher.be_admitted(self.ticket(fetcher, user, groups))
        return fetcher

    def pass_time(self, seconds: float, step: float = 0.5) -> None:
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end - 1e-9:
            self.clock.advance(min(step, end - self.clock.seconds()))
            settle(self.clock)

    def until(self, look: Any, seconds: float = 60.0) -> None:
        run_until(self.clock, look, seconds)

    def misbehaved(self) -> list[str]:
        return [event.fields["code"] for event in self.node.events("peer.misbehaved")]
