"""Who has parts of a content: told to those who fetch it if it is for everyone, and to nobody otherwise."""

from __future__ import annotations

import pytest

from napd.index.seeking import CROWD, SPACING_S
from napd.wire import index as wire
from tests.support.index_script import IndexScript, PeerScript, content, entry

SONG = entry("a/song.mp3", size=77)
SECRET = entry("s/secret.mp3", audience=("@account-1",))


@pytest.fixture
def index() -> IndexScript:
    return IndexScript()


def reachable(index: IndexScript, user: str, *entries: object, **how: object) -> PeerScript:
    """A peer online that others can dial."""
    number = len(index.network.listening) + 7000
    peer = index.peer(user, listens=number, **how)  # type: ignore[arg-type]
    index.network.listening[f"192.0.2.1:{number}"] = peer.identity
    peer.login()
    if entries:
        peer.announce(*entries, reset=True)  # type: ignore[arg-type]
    index.wait(0.2)
    peer.heard()
    return peer


def with_parts(index: IndexScript, user: str, *contents: str) -> PeerScript:
    peer = reachable(index, user)
    peer.say(wire.Partial(contents or (SONG.content,)))
    return peer


def seek(peer: PeerScript, wanted: str = SONG.content) -> wire.Sources:
    peer.say(wire.Seek((wanted,)))
    return peer.all(wire.Sources)[-1]


def told(message: wire.Sources) -> list[tuple[str, bool]]:
    return [(source.user, source.partial) for source in message.sources]


def test_who_has_parts_comes_after_who_has_all_and_changes_no_claim(index: IndexScript) -> None:
    reachable(index, "ann", SONG)
    with_parts(index, "bob")
    message = seek(index.online("zoe"))
    assert told(message) == [("ann", False), ("bob", True)]
    assert (message.size, message.name, message.everyone) == (77, "song.mp3", True)


def test_parts_are_told_as_they_come_and_go(index: IndexScript) -> None:
    reachable(index, "ann", SONG)
    zoe = index.online("zoe")
    seek(zoe)
    index.wait(1)
    bob = with_parts(index, "bob")
    assert told(zoe.one(wire.Sources)) == [("ann", False), ("bob", True)]
    index.wait(1)
    bob.say(wire.Partial(drop=(SONG.content,)))
    assert told(zoe.one(wire.Sources)) == [("ann", False)]
    index.wait(1)
    bob.say(wire.Partial((SONG.content,)))
    index.wait(1)
    zoe.heard()
    bob.leave()
    index.wait(1)
    assert told(zoe.one(wire.Sources)) == [("ann", False)]
    assert not index.services.presence.swarms


def test_who_has_parts_is_not_told_of_himself(index: IndexScript) -> None:
    reachable(index, "ann", SONG)
    assert told(seek(with_parts(index, "bob"))) == [("ann", False)]


def test_who_has_all_in_the_end_is_told_once(index: IndexScript) -> None:
    reachable(index, "ann", SONG)
    bob = with_parts(index, "bob")
    bob.announce(SONG, reset=True)
    assert told(seek(index.online("zoe"))).count(("bob", False)) == 1
    assert ("bob", True) not in told(seek(index.online("yan")))


def test_who_has_parts_and_cannot_be_dialled_is_no_use(index: IndexScript) -> None:
    reachable(index, "ann", SONG)
    index.online("bob").say(wire.Partial((SONG.content,)))
    assert told(seek(index.online("zoe"))) == [("ann", False)]


def test_an_address_that_is_proven_later_brings_its_parts_along(index: IndexScript) -> None:
    reachable(index, "ann", SONG)
    zoe = index.online("zoe")
    seek(zoe)
    bob = index.peer("bob", listens=7999)
    bob.login()
    bob.say(wire.Partial((SONG.content,)))
    index.wait(1)
    assert zoe.all(wire.Sources) == []
    index.network.listening["192.0.2.1:7999"] = bob.identity
    for _ in range(10):
        index.clock.advance(1)
        bob.say(wire.Pong())
        zoe.say(wire.Pong())
    assert told(zoe.all(wire.Sources)[-1]) == [("ann", False), ("bob", True)]


def test_parts_count_in_no_search_no_figure_and_no_user_row(index: IndexScript) -> None:
    reachable(index, "ann", SONG)
    with_parts(index, "bob")
    zoe = index.online("zoe")
    (result,) = zoe.search("song").results
    assert (result.sources, result.users) == (1, ("ann",))
    zoe.say(wire.Users(9, "bob"))
    (row,) = zoe.one(wire.UserList).users
    assert (row.listings, row.bytes) == (0, 0)
    assert index.services.presence.contents == 1


# --- Open or not -------------------------------------------------------------------------------------


def test_parts_of_what_nobody_offers_are_not_told_until_somebody_does(index: IndexScript) -> None:
    """After the index's restart those who fetch may be back before the one whom they fetch from."""
    with_parts(index, "bob")
    zoe = index.online("zoe")
    assert seek(zoe) == wire.Sources(SONG.content, ())
    index.wait(1)
    reachable(index, "ann", SONG)
    index.wait(1)
    assert told(zoe.all(wire.Sources)[-1]) == [("ann", False), ("bob", True)]


def test_parts_of_what_is_not_for_everyone_are_told_to_nobody(index: IndexScript) -> None:
    friend, stranger = index.online("friend"), index.online("stranger")
    reachable(index, "ann", SECRET)
    with_parts(index, "bob", SECRET.content)
    message = seek(friend, SECRET.content)
    assert (told(message), message.everyone) == ([("ann", False)], False)
    assert seek(stranger, SECRET.content) == wire.Sources(SECRET.content, ())


def test_a_swarm_lives_on_when_the_last_who_has_all_leaves(index: IndexScript) -> None:
    ann = reachable(index, "ann", SONG)
    with_parts(index, "bob")
    zoe = index.online("zoe")
    ann.leave()
    message = seek(zoe)
    assert (told(message), message.everyone) == ([("bob", True)], True)
    assert (message.size, message.name) == (None, None)


def test_a_swarm_that_begins_after_the_last_who_had_all_left_is_not_told(index: IndexScript) -> None:
    reachable(index, "ann", SONG).leave()
    with_parts(index, "bob")
    assert seek(index.online("zoe")) == wire.Sources(SONG.content, ())


def test_what_the_last_one_takes_back_is_open_no_more(index: IndexScript) -> None:
    ann, fay = reachable(index, "ann", SONG), reachable(index, "fay", SONG)
    with_parts(index, "bob")
    zoe = index.online("zoe")
    ann.announce(withdraw=(SONG,))
    assert seek(zoe).everyone
    fay.announce(entry("a/song.mp3", size=77, audience=("staff",)), withdraw=(SONG,))
    index.wait(1)
    assert zoe.all(wire.Sources)[-1] == wire.Sources(SONG.content, ())


def test_who_narrowed_an_audience_while_away_and_lost_the_log_closes_it_too(index: IndexScript) -> None:
    ann = reachable(index, "ann", SONG)
    with_parts(index, "bob")
    ann.leave()
    again = index.peer("ann")
    again.login(epoch="d" * 64, revision=1, digest="7" * 64)
    assert seek(index.online("zoe")) == wire.Sources(SONG.content, ())


def test_who_comes_back_with_another_log_and_the_same_files_opens_it_again(index: IndexScript) -> None:
    ann = reachable(index, "ann", SONG)
    with_parts(index, "bob")
    ann.leave()
    again = index.peer("ann")
    again.login(epoch="d" * 64, revision=1, digest="7" * 64)
    again.epoch = "d" * 64
    again.announce(SONG, reset=True)
    message = seek(index.online("zoe"))
    assert (("bob", True) in told(message), message.everyone) == (True, True)


def test_a_new_name_in_one_step_leaves_it_open(index: IndexScript) -> None:
    ann = reachable(index, "ann", SONG)
    with_parts(index, "bob")
    ann.announce(entry("b/other.mp3", seed="a/song.mp3", size=77), withdraw=(SONG,))
    assert told(seek(index.online("zoe"))) == [("ann", False), ("bob", True)]


def test_to_take_back_what_was_for_some_only_closes_nothing(index: IndexScript) -> None:
    ann = reachable(index, "ann", SONG)
    hidden = entry("h/song.mp3", seed="a/song.mp3", size=77, audience=("staff",))
    fay = reachable(index, "fay", hidden)
    with_parts(index, "bob")
    ann.leave()
    fay.announce(withdraw=(hidden,))
    assert seek(index.online("zoe")).everyone


# --- Limits ------------------------------------------------------------------------------------------


def test_only_so_many_contents_in_parts(index: IndexScript, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_PARTIALS", 3)
    reachable(index, "ann", *(entry(f"a/{n}") for n in range(5)))
    bob = with_parts(index, "bob", *(content(f"a/{n}") for n in range(2)))
    bob.say(wire.Partial(tuple(content(f"a/{n}") for n in range(1, 5))))
    assert bob.one(wire.Error).code == "limit"
    assert index.events("limit.hit")[0]["limit"] == "index.partials"
    zoe = index.online("zoe")
    assert [len(seek(zoe, content(f"a/{n}")).sources) for n in range(5)] == [2, 2, 2, 1, 1]
    bob.say(wire.Partial((content("a/4"),), drop=(content("a/0"), content("never"))))
    assert bob.all(wire.Error) == []
    index.wait(1)
    assert [len(seek(zoe, content(f"a/{n}")).sources) for n in range(5)] == [1, 2, 2, 1, 2]


def test_of_a_crowd_each_is_told_a_part_that_differs_and_stays(
    index: IndexScript, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_PARTIAL_TOLD", 6)
    reachable(index, "ann", SONG)
    crowd = [with_parts(index, f"user{n}") for n in range(30)]
    zoe, yan = index.online("zoe"), index.online("yan")
    first, other = (set(told(seek(peer))[1:]) for peer in (zoe, yan))
    assert 3 <= len(first) <= 6
    assert first != other
    # One of thirty goes: most who were told are still.
    crowd[0].leave()
    assert len(first & set(told(seek(zoe))[1:])) >= len(first) - 1


def test_a_growing_crowd_is_told_the_more_rarely_and_a_new_source_at_once(index: IndexScript) -> None:
    ann = reachable(index, "ann", SONG)
    crowd = [index.online(f"user{n}") for n in range(4 * CROWD)]
    for peer in crowd:
        peer.say(wire.Seek((SONG.content,)))
        peer.heard()
    index.wait(SPACING_S)
    messages = 0
    for n in range(10):
        with_parts(index, f"late{n}")
        index.wait(0.3)
        messages += sum(len(peer.all(wire.Sources)) for peer in crowd)
    # Five seconds: at most every fourth half second, and not ten changes each.
    assert len(crowd) <= messages <= 4 * len(crowd)
    index.wait(3)
    for peer in crowd:
        peer.heard()
    with_parts(index, "last")
    ann.leave()
    index.wait(SPACING_S + 0.1)
    assert all(("ann", False) not in told(peer.all(wire.Sources)[-1]) for peer in crowd)
