"""Searches that stand: held for a session, told what is announced."""

from __future__ import annotations

import pytest

from napd.index.limits import Limits
from napd.wire import index as wire
from tests.support.index_script import IndexScript, PeerScript


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
