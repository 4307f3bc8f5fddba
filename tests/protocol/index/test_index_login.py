"""Coming in: names and keys, the welcome, one session per account, tickets; and coming back."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from napd.index.store.interface import NOWHERE, Position, StoreFailed
from napd.index.store.memory import MemoryStore
from napd.index.tickets import RENEW_AFTER_S
from napd.model import PeerId
from napd.net.identity import PublicKey
from napd.wire import index as wire
from napd.wire.ticket import LIFETIME_S
from tests.support.index_script import BEGIN, EPOCH, IndexScript, PeerScript, entry, identity


@pytest.fixture
def index() -> IndexScript:
    return IndexScript()


def bye(peer: PeerScript) -> str:
    assert peer.is_gone()
    return peer.one(wire.Bye).code


def test_the_welcome_tells_all_that_a_peer_needs(index: IndexScript) -> None:
    peer = index.peer("ann", "192.0.2.7")
    welcome = peer.login()
    assert (welcome.user, welcome.account, welcome.session) == ("ann", "account-1", 1)
    assert welcome.time == BEGIN
    assert welcome.observed == "192.0.2.7:40000"
    assert welcome.groups == ()
    # An empty catalogue is the same everywhere: there is nothing to upload.
    assert (welcome.epoch, welcome.revision, welcome.digest) == (EPOCH, 0, NOWHERE.digest)
    assert welcome.limits.listings > 0
    assert index.events("login.accepted")[0]["user"] == "ann"
    assert index.events("session.opened")[0]["address"] == "192.0.2.7:40000"


def test_the_ticket_in_the_welcome_is_good_for_this_peer_and_a_day(index: IndexScript) -> None:
    peer = index.peer("ann")
    welcome = peer.login()
    claims = index.identity.public.check_ticket(welcome.ticket, peer=PeerId(peer.id), now=BEGIN)
    assert (claims.user, claims.account, claims.index) == ("ann", welcome.account, index.identity.id)
    assert claims.expires == BEGIN + LIFETIME_S


def test_tickets_are_renewed_over_the_live_link(index: IndexScript) -> None:
    peer = index.peer("ann")
    peer.login()
    for _ in range(int(RENEW_AFTER_S // 10) + 1):
        index.clock.advance(10)
        peer.say(wire.Pong())
    renewed = peer.one(wire.Ticket)
    claims = index.identity.public.check_ticket(renewed.ticket, peer=PeerId(peer.id), now=index.now())
    assert claims.issued == BEGIN + RENEW_AFTER_S


def test_another_index_key_does_not_check_out(index: IndexScript) -> None:
    ticket = index.peer("ann").login().ticket
    other = PublicKey.of(identity("other").private_key.public_key())
    with pytest.raises(Exception, match="signature"):
        other.check_ticket(ticket, peer=PeerId(identity("ann").id), now=BEGIN)


# --- Names -------------------------------------------------------------------------------------------


def test_the_first_key_to_use_a_name_owns_it(index: IndexScript) -> None:
    index.online("ann").leave()
    thief = index.peer("ann", key="thief")
    thief.hello()
    thief.say(thief.login_message())
    assert bye(thief) == "name_taken"
    assert index.events("login.denied") == [{"user": "ann", "peer": thief.id, "code": "name_taken"}]
    assert index.online("ann").found("x") == []


@pytest.mark.parametrize("name", ["all", "everyone", "index"])
def test_reserved_names_are_nobodys(index: IndexScript, name: str) -> None:
    peer = index.peer(name)
    peer.hello()
    peer.say(peer.login_message())
    assert bye(peer) == "bad_name"


def test_what_is_no_name_at_all_is_out_of_bounds_and_may_be_corrected(index: IndexScript) -> None:
    peer = index.peer("ann")
    peer.hello()
    line = b'{"t":"login","user":"Ann Smith","epoch":"%s","revision":0,"digest":"%s","listings":0,"bytes":0,"port":0}\n'
    peer.say_bytes(line % (b"e" * 64, b"0" * 64))
    assert peer.one(wire.Error).code == "out_of_bounds"
    peer.say(peer.login_message())
    assert peer.one(wire.Welcome).user == "ann"


# --- One session per account -------------------------------------------------------------------------


def test_a_later_login_replaces_the_earlier_session_which_is_told(index: IndexScript) -> None:
    old = index.online("ann", entry("a/old.mp3"))
    asker = index.online("bob")
    new = index.online("ann", entry("a/new.mp3"))
    assert bye(old) == "replaced"
    assert not new.is_gone()
    assert asker.found("mp3") == ["new.mp3"]
    assert [row.user for row in users(asker)] == ["ann", "bob"]
    assert index.events("session.replaced")[0]["session"] == 1
    assert [event["reason"] for event in index.events("session.closed")] == ["replaced"]


def users(peer: PeerScript) -> tuple[wire.UserRow, ...]:
    peer.say(wire.Users(77))
    return peer.one(wire.UserList).users


class SlowStore(MemoryStore):
    """Answers logins when the test says so."""

    def __init__(self) -> None:
        super().__init__(iter(f"account-{n}" for n in range(1, 100)).__next__)
        self.held: list[Deferred[None]] = []
        self.broken = False

    def open_session(self, account, held, at):  # type: ignore[no-untyped-def]
        if self.broken:
            raise StoreFailed("the disk is full")
        opened = super().open_session(account, held, at)
        gate: Deferred[None] = Deferred()
        self.held.append(gate)
        return gate.addCallback(lambda _: opened)


def test_of_two_logins_at_once_the_later_one_stays() -> None:
    store = SlowStore()
    index = IndexScript(store)
    first, second = index.peer("ann"), index.peer("ann")
    for peer in (first, second):
        peer.hello()
        peer.say(peer.login_message())
    for gate in store.held:
        gate.callback(None)
    index.settle()
    assert bye(first) == "replaced"
    assert second.one(wire.Welcome).session == 2
    assert [row.user for row in users(second)] == ["ann"]


def test_a_peer_that_is_gone_before_its_welcome_was_never_online() -> None:
    store = SlowStore()
    index = IndexScript(store)
    peer = index.peer("ann")
    peer.hello()
    peer.say(peer.login_message())
    peer.leave()
    store.held[0].callback(None)
    index.settle()
    assert len(index.services.presence.all()) == 0
    assert index.events("session.opened") == []
    assert index.faults == []


def test_a_login_that_came_to_nothing_still_ends_the_session_before_it() -> None:
    """The store takes nothing from the earlier session any more, so it must not look alive."""
    store = SlowStore()
    index = IndexScript(store)
    old, new = index.peer("ann"), index.peer("ann")
    old.hello()
    old.say(old.login_message())
    store.held[0].callback(None)
    new.hello()
    new.say(new.login_message())
    new.leave()
    store.held[1].callback(None)
    index.settle()
    assert bye(old) == "replaced"


def test_while_a_login_is_under_way_nothing_else_may_be_said_but_heartbeats() -> None:
    store = SlowStore()
    index = IndexScript(store)
    patient, hasty = index.peer("ann"), index.peer("bob")
    for peer in (patient, hasty):
        peer.hello()
        peer.say(peer.login_message())
    patient.say(wire.Ping(), wire.Pong())
    hasty.say(wire.Search(1, "x"))
    assert bye(hasty) == "malformed"
    for gate in store.held:
        gate.callback(None)
    index.settle()
    assert patient.one(wire.Welcome).user == "ann"


def test_a_store_that_does_not_work_sends_peers_away_for_now() -> None:
    store = SlowStore()
    store.broken = True
    index = IndexScript(store)
    peer = index.peer("ann")
    peer.hello()
    peer.say(peer.login_message())
    code = bye(peer)
    assert code == "shutdown"
    assert code not in wire.FINAL_CODES
    assert "disk is full" in index.events("daemon.fault")[0]["error"]


# --- Coming back -------------------------------------------------------------------------------------


def test_a_returning_peer_with_the_same_catalogue_is_visible_at_once(index: IndexScript) -> None:
    peer = index.online("ann", entry("a/song.mp3"))
    asker = index.online("bob")
    peer.leave()
    assert asker.found("song") == []
    peer.connect()
    welcome = peer.login()
    assert (welcome.epoch, welcome.revision, welcome.digest) == (EPOCH, peer.revision, peer.digest)
    assert asker.found("song") == ["song.mp3"]


def test_coming_and_going_with_the_same_catalogue_writes_no_change(index: IndexScript) -> None:
    peer = index.online("ann", entry("a/song.mp3"))
    before = result(index.store.changes_since(0, 100))
    for _ in range(3):
        peer.leave()
        peer.connect()
        peer.login()
    assert result(index.store.changes_since(0, 100)) == before


def test_a_peer_whose_log_began_anew_need_not_upload_the_same_catalogue(index: IndexScript) -> None:
    peer = index.online("ann", entry("a/song.mp3"))
    asker = index.online("bob")
    peer.leave()
    peer.epoch, peer.revision = "d" * 64, 3
    peer.connect()
    welcome = peer.login()
    assert (welcome.epoch, welcome.revision) == ("d" * 64, 3)
    assert asker.found("song") == ["song.mp3"]
    peer.announce(entry("a/more.mp3"))
    assert peer.one(wire.Ack).revision == 4


def test_a_peer_that_changed_while_it_was_away_goes_on_from_the_last_acknowledged_revision(
    index: IndexScript,
) -> None:
    peer = index.online("ann", entry("a/old.mp3"))
    asker = index.online("bob")
    peer.leave()
    step = peer.step(entry("a/new.mp3"), withdraw=(entry("a/old.mp3"),))
    peer.connect()
    welcome = peer.login()
    assert welcome.revision == 1
    peer.say(step)
    assert peer.one(wire.Ack).revision == 2
    assert asker.found("mp3") == ["new.mp3"]


def test_nothing_is_shown_of_a_catalogue_that_its_peer_has_no_more(index: IndexScript) -> None:
    peer = index.online("ann", entry("a/song.mp3"), entry("a/kept.mp3"))
    asker = index.online("bob")
    peer.leave()
    peer.epoch, peer.revision, peer.entries = "d" * 64, 0, {entry("a/kept.mp3")}
    peer.connect()
    welcome = peer.login()
    assert Position(welcome.epoch, welcome.revision, welcome.digest) == NOWHERE
    assert asker.found("mp3") == []
    peer.announce(*peer.entries, reset=True)
    assert asker.found("mp3") == ["kept.mp3"]


def result(deferred: Deferred[Any]) -> Any:
    found: list[Any] = []
    deferred.addCallback(found.append)
    return found[0]
