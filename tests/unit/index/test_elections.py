"""Counts decide only what they can: a vote is never given to who has not most accounts."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from napd.index.elections import elected


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sets(st.integers(0, 5), min_size=1)), min_size=1, max_size=6),
    st.data(),
)
def test_who_is_elected_by_counts_is_who_most_accounts_name(
    ballots: Sequence[tuple[str, set[int]]], data: st.DataObject
) -> None:
    said: dict[str, set[int]] = {}
    for value, accounts in ballots:
        said.setdefault(value, set()).update(accounts)
    winner = min(said, key=lambda value: (-len(said[value]), value))
    counted = ballots[: data.draw(st.integers(1, len(ballots)))]
    uncounted = sum(len(accounts) for _, accounts in ballots[len(counted) :])
    values, votes = [value for value, _ in counted], [len(accounts) for _, accounts in counted]
    assert elected(values, votes, uncounted) in (winner, None)


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 5), min_size=1))
def test_where_each_value_comes_once_counts_decide(votes: dict[str, int]) -> None:
    winner = min(votes, key=lambda value: (-votes[value], value))
    assert elected(list(votes), list(votes.values())) == winner


def test_one_account_in_many_folders_does_not_decide() -> None:
    assert elected(["spam"] * 5 + ["song"], [1] * 5 + [3]) is None
    assert elected(["spam"] * 2 + ["song"], [1, 1, 3]) == "song"


def test_a_clear_lead_decides_before_all_are_counted() -> None:
    assert elected(["song", "tune"], [9, 2], uncounted=6) == "song"
    assert elected(["song", "tune"], [9, 2], uncounted=7) is None
    assert elected(["song"], [5], uncounted=5) is None


def test_another_order_of_equal_ones() -> None:
    assert elected(["a", "b"], [2, 2], order=lambda value: -ord(value)) == "b"
