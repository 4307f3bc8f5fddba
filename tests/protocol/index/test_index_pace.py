"""Sessions that say or ask much: heard to the end, in order, and only as fast as others can be heard, too."""

from __future__ import annotations

import pytest

from napd.index.hearing import MOST_HEARD
from napd.index.limits import Limits
from napd.wire import index as wire
from tests.support.index_script import IndexScript, PeerScript


@pytest.fixture
def index() -> IndexScript:
    return IndexScript(limits=Limits(search_burst=2, searches_per_s=0.1))


@pytest.fixture
def ann(index: IndexScript) -> PeerScript:
    return index.online("ann")


def test_lists_of_users_count_as_searches(index: IndexScript, ann: PeerScript) -> None:
    ann.say(wire.Users(1), wire.Search(2, "heron"), wire.Users(3))
    heard = ann.heard()
    refused = [message for message in heard if isinstance(message, wire.Error)]
    assert [(error.code, error.id) for error in refused] == [("limit", 3)]
    assert index.events("limit.hit")[0]["limit"] == "index.searches"


def test_all_that_is_said_at_once_is_heard_in_order(ann: PeerScript) -> None:
    ann.say(*(wire.Unwish((n,)) if n % 2 else wire.Wish(n, f"heron {n}") for n in range(3 * MOST_HEARD)))
    assert [wished.wish for wished in ann.all(wire.Wished)] == list(range(0, 3 * MOST_HEARD, 2))
    assert ann.transport.producerState == "producing"


def test_nothing_is_heard_after_the_last_word_however_much_was_said_before(ann: PeerScript) -> None:
    ann.say(*[wire.Ping()] * 2 * MOST_HEARD, wire.Bye("shutdown", "good night"), wire.Ping())
    assert len(ann.all(wire.Pong)) == 2 * MOST_HEARD
    assert ann.is_gone()


def test_what_is_said_after_the_login_waits_for_its_turn_not_for_ever(index: IndexScript) -> None:
    bob = index.peer("bob")
    bob.hello()
    bob.say(bob.login_message(), *[wire.Ping()] * 3 * MOST_HEARD)
    heard = bob.heard()
    assert sum(isinstance(message, wire.Pong) for message in heard) == 3 * MOST_HEARD
    assert sum(isinstance(message, wire.Welcome) for message in heard) == 1


def test_a_list_of_users_is_of_those_who_are_still_there_when_it_comes_to_them(index: IndexScript) -> None:
    index = IndexScript()
    ann = index.online("ann")
    bob = index.online("bob")
    ann.transport.link.dataReceived(b'{"t":"users","id":1}\n')
    bob.leave()
    index.settle()
    assert [row.user for row in ann.one(wire.UserList).users] == ["ann"]
