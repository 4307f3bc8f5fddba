"""The index dials back: what it proves, what it tells, how often it looks again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.task import deferLater

from napd.index import dialback
from napd.net.link import SecureLink
from napd.wire import index as wire
from tests.support.index_script import IndexScript, PeerScript, identity

HERE = "192.0.2.5:7000"
THERE = "203.0.113.5:7001"


@pytest.fixture
def index() -> IndexScript:
    return IndexScript()


def listening_peer(index: IndexScript, *advertise: str) -> PeerScript:
    return index.peer("ann", "192.0.2.5", listens=7000, advertise=advertise)


def reachable(peer: PeerScript) -> list[tuple[str, ...]]:
    return [message.addresses for message in peer.all(wire.Reachable)]


def live(index: IndexScript, peer: PeerScript, seconds: float) -> None:
    """Time passes, and the peer is not silent."""
    for _ in range(int(seconds // 5)):
        index.clock.advance(5)
        if not peer.is_gone():
            peer.say(wire.Pong())


def test_a_peer_is_told_where_it_was_reached(index: IndexScript) -> None:
    peer = listening_peer(index, THERE)
    index.network.listening |= {HERE: peer.identity, THERE: peer.identity}
    peer.hello()
    peer.say(peer.login_message())
    assert reachable(peer)[-1] == (HERE, THERE)


def test_a_peer_that_is_reached_nowhere_is_told_so(index: IndexScript) -> None:
    peer = listening_peer(index, THERE)
    peer.hello()
    peer.say(peer.login_message())
    assert reachable(peer) == [()]
    assert index.network.dialled == [HERE, THERE]


def test_a_peer_that_does_not_listen_is_not_dialled(index: IndexScript) -> None:
    peer = index.peer("ann")
    peer.hello()
    peer.say(peer.login_message())
    assert reachable(peer) == [()]
    assert index.network.dialled == []


def test_somebody_elses_key_proves_nothing(index: IndexScript) -> None:
    peer = listening_peer(index)
    index.network.listening[HERE] = identity("somebody else")
    peer.hello()
    peer.say(peer.login_message())
    assert reachable(peer) == [()]


def test_an_unproven_address_is_tried_again_with_growing_pauses(index: IndexScript) -> None:
    peer = listening_peer(index)
    peer.login()
    live(index, peer, 60)
    soon = len(index.network.dialled)
    assert 3 <= soon <= 5
    live(index, peer, 3600)
    assert len(index.network.dialled) - soon <= 3600 / dialback.MAX_RETRY_S * 4 / 3 + 7
    peer.heard()
    index.network.listening[HERE] = peer.identity
    live(index, peer, dialback.MAX_RETRY_S * 1.25 + 5)
    assert reachable(peer) == [(HERE,)]


def test_a_proven_address_is_looked_at_rarely_and_given_up_only_after_two_failures(index: IndexScript) -> None:
    peer = listening_peer(index)
    index.network.listening[HERE] = peer.identity
    peer.login()
    live(index, peer, dialback.RECHECK_S * 0.7)
    assert len(index.network.dialled) == 1
    del index.network.listening[HERE]
    while len(index.network.dialled) < 2:
        live(index, peer, 5)
    assert reachable(peer) == []
    live(index, peer, dialback.RETRY_S * 1.25 + 5)
    assert reachable(peer) == [()]


def test_a_hiccup_does_not_unpublish_an_address(index: IndexScript) -> None:
    peer = listening_peer(index)
    index.network.listening[HERE] = peer.identity
    peer.login()
    del index.network.listening[HERE]
    while len(index.network.dialled) < 2:
        live(index, peer, 5)
    index.network.listening[HERE] = peer.identity
    live(index, peer, 100)
    assert reachable(peer) == []


def test_nobody_is_dialled_for_a_session_that_is_over(index: IndexScript) -> None:
    peer = listening_peer(index)
    peer.login()
    peer.leave()
    dialled = len(index.network.dialled)
    live(index, peer, 1000)
    assert len(index.network.dialled) == dialled
    assert index.faults == []


def test_only_so_many_dials_are_under_way_at_once(index: IndexScript, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dial that hangs keeps its place; those of sessions that end give theirs back."""
    hanging: list[str] = []

    async def hang(address: str, alpn: bytes, build: object) -> None:
        hanging.append(address)

    monkeypatch.setattr(index.network, "dial", hang)
    peers = []
    for n in range(dialback.MAX_DIALS + 5):
        peer = index.peer(f"user{n}", f"192.0.2.{n + 1}", listens=7000)
        peer.login()
        peers.append(peer)
    assert len(hanging) == dialback.MAX_DIALS
    for peer in peers[:3]:
        peer.leave()
    index.settle()
    assert len(hanging) == dialback.MAX_DIALS + 3
    assert index.faults == []


def test_many_logins_with_dead_addresses_do_not_keep_a_newcomer_waiting(
    index: IndexScript, monkeypatch: pytest.MonkeyPatch
) -> None:
    dial = index.network.dial

    async def dead_ones_hang(address: str, alpn: bytes, build: Callable[[], SecureLink]) -> None:
        if address not in index.network.listening:
            await deferLater(index.clock, 10.0)
        await dial(address, alpn, build)

    monkeypatch.setattr(index.network, "dial", dead_ones_hang)
    crowd = []
    for n in range(40):
        dead = [f"203.0.113.{n}:{port}" for port in range(7001, 7009)]
        crowd.append(index.peer(f"user{n}", f"198.51.100.{n + 1}", listens=7000, advertise=dead))
        crowd[-1].login()
    newcomer = listening_peer(index)
    index.network.listening[HERE] = newcomer.identity
    newcomer.login()
    began = index.clock.seconds()
    while (HERE,) not in reachable(newcomer):
        # All of the crowd's dead addresses, 32 at a time, take two minutes.
        assert index.clock.seconds() - began < 25
        live(index, newcomer, 5)
        for peer in crowd:
            peer.say(wire.Pong())
