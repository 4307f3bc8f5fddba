"""Scores are what a source should give, of parts that can be checked; the choice follows them and explores a little."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napd.peer.sources.scoring import (
    BENEFIT_OF_DOUBT,
    FAILURE_CHUNKS,
    JOB_BYTES,
    PLACE_S,
    UNKNOWN_BYTES_PER_S,
    UNKNOWN_RTT_S,
    Facts,
    Score,
    best_first,
    choose,
    score,
)

MB = 1e6


def rates(**by_name: float | None) -> dict[str, Score]:
    return {name: score(Facts(rate, 0.01)) for name, rate in by_name.items()}


def test_a_score_is_the_job_over_the_time_that_it_takes() -> None:
    made = score(Facts(10 * MB, 0.02))
    assert made.bytes_per_s == pytest.approx(JOB_BYTES / (0.02 + JOB_BYTES / (10 * MB)))
    assert (made.pace_bytes_per_s, made.rtt_s, made.queue_s, made.reliability) == (10 * MB, 0.02, 0.0, 1.0)


def test_the_parts_make_the_score() -> None:
    made = score(Facts(10 * MB, 0.02, queue_position=2, good=50, bad=3))
    time = made.queue_s + made.rtt_s + JOB_BYTES / made.pace_bytes_per_s
    assert made.bytes_per_s == pytest.approx(JOB_BYTES / time * made.reliability)


def test_fastest_or_nearest_is_decided_by_what_was_measured() -> None:
    near, fast = score(Facts(100 * MB, 0.001)), score(Facts(120 * MB, 0.3))
    assert near.bytes_per_s > fast.bytes_per_s
    near, fast = score(Facts(2 * MB, 0.001)), score(Facts(20 * MB, 0.3))
    assert near.bytes_per_s < fast.bytes_per_s


def test_a_place_in_a_queue_costs_its_estimate_or_what_a_place_costs() -> None:
    assert score(Facts(MB, 0.0, queue_position=3)).queue_s == 3 * PLACE_S
    assert score(Facts(MB, 0.0, queue_position=3, queue_s=5.0)).queue_s == 5.0
    assert score(Facts(20 * MB, 0.0, queue_position=1)).bytes_per_s < score(Facts(MB, 0.0)).bytes_per_s


def test_failures_lower_it_and_success_forgives_them() -> None:
    def reliability(good: float, bad: float) -> float:
        return score(Facts(MB, 0.0, good=good, bad=bad)).reliability

    assert reliability(0, 0) == 1
    assert reliability(0, 1) == pytest.approx(BENEFIT_OF_DOUBT / (BENEFIT_OF_DOUBT + FAILURE_CHUNKS))
    assert reliability(0, 2) < reliability(0, 1) < reliability(100, 1) < 1


def test_what_was_never_measured_is_said_to_be_so() -> None:
    made = score(Facts())
    assert (made.measured, made.pace_bytes_per_s, made.rtt_s) == (False, UNKNOWN_BYTES_PER_S, UNKNOWN_RTT_S)


def test_a_pace_of_nothing_is_no_division_by_zero() -> None:
    assert score(Facts(0.0, 0.0)).bytes_per_s < 2


def test_the_best_come_first_and_the_unknown_last() -> None:
    assert best_first(rates(a=MB, b=None, c=20 * MB, d=5 * MB)) == ["c", "d", "a", "b"]


def test_with_a_place_for_everybody_everybody_is_chosen_best_first() -> None:
    assert choose(rates(a=MB, b=None, c=20 * MB), 8) == ["c", "a", "b"]


def test_a_part_of_the_places_goes_to_the_unknown() -> None:
    known = {f"k{n}": float(n) * MB for n in range(1, 20)}
    chosen = choose(rates(**known, u1=None, u2=None, u3=None), 8)
    assert chosen == ["k19", "k18", "k17", "k16", "k15", "k14", "u1", "u2"]
    assert choose(rates(**known, u1=None), 2) == ["k19", "u1"]


def test_a_single_place_goes_to_the_best_that_is_known() -> None:
    assert choose(rates(a=MB, b=None), 1) == ["a"]
    assert choose(rates(b=None), 1) == ["b"]


@given(
    st.dictionaries(st.text(min_size=1, max_size=3), st.none() | st.floats(0, 1e9), max_size=20),
    st.integers(1, 12),
)
def test_no_more_than_there_are_places_are_chosen_and_none_twice(by_name: dict[str, float | None], places: int) -> None:
    chosen = choose({name: score(Facts(rate)) for name, rate in by_name.items()}, places)
    assert len(chosen) == min(places, len(by_name)) == len(set(chosen))
    if by_name and any(rate is not None for rate in by_name.values()):
        best = max(rate for rate in by_name.values() if rate is not None)
        assert score(Facts(by_name[chosen[0]])).bytes_per_s == score(Facts(best)).bytes_per_s
