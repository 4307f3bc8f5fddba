"""Whoever comes and goes, with whatever: who holds what, and how popular it is, are as if counted anew."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napd.index import absent, popularity
from napd.index.engine import MemoryEngine
from napd.index.items import Asker, Item
from napd.index.presence import Presence
from napd.index.store.interface import Account
from napd.index.table import ItemTable
from napd.model import EVERYONE, PeerId
from napd.wire.catalogue import Entry
from tests.support.index_script import content

#: Content of each item, the first one's number is 1; some are for one group only.
CONTENTS = (1, 1, 1, 2, 2, 3, 4, 5, 5, 6)
RESTRICTED = {3, 7, 8}
STRANGER = Asker(99, "stranger", "peer")
FRIEND = Asker(98, "friend", "peer", ("staff",))
ITEMS = [
    Item(
        number,
        one,
        Entry(content(one), number, "folder", f"{number}", ("staff",) if number in RESTRICTED else (EVERYONE,)),
    )
    for number, one in enumerate(CONTENTS, 1)
]

items = st.sets(st.integers(1, len(CONTENTS)))
accounts = st.integers(1, 5)
#: What an account does; `None` is to come back with what it had when it left.
steps = st.lists(
    st.tuples(accounts, st.sampled_from(["come", "leave", "add", "remove"]), st.none() | items), max_size=40
)


@pytest.fixture(autouse=True)
def little(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Bounds that are met all the time."""
    monkeypatch.setattr(absent, "MAX_ABSENT", 6)
    monkeypatch.setattr(popularity, "MAX_STALE", 3)
    yield


@given(steps)
def test_presence_is_a_dictionary_of_sets(steps: list[tuple[int, str, set[int] | None]]) -> None:
    table = ItemTable()
    presence = Presence(table)
    MemoryEngine(table, presence).learn(ITEMS)
    held: dict[int, set[int]] = {}
    last: dict[int, set[int]] = {}
    for number, what, given_items in steps:
        some = last.get(number, set()) if given_items is None else given_items
        before = {one: seen(held, one) for one in set(CONTENTS)}
        online = presence.get(number)
        if what == "come" and online is None:
            online = presence.connect(Account(number, f"id{number}", f"user{number}", PeerId("peer")), 1, 0.0)
            changed = presence.add(online, array("I", sorted(some)))
            held[number] = set(some)
        elif online is None:
            continue
        elif what == "leave":
            changed = presence.disconnect(online)
            last[number] = held.pop(number)
        elif what == "add":
            changed = presence.add(online, sorted(some))
            held[number] |= some
        else:
            changed = presence.remove(online, sorted(some))
            held[number] -= some
        assert changed.tolist() == sorted(set(changed.tolist()))
        assert {one for one in before if seen(held, one) != before[one]} <= set(changed.tolist())
        check(presence, held)


def seen(held: dict[int, set[int]], one: int) -> dict[int, set[int]]:
    """Who offers which items of a content, to anybody."""
    of_it = {number for number, content in enumerate(CONTENTS, 1) if content == one}
    return {account: mine & of_it for account, mine in held.items() if mine & of_it}


def check(presence: Presence, held: dict[int, set[int]]) -> None:
    public = {account: mine - RESTRICTED for account, mine in held.items()}
    offered = set().union(*public.values())
    counts = {one: len(seen(public, one)) for one in set(CONTENTS)}
    assert set(presence.everyone) == offered
    bands = [set(band) for _, band in reversed(list(presence.bands.from_the_top()))]
    expected = [
        {item for item in offered if counts[CONTENTS[item - 1]].bit_length() == band + 1} for band in range(len(bands))
    ]
    assert bands == expected
    assert offered == set().union(*expected)
    for one in set(CONTENTS):
        assert sorted(presence.holders_for(one, STRANGER)) == sorted(seen(public, one))
        assert sorted(presence.holders_for(one, FRIEND)) == sorted(seen(held, one))
        assert presence.count_for(one, STRANGER) == counts[one]
        for account in held:
            online = presence.get(account)
            assert online is not None
            assert presence.holds(online, one) is (account in seen(held, one))
    assert presence.contents == sum(bool(seen(held, one)) for one in set(CONTENTS))
    assert presence.listings == sum(map(len, held.values()))
    assert presence.bytes == sum(map(sum, held.values()))
