"""A whole swarm for a test: a town, its network and its nodes, and what tests ask of them again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.task import Clock

from napd.content.digest import CHUNK_BYTES
from napd.model import ContentId, DownloadState
from napd.peer.files.disk import Disk
from napd.peer.item import Item
from tests.support.memory import MemoryNetwork, MemoryTransport
from tests.support.swarm import Node, Town, run_until

MIB = CHUNK_BYTES


def data_of(size: int, seed: int = 1) -> bytes:
    return Random(seed).randbytes(size)


@define
class Swarm:
    """A town with its network, and nodes by name."""

    clock: Clock
    town: Town
    network: MemoryNetwork
    directory: Path

    def node(self, user: str, **options: Any) -> Node:
        return Node(self.town, self.network, user, self.directory / user, **options)

    def holders(self, data: bytes, name: str = "file.bin", **rates: float) -> tuple[ContentId, dict[str, Node]]:
        """Nodes by name that hold this, each with so many bytes per second to give."""
        nodes = {}
        content = ContentId("")
        for user, rate in rates.items():
            node = nodes[user] = self.node(user)
            node.up.set_rate(rate)
            content = node.library.add(name, data)
        return content, nodes

    def until(self, look: Callable[[], bool], seconds: float = 600.0) -> float:
        return run_until(self.clock, look, seconds)

    def finish(self, *items: Item, seconds: float = 600.0) -> float:
        return self.until(lambda: all(item.state.ended for item in items), seconds)

    def pass_time(self, seconds: float) -> None:
        """Whatever happens."""
        end = self.clock.seconds() + seconds
        self.until(lambda: self.clock.seconds() >= end - 1e-9, seconds + 1)

    def links_of(self, node: Node) -> list[MemoryTransport]:
        """The ends of connections that are this node's."""
        return [end for end in self.network.transports if end.identity is node.key and not end.closed]

    def silence(self, node: Node) -> None:
        """Its cable is pulled: nothing it says arrives any more, and nobody is told."""
        for end in self.links_of(node):
            end.go_silent()


@contextmanager
def swarm_in(directory: Path) -> Iterator[Swarm]:
    clock = Clock()
    made = Swarm(clock, Town(clock), MemoryNetwork(clock), directory)
    yield made
    for node in made.town.nodes:
        assert not node.faults, "\n".join(node.faults)


def saved(item: Item) -> bytes:
    assert item.state is DownloadState.DONE, item.error
    assert item.path is not None
    return Path(item.path).read_bytes()


@define
class FlippingDisk(Disk):
    """Reads with one bit wrong, in the reads whose number (from 0) is chosen."""

    wrong: Callable[[int], bool]
    reads: int = 0
    flipped: int = field(default=0)

    def read_cached(self, descriptor: int, buffer: memoryview, offset: int) -> bool:
        return False

    def read_into(self, descriptor: int, buffer: memoryview, offset: int) -> int:
        size = super().read_into(descriptor, buffer, offset)
        number, self.reads = self.reads, self.reads + 1
        if size and self.wrong(number):
            self.flipped += 1
            buffer[size // 2] ^= 1
        return size
