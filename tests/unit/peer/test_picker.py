"""The picker against a plain model: never asks twice outside the end game, always finishes if somebody serves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from napd.peer.picker import Picker

SOURCES = ["ada", "bob", "cyd"]


def test_runs_are_contiguous_and_in_order() -> None:
    picker = Picker(10)

    assert picker.take("ada", 4, below=10) == (0, 4)
    assert picker.take("bob", 4, below=10) == (4, 4)
    assert picker.take("ada", 4, below=10) == (8, 2)


def test_only_chunks_with_known_digests_are_asked_for() -> None:
    picker = Picker(10)

    assert picker.take("ada", 8, below=3) == (0, 3)
    assert picker.take("ada", 8, below=3) is None
    assert picker.take("ada", 8, below=10) == (3, 7)


def test_what_a_lost_source_was_asked_for_goes_to_another() -> None:
    picker = Picker(4)
    picker.take("ada", 2, below=4)
    picker.take("bob", 2, below=4)

    picker.release_all("ada")

    assert picker.take("bob", 4, below=4) == (0, 2)


@given(st.integers(0, (1 << 40) - 1), st.integers(0, (1 << 40) - 1))
def test_what_is_held_in_bulk_is_verified_like_one_by_one(before: int, bits: int) -> None:
    bulk, single = Picker(100), Picker(100)
    bulk.hold(30, 40, before)
    bulk.hold(30, 40, bits)
    for chunk in range(40):
        if bits >> chunk & 1:
            single.verified(30 + chunk)
    assert [bulk.is_verified(chunk) for chunk in range(100)] == [single.is_verified(chunk) for chunk in range(100)]
    assert bulk.left == single.left


def test_at_the_end_a_chunk_is_asked_of_a_second_source_and_the_loser_is_named() -> None:
    picker = Picker(1)
    picker.take("slow", 1, below=1)

    assert picker.take("fast", 1, below=1) == (0, 1)
    assert picker.take("third", 1, below=1) is None
    assert picker.verified(0) == ["slow", "fast"]
    assert picker.done


def test_there_is_no_end_game_while_somebody_could_ask_for_something_new() -> None:
    picker = Picker(3)
    picker.take("ada", 1, below=3)

    assert picker.take("bob", 1, below=1) is None


def test_a_source_that_serves_after_all_claims_what_nobody_took_meanwhile() -> None:
    picker = Picker(2)
    picker.take("ada", 2, below=2)
    picker.release("ada", 0)
    picker.release("ada", 1)
    picker.take("bob", 1, below=2)

    assert not picker.claim("ada", 0)
    assert picker.claim("ada", 1)
    assert picker.asked_of("ada") == {1}


@given(st.sets(st.integers(0, 49)), st.integers(1, 16))
def test_what_the_disk_holds_is_never_asked_for(held: set[int], most: int) -> None:
    picker = Picker(50)
    for chunk in held:
        picker.verified(chunk)

    asked: set[int] = set()
    while run := picker.take("ada", most, below=50):
        first, count = run
        chunks = set(range(first, first + count))
        assert not chunks & asked
        asked |= chunks

    assert asked == set(range(50)) - held
