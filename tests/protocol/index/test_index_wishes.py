"""Searches that stand: held for a session, told what is announced."""

from __future__ import annotations

import pytest

from napd.index import wishing
from napd.index.limits import Limits
from napd.wire import index as wire
from tests.support.index_script import IndexScript, PeerScript, entry


@pytest.fixture
def index() -> IndexScript:
    return IndexScript()


def wish(peer: PeerScript, query: str, number: int = 1, **how: object) -> None:
    """A wish that is held."""
    peer.say(wire.Wish(number, query, **how))  # type: ignore[arg-type]
    assert peer.heard() == [wire.Wished(number)]


# --- Held, and refused ---------------------------------------------------------------------------


def test_the_welcome_tells_how_many_wishes_may_be_held() -> None:
    assert IndexScript(limits=Limits(wishes=3)).peer("ann").login().limits.wishes == 3


def test_a_wish_for_nothing_is_answered_with_an_error_that_names_it(index: IndexScript) -> None:
    ann = index.online("ann")
    ann.say(wire.Wish(7, "-moon"))
    error = ann.one(wire.Error)
    assert (error.code, error.id) == ("usage", 7)
    assert len(index.services.wishing) == 0


def test_so_many_are_held_and_no_more_and_one_that_replaces_another_is_not_one_more() -> None:
    index = IndexScript(limits=Limits(wishes=2))
    ann = index.online("ann")
    wish(ann, "moon", 1)
    wish(ann, "sun", 2)
    wish(ann, "stars", 2)
    ann.say(wire.Wish(3, "mars"))
    assert ann.one(wire.Error) == wire.Error("limit", "over 2 wishes are held", 3)
    assert [event["limit"] for event in index.events("limit.hit")] == ["index.wishes"]
    ann.say(wire.Unwish((1, 99)))
    wish(ann, "mars", 3)
    assert len(index.services.wishing) == 2


def test_none_is_held_beyond_its_session(index: IndexScript) -> None:
    ann, bob = index.online("ann"), index.online("bob")
    wish(ann, "moon")
    wish(bob, "moon")
    ann.leave()
    assert len(index.services.wishing) == 1


def test_a_wish_that_nothing_can_match_is_told_why_and_not_held(index: IndexScript) -> None:
    ann = index.online("ann")
    ann.say(wire.Wish(1, "moon type:audio ext:jpg"))
    answer = ann.one(wire.Wished)
    assert (answer.wish, answer.results) == (1, ())
    assert answer.reason
    assert len(index.services.wishing) == 0


# --- Told ----------------------------------------------------------------------------------------


def told(peer: PeerScript) -> list[tuple[int, list[str]]]:
    """Of which wish, and the names."""
    return [(part.wish, [result.name for result in part.results]) for part in peer.all(wire.Wished)]


def test_what_is_announced_is_told_within_two_seconds_as_a_search_would_show_it(index: IndexScript) -> None:
    ann = index.online("ann")
    wish(ann, "moon type:audio")
    bob = index.online("bob", entry("a/moon.mp3", bitrate_kbps=320), entry("a/moon.txt"), entry("a/sun.mp3"))
    index.wait(1.9)
    message = ann.one(wire.Wished)
    assert (message.wish, message.more, message.reason) == (1, False, None)
    assert message.results == ann.search("moon type:audio").results
    bob.announce(entry("b/new moon.ogg"), entry("b/blue moon.ogg"))
    index.wait(1.9)
    assert told(ann) == [(1, ["new moon.ogg", "blue moon.ogg"])]
    assert index.events("wish.told") == [
        {"user": "ann", "wish": 1, "results": 1},
        {"user": "ann", "wish": 1, "results": 2},
    ]


def test_what_was_there_before_and_what_comes_back_is_not_told(index: IndexScript) -> None:
    ann = index.online("ann")
    wish(ann, "moon", 7)
    bob = index.online("bob", entry("a/moon.mp3"))
    # In the second in which it is found for the earlier wish.
    wish(ann, "moon", 8)
    index.wait(2)
    assert told(ann) == [(7, ["moon.mp3"])]
    bob.leave()
    bob.connect()
    bob.login()
    index.wait(2)
    assert told(ann) == []


def test_what_others_offer_already_is_told_to_those_only_who_ask_for_the_user(index: IndexScript) -> None:
    index.online("bob", entry("a/moon.mp3", seed="x"))
    ann = index.online("ann")
    wish(ann, "moon", 1)
    wish(ann, "moon user:cat", 2)
    index.online("cat", entry("a/moon.mp3", seed="x"))
    index.wait(2)
    assert told(ann) == [(2, ["moon.mp3"])]


def test_what_is_withdrawn_before_it_is_told_and_what_the_wisher_has_is_not_told(index: IndexScript) -> None:
    ann = index.online("ann", entry("x/mine.mp3", seed="own"))
    wish(ann, "moon")
    gone = entry("a/moon one.mp3")
    bob = index.online("bob", gone, entry("a/moon two.mp3", seed="own"))
    bob.announce(withdraw=(gone,))
    ann.announce(entry("y/moon three.mp3"))
    ann.heard()
    index.wait(2)
    assert told(ann) == []


def test_what_only_some_may_see_is_told_to_them(index: IndexScript) -> None:
    friend, stranger = index.online("friend"), index.online("stranger")
    wish(friend, "moon")
    wish(stranger, "moon")
    index.online("bob", entry("a/moon.mp3", audience=("@account-1",)))
    index.wait(2)
    assert told(friend) == [(1, ["moon.mp3"])]
    assert told(stranger) == []


def test_of_very_much_a_part_is_told_and_that_there_is_more(index: IndexScript) -> None:
    ann = index.online("ann")
    wish(ann, "moon")
    index.online("bob", *(entry(f"a/moon {n}.mp3") for n in range(wire.MAX_WISHED + 1)))
    index.wait(2)
    parts = ann.all(wire.Wished)
    assert [part.more for part in parts] == [False] * (len(parts) - 1) + [True]
    assert sum(len(part.results) for part in parts) == wire.MAX_WISHED


QUERIES = (
    """sun OR moon|moo*|sun OR moo*|ext:mp3|type:audio|size>5|bitrate>=128 -sun|user:bob|"full moon"|京都|moon 京都*"""
)


@pytest.mark.parametrize("query", QUERIES.split("|"))
def test_every_kind_of_wish_is_found(index: IndexScript, query: str) -> None:
    ann = index.online("ann")
    wish(ann, query)
    index.online("bob", entry("a/full moon 東京都.mp3", bitrate_kbps=200))
    index.wait(2)
    assert told(ann) == [(1, ["full moon 東京都.mp3"])]


def test_a_wish_that_is_taken_back_and_those_of_a_session_that_is_over_are_not_told(index: IndexScript) -> None:
    ann, cat = index.online("ann"), index.online("cat")
    for peer in (ann, cat):
        wish(peer, "moon", 1)
        wish(peer, "full", 2)
    index.online("bob", entry("a/full moon.mp3"))
    ann.say(wire.Unwish((1,)))
    cat.leave()
    index.wait(2)
    assert told(ann) == [(2, ["full moon.mp3"])]
    assert told(cat) == []
    assert index.faults == []


def test_who_announces_faster_than_wishes_are_compared_is_acknowledged_all_the_same(
    index: IndexScript, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wishing, "MAX_BACKLOG", 2)
    monkeypatch.setattr(wishing, "STEPS", 2)
    ann = index.online("ann")
    wish(ann, "moon")
    bob = index.online("bob")
    steps = [bob.step(*(entry(f"a/moon {n} {m}.mp3") for m in range(4)), reset=n == 0) for n in range(6)]
    bob.say(*steps)
    index.wait(3)
    assert [ack.revision for ack in bob.all(wire.Ack)] == [step.revision for step in steps]
    assert sum(len(names) for _, names in told(ann)) == 24
    # One that leaves while it waits is in nobody's way.
    bob.say(*(bob.step(entry(f"b/moon {n}.mp3"), entry(f"b/sun {n}.mp3"), entry(f"b/mars {n}.mp3")) for n in range(4)))
    bob.leave()
    index.wait(3)
    assert index.faults == []
