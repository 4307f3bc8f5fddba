"""Many sources of one network count as a few in the ranking, and as what they are everywhere else."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napd.index.networks import MOST, Networks, network_of
from napd.wire import index as wire
from tests.support.index_script import IndexScript, PeerScript, entry


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("8.8.4.4", "8.8.4.0/24"),
        ("2a00:1450:4001:81b::200e", "2a00:1450:4001::/48"),
        ("10.1.2.3", None),
        ("192.168.1.1", None),
        ("100.64.0.1", None),
        ("127.0.0.1", None),
        ("::1", None),
        ("fe80::1", None),
        ("peer.example", None),
        ("", None),
    ],
)
def test_public_addresses_have_a_network(host: str, network: str | None) -> None:
    assert network_of(host) == network


@given(st.lists(st.tuples(st.integers(0, 15), st.sampled_from(["8.8.8.8", "9.9.9.9", "10.0.0.1", None])), max_size=60))
def test_what_is_beyond_the_cap_is_counted_for_each_network(moves: list[tuple[int, str | None]]) -> None:
    networks, where = Networks(), dict[int, str]()
    for account, host in moves:
        if host is None:
            networks.leave(account)
            where.pop(account, None)
        else:
            networks.put(account, network_of(host))
            where[account] = host
    sizes = Counter(host for host in where.values() if host != "10.0.0.1")
    assert networks.crowded is any(size > MOST for size in sizes.values())
    assert networks.excess(range(16)) == sum(max(0, size - MOST) for size in sizes.values())


def crowd(index: IndexScript, name: str, hosts: list[str]) -> list[PeerScript]:
    return [index.online(f"{name[:1]}{n}", entry(f"s/{name} song.mp3"), host=host) for n, host in enumerate(hosts)]


def test_a_crowd_of_one_network_is_ranked_as_a_few_and_shown_as_it_is() -> None:
    index = IndexScript()
    asker = index.online("zoe")
    crowd(index, "flood", [f"8.8.8.{n}" for n in range(12)])
    crowd(index, "many", [f"9.9.{n}.9" for n in range(6)])
    crowd(index, "club", ["192.168.0.7"] * 5)
    names = ["many song.mp3", "club song.mp3", "flood song.mp3"]
    assert asker.found("song") == names
    assert [result.sources for result in asker.search("song").results] == [6, 5, 12]
    assert asker.found("song", sort="sources") == ["flood song.mp3", "many song.mp3", "club song.mp3"]
    cursor, paged = None, []
    for _ in range(3):
        page = asker.search("song", limit=1, cursor=cursor)
        paged += [result.name for result in page.results]
        cursor = page.next
    assert paged == names
    assert cursor is None


def test_who_leaves_is_counted_no_more() -> None:
    index = IndexScript()
    peers = crowd(index, "flood", [f"8.8.8.{n}" for n in range(MOST + 1)])
    assert index.services.presence.networks.crowded
    peers[0].leave()
    assert not index.services.presence.networks.crowded


def test_what_only_busy_ones_have_comes_after_what_others_have() -> None:
    index = IndexScript()
    asker = index.online("zoe")
    holders = [index.online(name, entry(f"s/{name} song.mp3")) for name in ("ann", "bob")]
    both = asker.found("song")
    first, second = holders if both[0] == "ann song.mp3" else holders[::-1]
    first.say(wire.Slots(0))
    assert asker.found("song") == both[::-1]
    second.say(wire.Slots(0))
    assert asker.found("song") == both
    second.say(wire.Slots(3))
    assert asker.found("song") == both[::-1]
    # One more who has it, and a slot.
    more = index.online("cat", *first.entries)
    assert asker.found("song") == both
    more.leave()
    first.leave()
    first.connect()
    first.login()
    assert asker.found("song") == both
    assert index.services.presence.busy == set()
