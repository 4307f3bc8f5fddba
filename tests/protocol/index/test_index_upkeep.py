"""The control socket's methods, and what the index does now and then."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
from twisted.internet.defer import fail

from napd import __version__
from napd.index.catalogues import LEARNED
from napd.index.control import IndexMethods
from napd.index.housekeeping import FIRST_S, ROUND_S, Housekeeping
from napd.index.items import Item
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
    bob.say(wire.Wish(1, "anything"))
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
        "known": {"accounts": 3, "listings": 5, "items": 4, "contents": 3},
        # Of names and folders: a, 1, 2, 3, c, 4.
        "engine": {"items": 4, "terms": 6},
        "wishes": 1,
        "database_bytes": None,
        "nodes": [],
        "schema": 1,
    }
    said = ask(index, "status", Nothing())
    assert 10_000_000 < said.pop("memory_bytes") < 10_000_000_000
    assert said == expected
    assert ask(index, "index.status", Nothing()).keys() == {*expected, "memory_bytes"}


def test_a_store_in_trouble_leaves_the_other_figures() -> None:
    index = IndexScript()
    index.online("ann", entry("a/1"))
    index.store.counts = lambda: broken(0)  # type: ignore[method-assign]
    said = ask(index, "status", Nothing())
    assert (said["known"], said["database_bytes"], said["listings"]) == (None, None, 1)


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
    work = Housekeeping(
        index.clock, index.now, services.store, services.presence, services.catalogues, services.retention
    )
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


def test_how_long_they_are_kept_is_the_operator_s_choice() -> None:
    index = IndexScript(retention_days=2)
    index.online("bob", entry("b/gone.mp3")).leave()
    housekeeping(index)
    _leap(index, 1.5 * DAY_S)
    assert counts(index).listings == 1
    _leap(index, DAY_S)
    assert (counts(index).listings, counts(index).items) == (0, 0)
    assert index.faults == []


# --- Kept not at all -----------------------------------------------------------------------------


def test_nothing_is_kept_of_a_peer_that_left() -> None:
    index = IndexScript(retention_days=0)
    staying = index.online("ann", entry("a/kept.mp3"))
    leaving = index.online("bob", entry("b/gone.mp3"))
    housekeeping(index)
    leaving.leave()
    index.settle()
    assert counts(index).listings == 1
    # The names go with the next round, and who is there stays.
    live(index, FIRST_S + 20, staying)
    assert counts(index).items == 1
    assert index.online("cat").found("mp3") == ["kept.mp3"]
    # It has to send its list again.
    leaving.connect()
    assert leaving.login().revision == 0
    assert index.faults == []


def test_who_is_replaced_by_its_own_next_session_is_not_forgotten() -> None:
    index = IndexScript(retention_days=0)
    first = index.online("ann", entry("a/song.mp3"))
    second = index.peer("ann")
    second.revision, second.entries = first.revision, first.entries
    assert second.login().revision == 1
    index.settle()
    assert first.one(wire.Bye).code == "replaced"
    assert index.online("bob").found("song") == ["song.mp3"]
    assert counts(index).listings == 1
    assert index.faults == []


def test_what_an_index_that_was_killed_did_not_forget_is_forgotten_at_the_next_start() -> None:
    killed = IndexScript()
    killed.online("ann", entry("a/song.mp3"))
    killed.online("bob", entry("b/song.mp3"))
    index = IndexScript(killed.store, retention_days=0)
    index.clock.advance(60)
    housekeeping(index)
    assert counts(index).listings == 0
    back = index.online("bob", entry("b/song.mp3"))
    live(index, FIRST_S + 20, back)
    assert (counts(index).listings, counts(index).items) == (1, 1)
    assert index.online("cat").found("song") == ["song.mp3"]
    assert index.faults == []


def test_what_the_store_could_not_forget_at_once_goes_in_the_next_round() -> None:
    index = IndexScript(retention_days=0)
    peer = index.online("ann", entry("a/gone.mp3"))
    housekeeping(index)
    forget, index.store.forget = index.store.forget, lambda account, session: broken(account)  # type: ignore[method-assign]
    peer.leave()
    index.settle()
    index.store.forget = forget  # type: ignore[method-assign]
    assert counts(index).listings == 1
    live(index, FIRST_S + 20)
    assert (counts(index).listings, counts(index).items) == (0, 0)
    assert index.faults == []


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


def test_many_items_are_dropped_a_few_in_a_turn_of_the_reactor() -> None:
    index = IndexScript()
    table = index.services.table
    index.services.engine.learn(Item(n, n, entry(f"a/{n}")) for n in range(1, 1001))
    left: list[int] = []

    def look() -> None:
        """In each turn."""
        left.append(len(table))
        if left[-1]:
            index.clock.callLater(0, look)

    look()
    index.background.start("drop", index.services.catalogues.drop(range(1, 1001)))
    index.settle()
    assert left[-1] == 0
    assert all(before - after <= LEARNED for before, after in pairwise(left))
