"""Long lists come in piece by piece: who searches is served in between, nothing shows half, and memory has a limit."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

from napd.index.catalogues import LEARNED
from napd.index.intake import STEP_COST
from napd.index.items import Asker
from napd.index.limits import Limits
from napd.index.presence import Online
from napd.index.search import wanted_of
from napd.index.seeking import TOLD_AT_ONCE
from napd.index.store import commits
from napd.index.store.interface import Swept
from napd.index.store.sqlite import process
from napd.wire import index as wire
from napd.wire.catalogue import Entry
from napd.wire.line import encode
from tests.support.index_script import IndexScript, PeerScript, entry
from tests.support.slow_store import SlowStore
from tests.support.waiting import one_turn


def tell(peer: PeerScript, *messages: wire.Announce | wire.Search) -> None:
    """Say it, and let nothing happen yet but what happens at once."""
    peer.transport.link.dataReceived(b"".join(map(encode, messages)))


def songs(count: int, tag: str = "") -> list[Entry]:
    return [entry(f"a/song {tag}{number}", seed=f"{tag}{number}") for number in range(count)]


def found(index: IndexScript) -> int:
    """Songs that are found at this moment."""
    wanted = wanted_of(wire.Search(1, "song", limit=1000), 1000)
    return len(index.services.engine.search(wanted, Asker(0, "stranger", "peer")).results)


def test_a_long_step_becomes_known_in_pieces_and_visible_at_once() -> None:
    index = IndexScript()
    peer = index.online("ann")
    tell(peer, peer.step(*songs(350), reset=True))
    known, seen = [index.services.engine.size()[0]], [found(index)]
    while one_turn(index.clock):
        known.append(index.services.engine.size()[0])
        seen.append(found(index))
    assert known[-1] == 350
    assert all(after - before <= LEARNED for before, after in pairwise(known))
    assert set(seen) == {0, 350}
    assert len(peer.all(wire.Ack)) == 1


def test_who_searches_is_answered_between_the_pieces_of_what_others_announce() -> None:
    index = IndexScript()
    asker = index.online("asker", entry("a/word", seed="known"))
    index.online("other", entry("a/word", seed="other"))
    peers = [index.online(f"peer{number}") for number in range(10)]
    for peer in peers:
        tell(peer, peer.step(*songs(350, peer.user), reset=True))
    tell(asker, wire.Search(1, "word"))
    turns = 0
    while not asker.all(wire.Results):
        one_turn(index.clock)
        turns += 1
    assert turns <= 2
    assert index.services.engine.size()[0] < 1_000
    index.settle()
    assert index.services.engine.size()[0] == 3_502


def test_peers_that_announce_take_turns() -> None:
    index = IndexScript()
    first, second = index.online("ann"), index.online("bob")
    tell(first, *(first.step(*songs(300, f"ann{n}"), reset=n == 0) for n in range(4)))
    tell(second, second.step(*songs(10, "bob"), reset=True))
    while not second.all(wire.Ack):
        assert one_turn(index.clock)
    assert len(first.all(wire.Ack)) == 0
    index.settle()
    assert len(first.all(wire.Ack)) == 4


def test_a_session_that_ends_while_its_step_becomes_known_shows_nothing_of_it_until_it_is_back() -> None:
    index = IndexScript()
    peer = index.online("ann")
    tell(peer, peer.step(*songs(350), reset=True))
    one_turn(index.clock)
    peer.leave()
    while one_turn(index.clock):
        assert found(index) == 0
    assert index.services.presence.listings == 0
    peer.connect()
    assert peer.login().revision == 1
    assert found(index) == 350


def test_a_later_session_of_the_account_is_not_mixed_up_with_what_the_earlier_one_still_has_under_way() -> None:
    index = IndexScript()
    peer = index.online("ann")
    steps = [peer.step(*songs(300), reset=True), peer.step(withdraw=tuple(songs(100)))]
    tell(peer, *steps)
    one_turn(index.clock)
    later = PeerScript(index, "ann", "192.0.2.1", epoch=peer.epoch, revision=peer.revision, entries=peer.entries)
    later.connect()
    later.login()
    later.announce(*songs(5, "more"))
    assert peer.is_gone()
    assert found(index) == index.services.presence.listings == 205
    assert index.services.intake.cost == 0


def test_items_swept_away_while_they_are_still_shown_are_forgotten_after_they_are_withdrawn() -> None:
    index = IndexScript(store := SlowStore())
    peer = index.online("ann")
    old = songs(1, "old")
    tell(peer, peer.step(*old, reset=True))
    store.answer()
    index.settle()
    tell(peer, peer.step(*songs(250), withdraw=tuple(old)))
    swept: list[Swept] = []
    store.sweep(0).addCallback(swept.append)
    store.answer()
    index.background.start("drop", index.services.catalogues.drop(swept[0].removed))
    seen = [found(index)]
    while one_turn(index.clock):
        seen.append(found(index))
        assert index.services.table.knows(1) or seen[-1] == 250
    assert set(seen) == {1, 250}
    assert index.services.engine.size()[0] == 250
    assert index.services.presence.listings == index.services.presence.contents == 250
    assert index.faults == []


def test_what_is_swept_away_before_it_was_learned_is_not_learned() -> None:
    index = IndexScript(store := SlowStore())
    store.slow = False
    peer = index.online("ann", *songs(3))
    other = index.online("bob")
    index.background.start("drop", index.services.catalogues.drop([7]))
    index.settle()
    other.announce(*songs(5, "new"), reset=True)
    assert sorted(index.services.table.items_of_all(index.services.presence.contents_of(by_user(index, "bob")))) == [
        4, 5, 6, 8,
    ]  # fmt: skip
    assert peer.heard() == []


def by_user(index: IndexScript, user: str) -> Online:
    online = index.services.presence.by_user(user)
    assert online is not None
    return online


def test_who_seeks_much_of_what_is_announced_is_told_a_few_at_a_time_and_of_all_of_it() -> None:
    index = IndexScript()
    seekers = [index.online(name) for name in ("bob", "cid")]
    for seeker in seekers:
        seeker.say(wire.Seek(tuple(song.content for song in songs(350))))
        seeker.heard()
    peer = index.online("ann")
    # What was told a moment ago is not told again at once.
    index.wait(1.0)
    tell(peer, peer.step(*songs(350), reset=True))
    told: list[int] = []
    while one_turn(index.clock):
        told.append(sum(len(seeker.all(wire.Sources)) for seeker in seekers))
    assert sum(told) == 700
    assert max(told) <= TOLD_AT_ONCE


def test_the_store_takes_as_many_steps_as_can_be_under_way() -> None:
    assert Limits().under_way // STEP_COST < min(commits.MAX_WAITING, process.MAX_WAITING)


def test_a_flood_of_announces_is_read_no_faster_than_it_is_dealt_with() -> None:
    """Thirty peers with full windows, 12,000 listings, while the store does not answer and 5,000 may be under way."""
    index = IndexScript(store := SlowStore(), Limits(under_way=5_000))
    peers = [index.online(f"peer{number}") for number in range(30)]
    left = {
        peer.user: deque(peer.step(*songs(50, f"{peer.user} {n}"), reset=n == 0) for n in range(8)) for peer in peers
    }

    def read() -> None:
        """What transports do."""
        for peer in peers:
            while left[peer.user] and peer.transport.producerState == "producing":
                tell(peer, left[peer.user].popleft())

    read()
    under_way = index.services.intake.cost
    assert 5_000 <= under_way <= 5_000 + 30 * (50 + STEP_COST)
    paused = [peer for peer in peers if peer.transport.producerState == "paused"]
    assert len(paused) > 10
    # The silence of those that are not read is not theirs: nobody is taken for dead.
    for _ in range(round(2 * wire.DEAD_AFTER_S)):
        index.wait(1.0)
        for peer in set(peers) - set(paused):
            peer.say(wire.Ping())
    assert not any(peer.is_gone() for peer in peers)
    assert index.services.intake.cost == under_way
    while store.unanswered:
        store.answer(min(8, len(store.unanswered)))
        index.settle()
        read()
        assert index.services.intake.cost <= under_way + 30 * (50 + STEP_COST)
    assert index.services.intake.cost == 0
    assert not any(map(len, left.values()))
    assert index.services.presence.listings == 30 * 8 * 50


def test_a_session_that_is_not_read_can_end() -> None:
    index = IndexScript(SlowStore(), Limits(under_way=100))
    peer = index.online("ann")
    tell(peer, peer.step(*songs(100), reset=True))
    assert peer.transport.producerState == "paused"
    index.doorway.end_all("shutdown", "enough")
    assert peer.one(wire.Bye).code == "shutdown"
    assert peer.transport.producerState == "producing"
    assert peer.is_gone()
