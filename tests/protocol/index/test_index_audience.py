"""What an asker may not see changes no byte of what he is told."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from napd.index.items import Asker
from napd.wire import index as wire
from napd.wire.catalogue import Entry
from tests.support.index_script import IndexScript, PeerScript, content, entry

names = st.sampled_from(["red song.mp3", "blue song.mp3", "red tune.ogg", "song.txt"])
public = st.builds(
    lambda name, seed, size: entry(f"s/{name}", seed=seed, size=size),
    names,
    st.integers(0, 3),
    st.sampled_from([1, 500]),
)
hidden = st.builds(
    lambda one, audience: Entry(one.content, one.size, "secret/place", one.name, audience, one.media),
    public,
    st.sampled_from([("@account-4",), ("staff",), ("staff", "@account-9")]),
)
shares = st.tuples(st.lists(public, max_size=5), st.lists(hidden, max_size=5))


def everything_told(shares: list[tuple[list[Entry], list[Entry]]], *, with_hidden: bool) -> bytes:
    """All that an asker hears while others come, change what they share, and go."""
    index = IndexScript()
    asker = index.online("zoe")
    asker.say(wire.Seek(tuple(content(seed) for seed in range(4))))
    asker.say(wire.Wish(1, "song"), wire.Wish(2, "re*", type="audio"), wire.Wish(3, "place OR tune"))
    asker.say(wire.Wish(4, "song", user="bob"), wire.Wish(5, "ext:mp3 -blue"), wire.Wish(6, "size>1"))
    others: list[PeerScript] = []
    fetching = index.peer("fay", listens=7000)
    index.network.listening["192.0.2.1:7000"] = fetching.identity
    fetching.login()
    fetching.say(wire.Partial(tuple(content(seed) for seed in range(3))))
    for user, (seen, unseen) in zip(("ann", "bob", "cat"), shares, strict=True):
        other = index.peer(user)
        other.login()
        other.announce(*seen, reset=True)
        if with_hidden:
            other.announce(*unseen)
        others.append(other)
    others[0].say(wire.Slots(0))
    for step in range(3):
        index.wait(1)
        for sort in ("best", "sources", "size", "name"):
            asker.say(wire.Search(1, "song -blue", sort=sort, limit=2), wire.Search(2, "re*", type="audio", sort=sort))
            asker.say(wire.Search(3, "song", user="ann", min_size=2, sort=sort), wire.Search(4, "place", sort=sort))
            asker.say(wire.Search(6, "red OR tune size>1", sort=sort), wire.Search(7, "ext:mp3 user:bob", sort=sort))
            asker.say(wire.Search(8, "place -place", sort=sort), wire.Search(9, "secret OR song -ext:mp3", sort=sort))
        asker.say(wire.Users(5))
        index.wait(2)
        if with_hidden and step == 1:
            others[1].announce(withdraw=tuple(shares[1][1]))
        if step == 1:
            others[0].leave()
    assert index.faults == []
    said: bytes = asker.transport.value()
    return said


@settings(max_examples=60, deadline=None)
@given(st.tuples(shares, shares, shares))
def test_hidden_entries_change_no_byte_of_any_answer(
    shared: tuple[tuple[list[Entry], list[Entry]], tuple[list[Entry], list[Entry]], tuple[list[Entry], list[Entry]]],
) -> None:
    assert everything_told(list(shared), with_hidden=True) == everything_told(list(shared), with_hidden=False)


def test_those_whom_an_entry_is_for_see_it_as_any_other() -> None:
    index = IndexScript()
    friend, stranger = index.online("friend"), index.online("stranger")
    index.online("ann", entry("s/song.mp3", audience=("@account-1",), size=9), entry("s/public.mp3"))
    assert friend.found("song") == ["song.mp3"]
    assert stranger.found("song") == []
    for peer, listings, size in ((friend, 2, 1009), (stranger, 1, 1000)):
        peer.say(wire.Users(1, "ann"))
        (row,) = peer.one(wire.UserList).users
        assert (row.listings, row.bytes) == (listings, size)
        peer.say(wire.Seek((content("s/song.mp3"),)))
    assert len(friend.one(wire.Sources).sources) == 1
    assert stranger.one(wire.Sources) == wire.Sources(content("s/song.mp3"), ())


def test_sources_that_only_some_may_see_count_only_for_them() -> None:
    index = IndexScript()
    friend, stranger = index.online("friend"), index.online("stranger")
    index.online("ann", entry("s/song.mp3", seed="x"))
    index.online("bob", entry("t/song.mp3", seed="x", audience=("@account-1",)))
    assert [result.users for result in friend.search("song").results] == [("ann", "bob")]
    assert [result.users for result in stranger.search("song").results] == [("ann",)]


def test_an_audience_lets_in_everyone_its_groups_and_its_accounts() -> None:
    asker = Asker(1, "account-1", "peer", groups=("staff",))
    assert asker.may_see(("everyone",))
    assert asker.may_see(("guests", "staff"))
    assert asker.may_see(("@account-1",))
    assert not asker.may_see(("@account-2", "guests"))
    assert not asker.may_see(())
