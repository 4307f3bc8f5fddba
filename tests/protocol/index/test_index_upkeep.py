"""The control socket's methods, and what the index does now and then."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.defer import fail

from napd import __version__
from napd.index.control import IndexMethods
from napd.index.housekeeping import FIRST_S, ROUND_S, Housekeeping
from napd.index.store.interface import Counts, StoreFailed
from napd.wire import index as wire
from napd.wire.control import INDEX_METHODS, Nothing, UsersParams
from tests.support.index_script import BEGIN, IndexScript, PeerScript, entry

DAY_S = 86_400.0


def ask(index: IndexScript, method: str, params: Any) -> dict[str, Any]:
    handlers = IndexMethods(index.services, lambda: "192.0.2.1:6699", BEGIN).handlers()
    found: list[Any] = []

    async def call() -> None:
        found.append(await handlers[method](params, None))  # type: ignore[arg-type]

    index.background.start("call", call())
    document: dict[str, Any] = msgspec.to_builtins(found[0])
    return document


def test_the_methods_are_those_of_the_contract() -> None:
    index = IndexScript()
    handlers = IndexMethods(index.services, lambda: "", 0.0).handlers()
    assert handlers.keys() | {"version", "events", "reload", "shutdown"} == INDEX_METHODS.keys()


def test_status_counts_what_is_online() -> None:
    index = IndexScript()
    index.online("ann", entry("a/1", seed="x", size=5), entry("a/2", seed="x", size=5), entry("a/3", size=7))
    bob = index.online("bob", entry("a/3", size=7))
    index.online("cat", entry("c/4", size=100)).leave()
    bob.search("1")
    index.clock.advance(2.5)
    expected = {
        "index": index.identity.id,
        "version": __version__,
        "peers": 2,
        "listings": 4,
        "contents": 2,
        "bytes": 24,
        "searches": 1,
        "listen": "192.0.2.1:6699",
        "database": "memory",
        "uptime_s": 2.5,
        "schema": 1,
    }
    assert ask(index, "status", Nothing()) == ask(index, "index.status", Nothing()) == expected


def test_users_lists_who_is_online() -> None:
    index = IndexScript()
    ann = index.online("ann", entry("a/1", size=5))
    index.online("bob")
    assert ask(index, "index.users", UsersParams("an"))["users"] == [
        {"user": "ann", "peer": ann.id, "listings": 1, "bytes": 5, "since": "2027-01-15T08:00:00.000Z"}
    ]
    assert len(ask(index, "index.users", UsersParams())["users"]) == 2


def housekeeping(index: IndexScript) -> None:
    services = index.services
    work = Housekeeping(index.clock, index.now, services.store, services.presence, services.catalogues)
    index.background.start("housekeeping", work.run())


def live(index: IndexScript, seconds: float, *peers: PeerScript) -> None:
    until = index.clock.seconds() + seconds
    while index.clock.seconds() < until:
        index.clock.advance(10)
        for peer in peers:
            peer.say(wire.Pong())


def counts(index: IndexScript) -> Counts:
    found: list[Counts] = []
    index.store.counts().addCallback(found.append)
    return found[0]


def test_what_nobody_holds_any_more_is_swept_from_store_and_memory() -> None:
    index = IndexScript()
    peer = index.online("ann", entry("a/kept.mp3"), entry("a/gone.mp3"))
    peer.announce(withdraw=(entry("a/gone.mp3"),))
    housekeeping(index)
    assert counts(index).items == 2
    live(index, FIRST_S + 20, peer)
    assert counts(index).items == 1
    assert index.online("bob").found("mp3") == ["kept.mp3"]
    assert index.faults == []


def test_catalogues_of_peers_that_never_come_back_are_forgotten_and_others_are_not() -> None:
    index = IndexScript()
    staying = index.online("ann", entry("a/kept.mp3"))
    index.online("bob", entry("b/gone.mp3")).leave()
    housekeeping(index)
    # A session that lasts longer than catalogues are kept, in steps that keep it alive and time short.
    for _ in range(100):
        for _ in range(2):
            index.clock.advance(10)
            staying.say(wire.Pong())
        index.clock.advance(0)
        _leap(index, DAY_S, staying)
    assert counts(index).listings == 1
    assert staying.found("mp3") == []
    assert index.online("cat").found("mp3") == ["kept.mp3"]


def _leap(index: IndexScript, seconds: float, *peers: PeerScript) -> None:
    """Much time, in steps of a round; the peers come back in between, as they would after an outage."""
    for _ in range(int(seconds // ROUND_S)):
        index.clock.advance(ROUND_S)
        for peer in peers:
            if peer.is_gone():
                peer.connect()
                peer.login()
        index.clock.advance(5)
        for peer in peers:
            peer.say(wire.Pong())


def test_trouble_with_the_store_does_not_end_housekeeping() -> None:
    index = IndexScript()
    peer = index.online("ann", entry("a/gone.mp3"))
    peer.announce(reset=True)
    housekeeping(index)
    sweep, index.store.sweep = index.store.sweep, broken  # type: ignore[method-assign]
    live(index, FIRST_S + 20, peer)
    assert counts(index).items == 1
    index.store.sweep = sweep  # type: ignore[method-assign]
    live(index, ROUND_S + 20, peer)
    assert counts(index).items == 0
    assert index.faults == []


def broken(after: int) -> Any:
    return fail(StoreFailed("the disk is full"))
