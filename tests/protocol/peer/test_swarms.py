"""Peers that fetch one content and serve one another what they have of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from attrs import define, field

from napd.content.digest import CHUNK_BYTES
from napd.model import ContentId, DownloadState
from napd.peer.fetch.crew import LACK_S
from napd.peer.item import Item
from napd.peer.serve.partial_sharing import Parts
from napd.peer.source_views import source_rows
from tests.support.memory import MemoryNetwork, QuickClock
from tests.support.swarm import Node, Town, run_until

MIB = CHUNK_BYTES


@define
class Scene:
    """One with a file, and others."""

    directory: Path
    clock: QuickClock = field(factory=QuickClock)
    town: Town = field(init=False)
    network: MemoryNetwork = field(init=False)
    data: bytes = b""

    def __attrs_post_init__(self) -> None:
        self.town, self.network = Town(self.clock), MemoryNetwork(self.clock)

    def node(self, user: str, **options: object) -> Node:
        return Node(self.town, self.network, user, self.directory / user, **options)  # type: ignore[arg-type]

    def source(self, chunks: int, rate: float, audience: tuple[str, ...] = ("everyone",), **how: int) -> ContentId:
        """Its file's content; it sends so many chunks a second."""
        node = self.node("source", **how)
        node.up.set_rate(rate * MIB)
        self.data = Random(chunks).randbytes((chunks - 1) * MIB + 99)
        return node.library.add("file.bin", self.data, audience)

    def swarm(self, count: int, content: ContentId, **options: object) -> tuple[list[Node], list[Item]]:
        nodes = [self.node(f"peer{n}", **options) for n in range(count)]
        return nodes, [node.get(content)[0] for node in nodes]

    def until(self, look: Callable[[], bool], seconds: float = 600.0) -> float:
        """In parts: each may take a minute of real time."""
        began = self.clock.seconds()
        while not look():
            part = self.clock.seconds() + 5.0
            assert part <= began + seconds + 5.0, f"not within {seconds:g} virtual seconds"
            run_until(self.clock, lambda: look() or self.clock.seconds() >= part, 6.0)  # noqa: B023
        return self.clock.seconds() - began

    def pass_time(self, seconds: float) -> None:
        end = self.clock.seconds() + seconds
        self.until(lambda: self.clock.seconds() >= end, seconds + 5)

    def finish(self, items: list[Item], seconds: float = 600.0) -> float:
        took = self.until(lambda: all(item.state.ended for item in items), seconds)
        for item in items:
            assert item.state is DownloadState.DONE, item.error
            assert item.path is not None
            assert Path(item.path).read_bytes() == self.data
        return took

    def sent(self, node: Node) -> float:
        """How many copies of the file it has sent."""
        over = sum(event.fields["bytes"] for event in node.events("upload.finished"))
        return (over + sum(row.bytes_sent for row in node.uploads.rows())) / len(self.data)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    for node in made.town.nodes:
        assert not node.faults, "\n".join(node.faults)


def test_a_swarm_gets_a_file_from_a_slow_source_in_little_more_than_the_time_of_one_copy(scene: Scene) -> None:
    content = scene.source(32, rate=1.0)
    _, items = scene.swarm(6, content)
    # At the beginning and at the end a chunk is on its way to several.
    assert scene.finish(items) <= 1.3 * 32 + 8


def test_without_it_each_takes_a_copy_of_its_own(scene: Scene) -> None:
    content = scene.source(6, rate=1.0)
    nodes, items = scene.swarm(6, content, share_partial=False)
    assert scene.finish(items) >= 0.9 * 6 * 5
    assert all(node.discovery.parts == {} for node in nodes)
    assert all(node.events("upload.started") == [] for node in nodes)


@pytest.mark.slow
def test_twenty_peers_from_one_slow_source(scene: Scene) -> None:
    content = scene.source(32, rate=1.0)
    _, items = scene.swarm(20, content)
    # A chunk or two for each of its eight slots are on their way to several, at the beginning and at the end.
    assert scene.finish(items, 2000) <= 1.3 * 32 + 16


def test_what_is_for_some_only_is_fetched_from_its_owner_by_each(scene: Scene) -> None:
    content = scene.source(5, rate=2.0, audience=("@account-peer0", "@account-peer1"))
    nodes, items = scene.swarm(2, content)
    scene.finish(items)
    assert scene.sent(scene.town.nodes[0]) >= 1.9
    assert all(node.discovery.parts == {} for node in nodes)


def test_one_that_serves_nothing_fetches_from_others_all_the_same(scene: Scene) -> None:
    content = scene.source(24, rate=1.0)
    bob, cyd = scene.node("bob"), scene.node("cyd", share_partial=False)
    items = [bob.get(content)[0]]
    scene.until(lambda: items[0].bytes_received >= 8 * MIB)
    items += cyd.get(content)
    scene.finish(items)
    assert {event.fields["user"] for event in bob.events("upload.started")} == {"cyd"}
    assert cyd.events("upload.started") == []


def test_a_source_with_parts_is_shown_as_that(scene: Scene) -> None:
    content = scene.source(24, rate=1.0)
    nodes, items = scene.swarm(2, content)
    scene.until(lambda: items[0].bytes_received >= 4 * MIB)
    rows = source_rows(nodes[0].downloads, nodes[0].sources, items[0], scene.clock.seconds())
    assert "is fetching it too" in next(row.why for row in rows if row.user == "peer1")


# --- Those who lie, go, or have nothing --------------------------------------------------------------


def test_one_that_claims_what_it_does_not_have_is_left(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    content = scene.source(24, rate=1.0)
    liar = scene.node("liar")
    (lies,) = liar.get(content)
    scene.until(lambda: content in liar.discovery.parts)
    scene.town.nodes[0].up.set_rate(0.2 * MIB)
    honest = Parts.bits

    def bits(parts: Parts, group: int) -> int:
        return (1 << 24) - 1 if parts._item is lies else honest(parts, group)

    monkeypatch.setattr(Parts, "bits", bits)
    bob = scene.node("bob")
    (item,) = bob.get(content)
    scene.until(lambda: bool(bob.events("download.source_lost")), 120)
    lost = bob.events("download.source_lost")[0].fields
    assert (lost["user"], lost["code"]) == ("liar", "refused")
    scene.town.nodes[0].up.set_rate(8.0 * MIB)
    scene.finish([item])


def test_one_that_goes_takes_nothing_along(scene: Scene) -> None:
    content = scene.source(24, rate=2.0)
    nodes, items = scene.swarm(3, content)
    scene.until(lambda: any(node.events("upload.started") for node in nodes))
    nodes[2].crash()
    scene.town.tell()
    scene.finish(items[:2])


def test_who_have_the_same_parts_wait_together_and_go_on_when_the_source_is_back(scene: Scene) -> None:
    content = scene.source(24, rate=2.0)
    _, items = scene.swarm(2, content)
    source = scene.town.nodes[0]
    scene.until(lambda: all(item.bytes_done >= 4 * MIB for item in items))
    source.go_offline()
    scene.town.tell()
    scene.until(lambda: all(item.state is DownloadState.WAITING for item in items), LACK_S + 20)
    # They have given each other what they had.
    assert items[0].bytes_done == items[1].bytes_done
    source.come_back()
    scene.town.tell()
    scene.until(lambda: all(item.state is DownloadState.ACTIVE for item in items), 5)
    scene.finish(items)


def test_one_that_has_nothing_for_us_yet_is_no_reason_to_wait_and_none_to_be_left(scene: Scene) -> None:
    content = scene.source(24, rate=1.0)
    bob, cyd = scene.node("bob"), scene.node("cyd")
    (first,) = bob.get(content)
    scene.until(lambda: first.bytes_received >= 3 * MIB)
    (second,) = cyd.get(content)
    scene.finish([first, second])
    assert cyd.events("download.waiting") == []
    assert cyd.events("download.source_lost") == []


def test_one_that_finishes_and_shares_the_file_goes_on_as_a_whole_source(scene: Scene) -> None:
    content = scene.source(24, rate=2.0)
    bob, cyd = scene.node("bob"), scene.node("cyd")
    (first,) = bob.get(content)
    scene.until(lambda: first.bytes_received >= 12 * MIB)
    (second,) = cyd.get(content)
    scene.until(lambda: first.state is DownloadState.DONE)
    bob.library.add("file.bin", scene.data)
    scene.town.tell()
    scene.finish([second])
