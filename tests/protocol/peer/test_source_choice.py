"""Which sources are used: the best first once anything was measured, each by what it gives, and never too many."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from attrs import define
from twisted.internet.task import Clock, deferLater

from napd.errors import SourceFailed
from napd.model import ContentId, DownloadState
from napd.net.identity import PublicKey
from napd.net.link import SecureLink
from napd.peer.fetch.fetching import FetchSession
from napd.peer.item import Item
from napd.peer.source_views import source_rows
from napd.wire import peer as wire
from tests.support.memory import MemoryDialler, settle
from tests.support.swarm import Node
from tests.support.swarms import MIB, Swarm, data_of, saved

SHAPES = {"one": 1e6, "two": 2e6, "five": 5e6, "ten": 10e6, "twenty": 20e6}


@define
class Distant:
    """A dialler whose connections take their time."""

    dialler: MemoryDialler
    clock: Clock
    delay_s: Callable[[], float]

    async def dial(self, address: str, alpn: bytes, build: Callable[[], SecureLink]) -> None:
        await deferLater(self.clock, self.delay_s())
        await self.dialler.dial(address, alpn, build)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[ContentId, PublicKey]]:
    """Every request for chunks by anybody, in order: of what, and of whom."""
    requests: list[tuple[ContentId, PublicKey]] = []
    say = FetchSession._say

    def recorded(self: FetchSession, *messages: wire.FromFetcher) -> None:
        link = self._link
        for message in messages:
            if isinstance(message, wire.Get):
                assert link is not None
                key = PublicKey.of_certificate(link.transport.getPeerCertificate().to_cryptography())
                requests.append((ContentId(message.content), key))
        say(self, *messages)

    monkeypatch.setattr(FetchSession, "_say", recorded)
    return requests


def shared_by_all(swarm: Swarm, name: str, data: bytes, **rates: float) -> ContentId:
    """All of these hold it from now on."""
    nodes = {node.user: node for node in swarm.town.nodes}
    content = ContentId("")
    for user, rate in rates.items():
        node = nodes.get(user) or swarm.node(user)
        node.up.set_rate(rate)
        content = node.library.add(name, data)
    return content


def begin_again(asker: Node, rng: Random) -> None:
    """It is shut down in good order and started again; its connections take up to 0.3 s from now on."""
    asker.sources.stop()
    settle(asker.clock)
    asker.crash()
    asker.start()
    distant = Distant(asker.sources._dialler, asker.clock, lambda: rng.uniform(0, 0.3))  # type: ignore[arg-type]
    asker.sources._dialler = distant


def test_of_five_shaped_peers_the_best_is_asked_first_after_a_restart(
    swarm: Swarm, asked: list[tuple[ContentId, PublicKey]]
) -> None:
    measured = shared_by_all(swarm, "first.bin", data_of(48 * MIB, 1), **SHAPES)
    wanted = shared_by_all(swarm, "second.bin", data_of(2 * MIB, 2), **SHAPES)
    asker = swarm.node("asker")
    (item,) = asker.get(measured)
    swarm.finish(item)
    users = {node.key.id: node.user for node in swarm.town.nodes}

    firsts = []
    for seed in range(100):
        rng = Random(seed)
        rng.shuffle(swarm.town.nodes)
        begin_again(asker, rng)
        asked.clear()
        (item,) = asker.get(wanted)
        swarm.until(lambda: bool(asked))
        content, key = asked[0]
        assert content == wanted
        firsts.append(users[key.id])
        asker.do(asker.downloads.cancel(list(asker.downloads.queue)))
        if item.path is not None:
            Path(item.path).unlink()
    assert firsts.count("twenty") >= 95, firsts


def test_chunks_flow_in_proportion_to_what_each_gives(swarm: Swarm) -> None:
    data = data_of(76 * MIB)
    content, _ = swarm.holders(data, **SHAPES)
    asker = swarm.node("asker")
    started = swarm.clock.seconds()
    (item,) = asker.get(content)
    served: dict[str, int] = {}

    def looked() -> bool:
        running = asker.downloads.running(item)
        for lane in () if running is None else running.lanes.values():
            served[lane.source.user] = lane.served
        return item.state.ended

    swarm.until(looked)
    assert saved(item) == data
    took = swarm.clock.seconds() - started
    assert took < len(data) / sum(SHAPES.values()) * 1.35
    for user, rate in SHAPES.items():
        share = served[user] / sum(served.values())
        assert share == pytest.approx(rate / sum(SHAPES.values()), rel=0.5, abs=0.03), served
    assert item.bytes_received <= len(data) + 4 * MIB


def test_no_more_sources_than_places_are_at_work_and_all_get_measured_in_time(swarm: Swarm) -> None:
    rates = {f"peer{n}": 1e6 for n in range(9)} | {"best": 4e6}
    asker = swarm.node("asker")
    asker.sources.places = 3
    most = 0
    for number in range(6):
        content = shared_by_all(swarm, f"{number}.bin", data_of(6 * MIB, number), **rates)
        (item,) = asker.get(content)

        def looked(item: Item = item) -> bool:
            nonlocal most
            running = asker.downloads.running(item)
            lanes = [] if running is None else list(running.lanes.values())
            most = max(most, sum(not (lane.waits or lane.crawling) for lane in lanes))
            assert len(lanes) <= 6
            return item.state.ended

        swarm.until(looked)
    assert 2 <= most <= 4
    facts = {node.user: asker.sources.facts(node.key.id) for node in swarm.town.nodes if node is not asker}
    measured = [user for user, fact in facts.items() if fact.bytes_per_s is not None]
    assert len(measured) >= 7, measured


def test_the_parts_of_a_score_and_the_reason_are_told(swarm: Swarm) -> None:
    data = data_of(30 * MIB)
    content, nodes = swarm.holders(data, ada=4e6, bob=1e6)
    cyd = swarm.node("cyd")
    (item,) = cyd.get(content)
    swarm.until(lambda: item.bytes_received > 12 * MIB)
    best, other = source_rows(cyd.downloads, cyd.sources, item, swarm.clock.seconds())

    assert (best.user, best.state, other.user) == ("ada", "active", "bob")
    assert best.score is not None
    assert other.score is not None
    assert best.score.measured
    assert best.score.pace_bytes_per_s == pytest.approx(4e6, rel=0.3)
    assert best.score.bytes_per_s > other.score.bytes_per_s
    assert "expected to give" in best.why
    assert "reliable" in best.why

    nodes["bob"].go_offline()
    swarm.until(lambda: bool(cyd.events("download.source_lost")))
    (row,) = [row for row in source_rows(cyd.downloads, cyd.sources, item, swarm.clock.seconds()) if row.user == "bob"]
    assert row.state == "backing_off"
    assert row.retry_in_s is not None
    assert 0 < row.retry_in_s <= 1.25
    assert row.longest_wait_s == 60
    assert "at most" in row.why


def test_when_a_waiting_download_is_looked_at_again_is_told(swarm: Swarm) -> None:
    content, nodes = swarm.holders(data_of(4 * MIB), ada=1e6)
    bob = swarm.node("bob")
    (item,) = bob.get(content)
    swarm.until(lambda: item.bytes_received > 0)
    nodes["ada"].go_offline()
    # The index has not noticed.
    nodes["ada"].online = True
    swarm.until(lambda: item.state is DownloadState.WAITING, seconds=60)

    (row,) = source_rows(bob.downloads, bob.sources, item, swarm.clock.seconds())
    assert row.state == "idle"
    assert row.retry_in_s is not None
    assert row.longest_wait_s == 120


def test_who_is_connected_and_has_no_place_for_one_more_download_is_told_as_such(swarm: Swarm) -> None:
    ada = swarm.node("ada")
    contents = [ada.library.add(f"{number}.bin", data_of(8 * MIB, number)) for number in range(2)]
    ada.up.set_rate(1e6)
    bob = swarm.node("bob")
    bob.sources.per_source = 1
    (first,), (second,) = (bob.get(content) for content in contents)
    swarm.until(lambda: first.bytes_received > 0 and second.state is DownloadState.ACTIVE)

    (row,) = source_rows(bob.downloads, bob.sources, second, swarm.clock.seconds())
    assert row.state == "ready"
    assert "as many downloads as may be (1) are at work with it" in row.why


def test_a_busy_source_that_says_for_how_long_is_shown_with_the_longest_wait_that_is_honoured(swarm: Swarm) -> None:
    content, nodes = swarm.holders(data_of(4 * MIB), ada=1e6)
    bob = swarm.node("bob")
    (item,) = bob.get(content)
    swarm.until(lambda: item.bytes_received > 0)
    busy = SourceFailed("not now", code="busy", retry_after_s=280.0)
    bob.downloads.seeker.prospects.ban(item.content, nodes["ada"].key.id, busy)

    (row,) = source_rows(bob.downloads, bob.sources, item, swarm.clock.seconds())
    assert (row.state, row.retry_in_s, row.longest_wait_s) == ("banned", 280.0, 3600.0)
    assert "for 280 s more (at most 3600 s)" in row.why
