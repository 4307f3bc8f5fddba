"""Announcing: what is acknowledged, when it is visible, and how two that are out of step find together again."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail

from napd.index.announcing import MAX_PENDING
from napd.index.limits import Limits
from napd.index.store.interface import Applied, Step, StoreFailed
from napd.index.store.memory import MemoryStore
from napd.wire import index as wire
from tests.support.index_script import EPOCH, IndexScript, PeerScript, entry


@pytest.fixture
def index() -> IndexScript:
    return IndexScript()


def acknowledged(peer: PeerScript) -> list[int]:
    return [ack.revision for ack in peer.all(wire.Ack)]


def test_an_acknowledged_step_is_searchable(index: IndexScript) -> None:
    peer, asker = index.online("ann"), index.online("bob")
    peer.announce(entry("a/song.mp3"), reset=True)
    assert acknowledged(peer) == [1]
    assert asker.found("song") == ["song.mp3"]
    assert index.events("catalogue.announced") == [{"user": "ann", "revision": 1, "added": 1, "withdrawn": 0}]


def test_a_withdrawn_entry_is_gone_from_results(index: IndexScript) -> None:
    peer, asker = index.online("ann", entry("a/song.mp3"), entry("a/other.mp3")), index.online("bob")
    peer.announce(withdraw=(entry("a/song.mp3"),))
    assert asker.found("mp3") == ["other.mp3"]


def test_of_two_copies_of_a_content_one_is_left_when_the_other_is_withdrawn(index: IndexScript) -> None:
    peer, asker = index.online("ann", entry("a/one.mp3", seed="x"), entry("a/two.mp3", seed="x")), index.online("bob")
    assert len(asker.found("mp3")) == 1
    peer.announce(withdraw=(entry("a/one.mp3", seed="x"),))
    assert asker.found("mp3") == ["two.mp3"]
    peer.announce(withdraw=(entry("a/two.mp3", seed="x"),))
    assert asker.found("mp3") == []


def test_a_long_list_is_searchable_as_it_comes(index: IndexScript) -> None:
    peer, asker = index.online("ann"), index.online("bob")
    for n in range(5):
        peer.say(wire.Announce(EPOCH, n, n + 1, (entry(f"a/song {n}.mp3"),), reset=n == 0))
        assert acknowledged(peer) == [n + 1]
        assert len(asker.found("song")) == n + 1


def test_steps_may_be_sent_without_waiting_up_to_the_window(index: IndexScript) -> None:
    peer = index.online("ann")
    steps = [peer.step(entry(f"a/{n}"), reset=n == 0) for n in range(wire.ANNOUNCE_WINDOW)]
    peer.say(*steps)
    assert acknowledged(peer) == list(range(1, wire.ANNOUNCE_WINDOW + 1))


class HeldStore(MemoryStore):
    """Commits when the test says so."""

    def __init__(self) -> None:
        super().__init__(iter(f"account-{n}" for n in range(1, 100)).__next__)
        self.held: list[Deferred[None]] | None = None
        self.broken: Exception | None = None

    def apply(self, step: Step, most: int) -> Deferred[Applied]:
        if self.broken is not None:
            return fail(self.broken)
        applied = super().apply(step, most)
        if self.held is None:
            return applied
        gate: Deferred[None] = Deferred()
        self.held.append(gate)
        return gate.addCallback(lambda _: applied)

    def commit(self) -> None:
        held, self.held = self.held or [], None
        for gate in held:
            gate.callback(None)


def test_more_than_the_window_is_refused() -> None:
    store = HeldStore()
    index = IndexScript(store)
    peer = index.online("ann")
    store.held = []
    for n in range(wire.ANNOUNCE_WINDOW):
        peer.announce(entry(f"a/{n}"), reset=n == 0)
    assert not peer.is_gone()
    peer.announce(entry("a/too much"))
    assert peer.is_gone()
    assert peer.one(wire.Bye).code == "limit"
    store.commit()
    index.settle()
    assert index.faults == []


def test_a_full_list_may_follow_at_once_on_a_window_of_steps_that_failed() -> None:
    store = HeldStore()
    index = IndexScript(store)
    peer = index.online("ann", entry("a/song.mp3"))
    store.held = []
    peer.say(*(wire.Announce(EPOCH, 50 + n, 51 + n) for n in range(wire.ANNOUNCE_WINDOW)))
    store.held.pop(0).callback(None)
    assert len(peer.all(wire.Resync)) == 1
    peer.say(*(peer.step(entry(f"a/{n}"), reset=n == 0) for n in range(wire.ANNOUNCE_WINDOW)))
    assert not peer.is_gone()
    store.commit()
    index.settle()
    assert len(acknowledged(peer)) == wire.ANNOUNCE_WINDOW


def test_full_lists_without_end_are_refused() -> None:
    store = HeldStore()
    index = IndexScript(store)
    peer = index.online("ann")
    store.held = []
    for _ in range(100):
        peer.announce(reset=True)
    assert peer.is_gone()
    assert len(store.held) == MAX_PENDING


def test_nothing_is_visible_or_acknowledged_before_it_is_committed() -> None:
    store = HeldStore()
    index = IndexScript(store)
    peer, asker = index.online("ann"), index.online("bob")
    store.held = []
    peer.announce(entry("a/song.mp3"), reset=True)
    assert acknowledged(peer) == []
    assert asker.found("song") == []
    store.commit()
    index.settle()
    assert acknowledged(peer) == [1]
    assert asker.found("song") == ["song.mp3"]


def test_what_is_committed_after_its_session_is_over_is_not_visible_until_the_peer_is_back() -> None:
    store = HeldStore()
    index = IndexScript(store)
    peer, asker = index.online("ann"), index.online("bob")
    store.held = []
    peer.announce(entry("a/song.mp3"), reset=True)
    peer.leave()
    store.commit()
    index.settle()
    assert asker.found("song") == []
    peer.connect()
    assert peer.login().revision == 1
    assert asker.found("song") == ["song.mp3"]


def test_a_store_that_cannot_write_sends_the_peer_away_for_now_and_says_so() -> None:
    store = HeldStore()
    index = IndexScript(store)
    peer = index.online("ann")
    store.broken = StoreFailed("the disk is full")
    peer.announce(entry("a/song.mp3"), reset=True)
    assert peer.is_gone()
    assert peer.one(wire.Bye).code == "shutdown"
    assert "disk is full" in index.events("daemon.fault")[0]["error"]


def test_a_fault_of_ours_ends_the_session_and_not_the_index() -> None:
    store = HeldStore()
    index = IndexScript(store)
    peer = index.online("ann")
    store.broken = ZeroDivisionError("a bug")
    peer.announce(entry("a/song.mp3"), reset=True)
    assert peer.is_gone()
    assert index.events("daemon.fault")[0]["error"] == "a bug"
    store.broken = None
    peer.connect()
    peer.login()
    peer.announce(reset=True)
    assert peer.all(wire.Ack)


# --- Out of step -------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [{"base": 5, "revision": 6}, {"epoch": "d" * 64}])
def test_a_step_from_elsewhere_is_answered_with_resync_once(index: IndexScript, wrong: dict[str, Any]) -> None:
    peer = index.online("ann", entry("a/song.mp3"))
    values: dict[str, Any] = {"epoch": EPOCH, "base": 1, "revision": 2, "add": (entry("a/new.mp3"),)} | wrong
    peer.say(wire.Announce(**values), wire.Announce(**(values | {"base": 6, "revision": 7})))
    (said,) = peer.heard()
    assert isinstance(said, wire.Resync)
    assert len(index.events("catalogue.resync")) == 1
    # Until the full list comes, nothing counts.
    peer.say(wire.Announce(EPOCH, 1, 2, (entry("a/new.mp3"),)))
    assert peer.heard() == []
    peer.announce(entry("a/all.mp3"), reset=True)
    assert acknowledged(peer) == [2]
    assert index.online("bob").found("mp3") == ["all.mp3"]


def test_a_wrong_digest_at_the_end_of_a_step_is_answered_with_resync(index: IndexScript) -> None:
    peer = index.online("ann")
    peer.say(wire.Announce(EPOCH, 0, 1, (entry("a/song.mp3"),), reset=True, digest="1" * 64))
    assert isinstance(peer.heard()[-1], wire.Resync)
    peer.announce(entry("a/song.mp3"), reset=True)
    assert len(acknowledged(peer)) == 1


def test_steps_behind_one_that_failed_do_not_ask_for_the_list_again_after_it_has_come() -> None:
    store = HeldStore()
    index = IndexScript(store)
    peer = index.online("ann", entry("a/song.mp3"))
    store.held = []
    peer.say(wire.Announce(EPOCH, 5, 6), wire.Announce(EPOCH, 6, 7))
    held, store.held = store.held, None
    held[0].callback(None)
    assert len(peer.all(wire.Resync)) == 1
    peer.announce(entry("a/all.mp3"), reset=True)
    held[1].callback(None)
    index.settle()
    assert [type(said) for said in peer.heard()] == [wire.Ack]


@pytest.mark.parametrize(
    "announce",
    [
        wire.Announce(EPOCH, 3, 4, reset=True),
        wire.Announce(EPOCH, 4, 3),
        wire.Announce(EPOCH, 1, 1),
        wire.Announce(EPOCH, 0, 1, (entry("a/b", audience=("a\0everyone",)),), reset=True),
    ],
)
def test_steps_that_make_no_sense_are_errors_and_change_nothing(index: IndexScript, announce: wire.Announce) -> None:
    peer = index.online("ann", entry("a/song.mp3"))
    peer.say(announce)
    assert peer.one(wire.Error).code == "out_of_bounds"
    peer.announce(entry("a/new.mp3"))
    assert acknowledged(peer) == [2]


def test_an_empty_full_list_is_acknowledged(index: IndexScript) -> None:
    peer = index.online("ann", entry("a/song.mp3"))
    peer.announce(reset=True)
    assert acknowledged(peer) == [2]
    assert index.online("bob").found("song") == []


def test_a_catalogue_over_its_limit_is_refused_once_and_stays_as_it_was() -> None:
    index = IndexScript(limits=Limits(listings=2))
    peer = index.online("ann", entry("a/1.mp3"), entry("a/2.mp3"))
    assert index.online("cat").found("mp3") != []
    peer.say(peer.step(entry("a/3.mp3")), peer.step(entry("a/4.mp3")))
    assert peer.one(wire.Error).code == "limit"
    assert index.events("limit.hit")[0]["limit"] == "index.listings"
    assert len(index.online("bob").found("mp3")) == 2
    # And a list that fits is taken.
    peer.announce(entry("a/5.mp3"), reset=True)
    assert len(acknowledged(peer)) == 1


# --- Restart -----------------------------------------------------------------------------------------


def test_after_a_restart_of_the_index_a_peer_is_searchable_without_an_upload(index: IndexScript) -> None:
    peer = index.online("ann", entry("a/song.mp3"))
    index.online("bob", entry("b/other.mp3"))
    again = IndexScript(index.store)
    peer.index = again
    peer.connect()
    assert peer.login().revision == 1
    asker = again.online("cat")
    assert asker.found("song") == ["song.mp3"]
    # Nobody else is online yet.
    assert asker.found("other") == []


def test_everything_that_is_remembered_can_be_loaded_beforehand(index: IndexScript) -> None:
    peer = index.online("ann", *(entry(f"a/{n}.mp3") for n in range(30)))
    again = IndexScript(index.store)
    loaded = again.background.start("load", load(again))
    again.settle()
    assert loaded.called
    peer.index = again
    peer.connect()
    peer.login()
    assert len(again.online("bob").found("mp3")) == 30


async def load(index: IndexScript) -> None:
    assert await index.services.catalogues.load() == 30
