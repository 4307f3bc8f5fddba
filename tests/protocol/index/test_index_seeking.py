"""Who holds a sought content: told at once, again when it changes, never too often, only to whom it concerns."""

from __future__ import annotations

import pytest

from napd.index.seeking import SPACING_S
from napd.wire import index as wire
from napd.wire.line import MAX_LINE_BYTES, encode
from tests.support.index_script import IndexScript, PeerScript, content, entry

SONG = entry("a/song.mp3", size=77)


@pytest.fixture
def index() -> IndexScript:
    return IndexScript()


def seek(peer: PeerScript, *contents: str) -> list[wire.Sources]:
    peer.say(wire.Seek(contents))
    return peer.all(wire.Sources)


def holders(message: wire.Sources) -> list[str]:
    return sorted(source.user for source in message.sources)


def test_the_present_holders_are_told_at_once(index: IndexScript) -> None:
    ann = index.online("ann", SONG)
    peer = index.online("bob")
    (told,) = seek(peer, SONG.content)
    assert told == wire.Sources(SONG.content, (wire.Source(ann.id, "ann", ()),), 77, "song.mp3", everyone=True)


def test_a_content_that_nobody_has_ever_heard_of_has_no_sources_until_it_has(index: IndexScript) -> None:
    peer = index.online("bob")
    assert seek(peer, SONG.content) == [wire.Sources(SONG.content, ())]
    index.wait(1)
    index.online("ann", SONG)
    assert holders(peer.one(wire.Sources)) == ["ann"]


def test_every_change_is_told_as_the_whole_truth(index: IndexScript) -> None:
    peer = index.online("zoe")
    seek(peer, SONG.content)
    index.wait(1)
    ann = index.online("ann", SONG)
    assert holders(peer.one(wire.Sources)) == ["ann"]
    index.wait(1)
    bob = index.online("bob", SONG)
    assert holders(peer.one(wire.Sources)) == ["ann", "bob"]
    index.wait(1)
    ann.leave()
    assert holders(peer.one(wire.Sources)) == ["bob"]
    index.wait(1)
    bob.announce(withdraw=(SONG,))
    assert peer.one(wire.Sources) == wire.Sources(SONG.content, ())


def test_a_peer_that_comes_back_is_told_without_an_announce(index: IndexScript) -> None:
    ann = index.online("ann", SONG)
    peer = index.online("zoe")
    ann.leave()
    seek(peer, SONG.content)
    index.wait(1)
    ann.connect()
    ann.login()
    assert holders(peer.one(wire.Sources)) == ["ann"]


def test_changes_close_together_are_told_once_half_a_second_after_the_last_word(index: IndexScript) -> None:
    peer = index.online("zoe")
    seek(peer, SONG.content)
    index.clock.advance(0.1)
    for user in ("ann", "bob", "cat"):
        index.online(user, SONG)
    assert peer.all(wire.Sources) == []
    index.clock.advance(SPACING_S - 0.11)
    assert peer.all(wire.Sources) == []
    index.clock.advance(0.02)
    assert holders(peer.one(wire.Sources)) == ["ann", "bob", "cat"]


def test_what_changed_and_changed_back_is_not_told(index: IndexScript) -> None:
    peer = index.online("zoe")
    seek(peer, SONG.content)
    index.online("ann", SONG).leave()
    index.wait(2)
    assert peer.all(wire.Sources) == []


def test_each_content_has_its_own_pace(index: IndexScript) -> None:
    other = entry("a/other.mp3")
    peer = index.online("zoe")
    seek(peer, SONG.content)
    index.clock.advance(0.3)
    seek(peer, other.content)
    index.online("ann", SONG, other)
    index.clock.advance(0.25)
    assert [told.content for told in peer.all(wire.Sources)] == [SONG.content]
    index.clock.advance(0.3)
    assert [told.content for told in peer.all(wire.Sources)] == [other.content]


def test_what_is_sought_no_more_is_told_no_more(index: IndexScript) -> None:
    peer = index.online("zoe")
    seek(peer, SONG.content)
    index.online("ann", SONG)
    # A change was waiting to be told.
    peer.say(wire.Unseek((SONG.content, content("never sought"))))
    index.wait(2)
    assert peer.all(wire.Sources) == []


def test_seeking_again_is_answered_again(index: IndexScript) -> None:
    index.online("ann", SONG)
    peer = index.online("zoe")
    assert len(seek(peer, SONG.content)) == 1
    assert len(seek(peer, SONG.content, SONG.content)) == 2


def test_nobody_is_his_own_source(index: IndexScript) -> None:
    index.online("bob", SONG)
    peer = index.online("ann", entry("mine/a.mp3", seed="a/song.mp3", size=1))
    (told,) = seek(peer, SONG.content)
    assert holders(told) == ["bob"]
    # Nor does his own word count.
    assert (told.size, told.name) == (77, "song.mp3")
    other = index.online("ann2", SONG, key="ann")
    assert holders(seek(other, SONG.content)[0]) == ["bob"]


def test_alone_with_a_content_there_is_no_source(index: IndexScript) -> None:
    peer = index.online("ann", SONG)
    assert seek(peer, SONG.content) == [wire.Sources(SONG.content, (), everyone=True)]


def test_only_so_many_contents_may_be_sought(index: IndexScript, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_SEEKS", 5)
    peer = index.online("ann")
    peer.say(wire.Seek(tuple(content(n) for n in range(4))), wire.Seek(tuple(content(n) for n in range(4, 9))))
    said = peer.heard()
    assert sum(isinstance(message, wire.Sources) for message in said) == 5
    assert said[-1].code == "limit"
    assert index.events("limit.hit")[0]["limit"] == "index.seeks"
    peer.say(wire.Unseek((content(0),)))
    assert len(seek(peer, content(8))) == 1


def test_a_crowd_of_sources_is_cut_to_what_the_wire_holds_and_differs_by_asker(index: IndexScript) -> None:
    for n in range(wire.MAX_SOURCES_TOLD + 20):
        index.online(f"user{n}", SONG)
    told = [seek(index.online(user), SONG.content)[0] for user in ("ann", "bob")]
    assert [len(message.sources) for message in told] == [wire.MAX_SOURCES_TOLD] * 2
    assert set(told[0].sources) != set(told[1].sources)


def test_sources_with_long_addresses_are_cut_to_a_line(index: IndexScript) -> None:
    hosts = tuple(f"{'h' * 250}{n}" for n in range(8))
    for n in range(wire.MAX_SOURCES_TOLD):
        user = f"user{n}"
        peer = index.peer(user, advertise=tuple(f"{host}:{n + 1}" for host in hosts))
        for host in hosts:
            index.network.listening[f"{host}:{n + 1}"] = peer.identity
        peer.login()
        peer.announce(SONG, reset=True)
    (told,) = seek(index.online("zoe"), SONG.content)
    assert len(encode(told)) <= MAX_LINE_BYTES
    assert 20 < len(told.sources) < wire.MAX_SOURCES_TOLD
    assert all(len(source.addresses) == 8 for source in told.sources)


# --- Where a source is reached -----------------------------------------------------------------------


def test_only_proven_addresses_are_told_and_those_told_when_they_are(index: IndexScript) -> None:
    peer = index.online("zoe")
    seek(peer, SONG.content)
    index.wait(1)
    ann = index.peer("ann", "192.0.2.5", listens=7000, advertise=("other.example:7001",))
    index.network.listening["192.0.2.5:7000"] = ann.identity
    ann.login()
    ann.announce(SONG, reset=True)
    index.wait(1)
    assert peer.all(wire.Sources)[-1].sources == (wire.Source(ann.id, "ann", ("192.0.2.5:7000",)),)
    index.network.listening["other.example:7001"] = ann.identity
    for _ in range(30):
        index.clock.advance(1)
        ann.say(wire.Pong())
        peer.say(wire.Pong())
    assert peer.one(wire.Sources).sources[0].addresses == ("192.0.2.5:7000", "other.example:7001")


def test_loopback_addresses_are_told_only_to_peers_on_loopback(index: IndexScript) -> None:
    ann = index.peer("ann", "127.0.0.1", listens=7000, advertise=("203.0.113.5:7000",))
    index.network.listening |= {"127.0.0.1:7000": ann.identity, "203.0.113.5:7000": ann.identity}
    ann.login()
    ann.announce(SONG, reset=True)
    far, near = index.online("far", host="192.0.2.9"), index.online("near", host="127.0.0.1")
    assert seek(far, SONG.content)[0].sources[0].addresses == ("203.0.113.5:7000",)
    assert seek(near, SONG.content)[0].sources[0].addresses == ("127.0.0.1:7000", "203.0.113.5:7000")


def test_sources_that_can_be_reached_come_first(index: IndexScript) -> None:
    for n in range(10):
        index.online(f"user{n}", SONG)
    ann = index.peer("ann", "192.0.2.5", listens=7000)
    index.network.listening["192.0.2.5:7000"] = ann.identity
    ann.login()
    ann.announce(SONG, reset=True)
    (told,) = seek(index.online("zoe"), SONG.content)
    assert told.sources[0].user == "ann"
