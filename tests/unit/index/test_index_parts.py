"""Small parts of the index: multimap, bands, postings, allowances, turns, addresses, cursors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from napd.errors import Misuse
from napd.index import postings
from napd.index.addresses import candidates, fit_for, is_loopback, plain_host
from napd.index.bands import Bands, moves
from napd.index.columns import Ids
from napd.index.limits import Allowance
from napd.index.multimap import Multimap
from napd.index.order import MAX_NAME_KEY, Cursor, name_key, read_cursor, write_cursor
from napd.index.postings import Postings, by_term
from napd.index.turns import Turns
from napd.wire.index import SortOrder
from tests.support.index_script import content

small = st.integers(0, 5)


@given(st.lists(st.tuples(st.booleans(), small, small)))
def test_a_multimap_is_a_dictionary_of_sets(changes: list[tuple[bool, int, int]]) -> None:
    multimap, expected = Multimap(), dict[int, set[int]]()
    for add, key, value in changes:
        have = expected.setdefault(key, set())
        if add:
            assert multimap.add(key, value) is (value not in have)
            have.add(value)
        else:
            assert multimap.discard(key, value) is (value in have)
            have.discard(value)
    for key in range(6):
        assert set(multimap.of(key)) == expected.get(key, set())
        assert multimap.count(key) == len(expected.get(key, set()))
        assert (key in multimap) is bool(expected.get(key))
    assert sorted(multimap) == sorted(key for key, values in expected.items() if values)
    assert len(multimap) == len(list(multimap))


def ids(*numbers: int) -> Ids:
    return np.array(numbers, np.uint32)


def test_bands_go_from_the_best_held_down() -> None:
    bands = Bands()
    bands.put(ids(1, 2, 3, 4), ids(1, 3, 100, 0))
    assert [list(band) for _, band in bands.from_the_top() if band] == [[3], [2], [1]]
    bands.put(ids(2, 3, 4), ids(4, 0, 2))
    assert [list(band) for _, band in bands.from_the_top() if band] == [[2], [4], [1]]


def test_a_count_changes_its_band_at_powers_of_two_only() -> None:
    assert [n for n in range(20) if moves(ids(n), ids(n + 1))[0]] == [0, 1, 3, 7, 15]
    assert [n for n in range(1, 20) if moves(ids(n), ids(n - 1))[0]] == [1, 2, 4, 8, 16]


terms = st.lists(st.text("ab", min_size=1, max_size=3), max_size=3)


@given(st.lists(st.tuples(st.booleans(), small, terms), max_size=40), st.text("ab", min_size=1, max_size=2))
def test_postings_find_by_term_and_by_prefix(changes: list[tuple[bool, int, list[str]]], prefix: str) -> None:
    found, expected = Postings(), dict[str, set[int]]()
    # Lists so short that they are merged all the time, and few items that are many.
    recent, postings.RECENT, most, postings.MAX_SMALL = postings.RECENT, 2, postings.MAX_SMALL, 2
    try:
        for add, item, some in changes:
            (found.add if add else found.remove)(item, some)
            for term in some:
                (expected.setdefault(term, set()).add if add else expected.setdefault(term, set()).discard)(item)
        for term, items in expected.items():
            assert set(found.having(term)) == items
        beginning = {item for term, items in expected.items() if term.startswith(prefix) for item in items}
        assert set(found.beginning(prefix)) == beginning
    finally:
        postings.RECENT, postings.MAX_SMALL = recent, most


batches = st.lists(st.dictionaries(st.integers(0, 30), st.sets(st.text("abc", min_size=1, max_size=2))), max_size=10)


@given(batches, st.lists(st.integers(0, 30)))
def test_items_that_become_known_together_are_found_like_those_that_come_one_by_one(
    many: list[dict[int, set[str]]], gone: list[int]
) -> None:
    together, one_by_one = Postings(), Postings()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postings, "RECENT", 3)
        patch.setattr(postings, "BLOCK", 4)
        patch.setattr(postings, "MIN_KEPT", 1)
        patch.setattr(postings, "MAX_SMALL", 3)
        for batch in many:
            together.add_all(by_term({item: batch[item] for item in sorted(batch)}))
            for item, terms in batch.items():
                one_by_one.add(item, terms)
            for item in gone:
                for each in (together, one_by_one):
                    each.remove(item, batch.get(item, ()))
            for term in {term for terms in batch.values() for term in terms}:
                assert together.having(term) == one_by_one.having(term)
                assert together.beginning(term[0]) == one_by_one.beginning(term[0])
    assert len(together) == len(one_by_one)


@given(
    st.lists(
        st.lists(st.text("ab", min_size=1, max_size=4), max_size=4) | st.integers(0, 9) | st.text("ab", min_size=1)
    ),
    st.integers(0, 12),
)
def test_what_is_kept_of_beginnings_is_what_a_look_at_all_terms_finds(
    changes: list[list[str] | int | str], most: int
) -> None:
    """A list is the next item's terms, a number an item that goes, a text a beginning that is looked up."""
    found, names = Postings(), dict[int, list[str]]()
    kept = postings.MIN_KEPT, postings.MAX_KEPT
    postings.MIN_KEPT, postings.MAX_KEPT = 1, most
    try:
        for number, change in enumerate(changes):
            if isinstance(change, list):
                names[number] = change
                found.add(number, change)
            elif isinstance(change, int):
                found.remove(change, names.pop(change, []))
            else:
                expected = {item for item, terms in names.items() if any(term.startswith(change) for term in terms)}
                # One that is gone may be there still: nobody offers it.
                assert set(found.beginning(change)) & set(names) == expected
    finally:
        postings.MIN_KEPT, postings.MAX_KEPT = kept


def test_of_what_is_kept_of_beginnings_the_longest_unused_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postings, "MIN_KEPT", 2)
    monkeypatch.setattr(postings, "MAX_KEPT", 5)
    found = Postings()
    for item in range(2):
        found.add(item, [f"a{item}", f"b{item}", f"c{item}"])
    a, b = found.beginning("a"), found.beginning("b")
    assert found.beginning("a") is a
    found.beginning("c")
    assert found.beginning("a") is a
    assert found.beginning("b") is not b
    assert found.beginning("a0") is not found.beginning("a0"), "of few terms nothing is kept"


def test_an_allowance_is_so_many_at_once_and_so_many_in_the_long_run() -> None:
    clock = Clock()
    allowance = Allowance.of(clock, 2.0, 3)
    assert [allowance.take() for _ in range(5)] == [True, True, True, False, False]
    clock.advance(1.0)
    assert [allowance.take() for _ in range(3)] == [True, True, False]
    clock.advance(3600)
    assert [allowance.take() for _ in range(4)] == [True, True, True, False]


def test_turns_go_round_and_one_that_asks_much_waits_behind_those_that_ask_little() -> None:
    clock = Clock()
    turns = Turns(clock)
    served: list[str] = []
    for n in range(3):
        turns.add("busy", lambda n=n: served.append(f"busy {n}"))  # type: ignore[misc]
    turns.add("other", lambda: served.append("other"))
    assert served == []
    clock.advance(0)
    assert served == ["busy 0", "other", "busy 1", "busy 2"]


def test_each_turn_is_a_turn_of_the_reactor() -> None:
    clock = Clock()
    turns = Turns(clock)
    served: list[int] = []
    for n in range(2):
        turns.add("one", lambda n=n: served.append(n))  # type: ignore[misc]
    clock.callLater(0, lambda: served.append(-1))
    clock.advance(0)
    assert served == [0, -1, 1]


def test_what_a_gone_session_waited_for_is_not_done() -> None:
    clock = Clock()
    turns = Turns(clock)
    turns.add("gone", lambda: pytest.fail("it is gone"))
    turns.drop("gone")
    clock.advance(0)
    turns.add("gone", lambda: pytest.fail("it has stopped"))
    turns.stop()
    clock.advance(1)


@pytest.mark.parametrize(
    ("host", "port", "advertised", "expected"),
    [
        ("192.0.2.1", 7000, (), ("192.0.2.1:7000",)),
        ("192.0.2.1", 0, (), ()),
        ("192.0.2.1", 0, ("127.0.0.1:22", "localhost:80", "[::1]:5432"), ()),
        ("127.0.0.1", 7000, ("127.0.0.1:7001",), ("127.0.0.1:7000", "127.0.0.1:7001")),
        ("192.0.2.1", 0, ("example.org:1", "example.org"), ("example.org:1",)),
        ("2001:db8::1", 7000, (), ("[2001:db8::1]:7000",)),
        ("::ffff:192.0.2.1", 7000, ("192.0.2.1",), ("192.0.2.1:7000",)),
        (
            "192.0.2.1",
            7000,
            ("example.org", "[2001:db8::2]:8", "192.0.2.1:7000"),
            ("192.0.2.1:7000", "example.org:7000", "[2001:db8::2]:8"),
        ),
        (
            "192.0.2.1",
            7000,
            ("0.0.0.0:1", "[::]:1", "224.0.0.1:5", "a b:1", "x\n:1", "a:99999", "http://a/"),
            ("192.0.2.1:7000",),
        ),
    ],
)
def test_candidates_are_what_is_seen_and_what_is_advertised(
    host: str, port: int, advertised: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert candidates(host, port, advertised) == expected


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST.", "::ffff:127.0.0.1"])
def test_loopback_is_recognised_in_every_form(host: str) -> None:
    assert is_loopback(host)
    assert not is_loopback("192.0.2.1")
    assert not is_loopback("example.org")


def test_loopback_addresses_are_only_for_those_on_loopback_and_come_first_there() -> None:
    addresses = ("192.0.2.1:1", "127.0.0.1:1", "[::1]:1")
    assert fit_for(addresses, local=False) == ("192.0.2.1:1",)
    assert fit_for(addresses, local=True) == ("127.0.0.1:1", "[::1]:1", "192.0.2.1:1")


def test_an_ipv4_address_on_an_ipv6_socket_is_one() -> None:
    assert plain_host("::ffff:192.0.2.7") == "192.0.2.7"
    assert plain_host("2001:db8::1") == "2001:db8::1"


@pytest.mark.parametrize(
    ("sort", "key"), [("best", -12345), ("size", -(1 << 46)), ("name", name_key("Ä" * 255)), ("name", "")]
)
def test_cursors_fit_the_wire_and_come_back_as_they_were(sort: SortOrder, key: int | str) -> None:
    cursor = Cursor((key, content(1)), sort)
    text = write_cursor(cursor)
    assert len(text) <= 256
    assert read_cursor(text, sort) == cursor


def test_names_are_ordered_by_as_much_as_a_cursor_holds() -> None:
    assert name_key("apple") < name_key("Banana") < name_key("cherry")
    assert len(bytes.fromhex(name_key("語" * 255))) == MAX_NAME_KEY


@given(st.text(max_size=256))
def test_a_cursor_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Misuse):
        read_cursor(text, "best")


def test_a_cursor_of_another_order_is_refused() -> None:
    text = write_cursor(Cursor((-5, content(1)), "size"))
    for sort in ("best", "sources", "name"):
        with pytest.raises(Misuse, match="order"):
            read_cursor(text, sort)
