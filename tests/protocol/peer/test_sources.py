"""The pool of sources: addresses in turn, back-off that grows and ends, links that are shared and let go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from random import Random

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from napd.background import Background
from napd.discovery.interface import Holder
from napd.errors import SourceFailed
from napd.net.identity import Identity, new_identity
from napd.net.link import SecureLink
from napd.net.pacing import Pacer
from napd.peer.sources.addresses import LAST_BACK_OFF_S
from napd.peer.sources.dialling import HEAD_START_S, MAX_ATTEMPTS
from napd.peer.sources.experience import Experience, Lesson
from napd.peer.sources.pool import KEEP_IDLE_S, LINK_WAIT_S, SourcePool
from napd.peer.sources.source import Source, SourceState
from napd.wire import peer as wire
from tests.support.memory import MemoryDialler, MemoryNetwork, settle
from tests.support.scripted_peer import HELLO, ScriptedPeer, scripted_source

BOB = new_identity()


@define(eq=False)
class User:
    """A `SourceUser` that remembers."""

    ready: list[Source] = field(factory=list)
    lost: list[str] = field(factory=list)

    def source_ready(self, source: Source) -> None:
        self.ready.append(source)

    def source_lost(self, source: Source, failure: SourceFailed) -> None:
        self.lost.append(failure.code)


class Rig:
    def __init__(self) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.dialler = self.network.dialler("here.example", new_identity())
        self.faults: list[str] = []
        self.links: list[ScriptedPeer] = []
        self.kept: list[Sequence[Lesson]] = []
        self.pool = SourcePool(
            clock=self.clock,
            rng=Random(1),
            dialler=self.dialler,
            agent="test",
            ticket=lambda: "ticket",
            pacer=Pacer(self.clock),
            experience=Experience(self.clock.seconds, (), lambda learnt, _: self.kept.append(learnt)),
            background=Background(lambda name, failure: self.faults.append(failure.getTraceback())),
        )

    def serve(self, address: str, *, admits: bool = True, identity: Identity = BOB) -> None:
        """A source answers at this address."""

        def build() -> SecureLink:
            script = scripted_source(self.clock)
            script.greeting = (HELLO["serve"], wire.Admitted() if admits else wire.Bye("bad_ticket", "no"))
            self.links.append(script)
            return script.link

        self.network.listen(address, identity, {wire.ALPN: build})

    def holder(self, *addresses: str) -> Holder:
        return Holder(BOB.id, "bob", addresses)

    def join(self, *addresses: str) -> tuple[Source, User]:
        source, user = self.pool.want(self.holder(*addresses)), User()
        self.pool.join(source, user)
        settle(self.clock)
        return source, user

    def pass_time(self, seconds: float) -> None:
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end - 1e-9:
            self.clock.advance(min(0.25, end - self.clock.seconds()))
            settle(self.clock)


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    assert not made.faults, "\n".join(made.faults)


def test_the_first_address_that_leads_to_the_peer_is_used(rig: Rig) -> None:
    rig.serve("b.example:2", identity=new_identity())
    rig.serve("c.example:3")
    source, user = rig.join("a.example:1", "b.example:2", "c.example:3", "d.example:4")
    assert list(rig.dialler.dialled) == ["a.example:1", "b.example:2", "c.example:3"]
    assert (source.state, user.ready, user.lost) == (SourceState.READY, [source], [])


def test_one_link_serves_everybody(rig: Rig) -> None:
    rig.serve("a.example:1")
    source, first = rig.join("a.example:1")
    again, second = rig.join("a.example:1")
    assert again is source
    assert len(rig.links) == 1
    assert second.ready == [source]
    rig.pool.leave(source, first)
    rig.pass_time(KEEP_IDLE_S * 2)
    assert source.state is SourceState.READY


def test_a_link_that_nobody_uses_is_kept_for_a_moment_and_then_closed(rig: Rig) -> None:
    rig.serve("a.example:1")
    source, user = rig.join("a.example:1")
    rig.pool.leave(source, user)
    rig.pass_time(KEEP_IDLE_S - 1)
    _, second = rig.join("a.example:1")
    assert second.ready == [source]
    rig.pool.leave(source, second)
    rig.pass_time(KEEP_IDLE_S + 1)
    assert rig.links[0].lost is not None
    assert rig.pool.source(BOB.id) is None
    assert user.lost == second.lost == []


def test_a_source_without_an_address_is_unreachable(rig: Rig) -> None:
    source, user = rig.join()
    assert (source.state, user.lost) == (SourceState.UNREACHABLE, ["unreachable"])


def test_a_source_that_does_not_answer_is_tried_again_ever_more_rarely(rig: Rig) -> None:
    source, user = rig.join("a.example:1")
    assert (source.state, user.lost) == (SourceState.BACKING_OFF, ["unreachable"])
    at: list[float] = []
    for _ in range(400):
        before = len(rig.dialler.dialled)
        rig.pass_time(1)
        at += [rig.clock.seconds()] * (len(rig.dialler.dialled) - before)
    waits = [later - earlier for earlier, later in pairwise(at)]
    for number, wait in enumerate(waits):
        middle = min(LAST_BACK_OFF_S, 2.0 ** (number + 1))
        assert 0.75 * middle - 1 <= wait <= 1.25 * middle + 1
    assert len(waits) > 5


def test_a_source_that_came_back_is_tried_at_once(rig: Rig) -> None:
    source, user = rig.join("a.example:1")
    rig.pass_time(60)
    rig.serve("a.example:1")
    rig.pool.returned(rig.holder("a.example:1"))
    settle(rig.clock)
    assert user.ready == [source]
    assert source.state is SourceState.READY


def test_new_addresses_are_used_at_the_next_attempt(rig: Rig) -> None:
    source, user = rig.join("a.example:1")
    rig.serve("b.example:2")
    rig.pool.want(rig.holder("b.example:2"))
    rig.pass_time(2)
    assert user.ready == [source]


def test_a_source_that_refuses_us_is_backed_off_from_with_its_reason(rig: Rig) -> None:
    rig.serve("a.example:1", admits=False)
    source, user = rig.join("a.example:1")
    assert user.lost == ["bad_ticket"]
    assert source.failure is not None
    assert "hung up" in source.failure.message


def test_a_lost_link_is_told_to_all_and_dialled_again(rig: Rig) -> None:
    rig.serve("a.example:1")
    source, first = rig.join("a.example:1")
    _, second = rig.join("a.example:1")
    rig.links[0].link.abort(SourceFailed("x"))
    settle(rig.clock)
    assert len(first.lost) == len(second.lost) == 1
    rig.pass_time(2)
    assert len(rig.links) == 2
    assert first.ready == second.ready == [source, source]


def test_a_lost_link_that_nobody_uses_is_forgotten(rig: Rig) -> None:
    rig.serve("a.example:1")
    source, user = rig.join("a.example:1")
    rig.pool.leave(source, user)
    rig.links[0].link.abort(SourceFailed("x"))
    settle(rig.clock)
    rig.pass_time(60)
    assert len(rig.links) == 1
    assert rig.pool.source(BOB.id) is None


def test_stopping_closes_every_link_and_dials_no_more(rig: Rig) -> None:
    rig.serve("a.example:1")
    _, user = rig.join("a.example:1")
    rig.pool.stop()
    rig.pass_time(120)
    assert len(user.lost) == 1
    assert len(rig.links) == 1
    assert rig.clock.getDelayedCalls() == []


@define(eq=False)
class Slow:
    """A dialler behind which some addresses never answer."""

    dialler: MemoryDialler
    mute: set[str]
    under_way: list[str] = field(factory=list)
    most: int = 0

    async def dial(self, address: str, alpn: bytes, build: Callable[[], SecureLink]) -> None:
        self.under_way.append(address)
        self.most = max(self.most, len(self.under_way))
        try:
            if address in self.mute:
                await Deferred()
            await self.dialler.dial(address, alpn, build)
        finally:
            self.under_way.remove(address)


def test_an_address_that_does_not_answer_delays_the_next_by_a_moment_only(rig: Rig) -> None:
    slow = rig.pool._dialler = Slow(rig.dialler, {"a.example:1", "b.example:2"})
    rig.serve("c.example:3")
    _, user = rig.join("a.example:1", "b.example:2", "c.example:3")
    assert slow.under_way == ["a.example:1"]
    rig.pass_time(HEAD_START_S + 0.5)
    assert slow.under_way == ["a.example:1", "b.example:2"]
    rig.pass_time(5)
    assert slow.most == MAX_ATTEMPTS
    assert user.ready == []


def test_the_second_address_is_used_and_the_attempt_at_the_first_is_given_up(rig: Rig) -> None:
    slow = rig.pool._dialler = Slow(rig.dialler, {"a.example:1"})
    rig.serve("b.example:2")
    source, user = rig.join("a.example:1", "b.example:2")
    rig.pass_time(HEAD_START_S + 0.5)
    assert user.ready == [source]
    assert slow.under_way == []


def test_the_back_off_from_an_address_outlives_the_source_that_was_met_there(rig: Rig) -> None:
    source, user = rig.join("a.example:1")
    for _ in range(4):
        rig.pass_time(10)
    tried = len(rig.dialler.dialled)
    rig.pool.leave(source, user)
    rig.pass_time(120)
    source, user = rig.join("a.example:1")
    rig.pool.leave(source, user)
    again, _ = rig.join("a.example:1")
    assert len(rig.dialler.dialled) == tried + 1
    assert again.state is SourceState.BACKING_OFF


def test_beyond_so_many_links_a_source_waits_for_one_to_end(rig: Rig) -> None:
    rig.pool._most = 2
    peers = [new_identity() for _ in range(3)]
    for n, peer in enumerate(peers):
        rig.serve(f"{n}.example:1", identity=peer)
    sources = [rig.pool.want(Holder(peer.id, "b", (f"{n}.example:1",))) for n, peer in enumerate(peers)]
    users = [User() for _ in sources]
    for source, user in zip(sources, users, strict=True):
        rig.pool.join(source, user)
    rig.pass_time(10.0)
    assert [len(user.ready) for user in users] == [1, 1, 0]
    assert users[2].lost == []
    failure = sources[2].failure
    assert failure is not None and failure.code == "links" and "2" in failure.message

    # One that nobody uses goes at once, though it would be kept for a while.
    rig.pool.leave(sources[0], users[0])
    rig.pass_time(LINK_WAIT_S + 0.5)
    assert users[2].ready == [sources[2]]
    assert sources[2].failure is None
    assert rig.pool.source(peers[0].id) is None


def test_who_may_have_a_place_that_became_free_hears_of_it_in_the_next_turn(rig: Rig) -> None:
    rig.serve("a.example:1")
    source, user = rig.join("a.example:1")
    user.ready.clear()
    rig.pool.freed(source)
    assert user.ready == []
    rig.clock.advance(0)
    assert user.ready == [source]
