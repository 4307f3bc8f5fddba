"""What a source gives is told by the time in which it owed something, and by nothing else."""

from __future__ import annotations

import pytest

from napd.peer.sources.throughput import LEAST_BYTES, LEAST_S, LONGEST_STEP_S, MANY_BYTES, MANY_S, Throughput, crawls

MB = 1_000_000


def measured(rate: float, seconds: float, step: float = 0.1, start: float = 0.0) -> Throughput:
    made = Throughput()
    made.skip(start)
    for n in range(1, round(seconds / step) + 1):
        made.note(round(rate * step), start + n * step, busy=True)
    return made


def test_a_steady_pace_is_told_as_it_is() -> None:
    assert measured(5 * MB, 4).per_s() == pytest.approx(5 * MB, rel=0.05)


def test_nothing_is_told_before_there_is_enough() -> None:
    made = Throughput()
    made.note(LEAST_BYTES - 1, LEAST_S, busy=True)
    assert made.per_s() is None
    made.note(1, LEAST_S + 0.1, busy=True)
    assert made.per_s() is not None


def test_what_comes_all_at_once_tells_nothing_unless_it_is_much() -> None:
    made = Throughput()
    made.note(MANY_BYTES - 1, 0.01, busy=True)
    assert made.per_s() is None
    made.note(1, 0.01, busy=True)
    assert made.per_s() is not None


def test_one_that_sends_nothing_has_a_pace_of_nothing_in_time() -> None:
    made = Throughput()
    for n in range(1, 10):
        made.note(0, n * MANY_S / 5, busy=True)
    assert made.per_s() == 0


def test_time_in_which_nothing_was_owed_does_not_count() -> None:
    made = measured(5 * MB, 4)
    made.note(0, 1000.0, busy=False)
    assert made.per_s() == pytest.approx(5 * MB, rel=0.05)


def test_what_is_skipped_does_not_count() -> None:
    made = measured(5 * MB, 4)
    made.skip(1000.0)
    made.note(5 * MB // 10, 1000.1, busy=True)
    assert made.per_s() == pytest.approx(5 * MB, rel=0.05)


def test_a_jump_of_the_clock_counts_for_no_more_than_a_moment() -> None:
    made = measured(5 * MB, 4)
    busy = made.busy_s
    made.note(0, 1000.0, busy=True)
    assert made.busy_s == busy + LONGEST_STEP_S
    assert made.per_s() == pytest.approx(2.2 * MB, rel=0.3)


def test_a_sudden_drop_shows_within_seconds() -> None:
    made = measured(20 * MB, 4)
    now = 4.0
    while (made.per_s() or 0) > 2 * MB:
        now += 0.5
        made.note(50_000, now, busy=True)
    assert now - 4.0 <= 4.5


def test_what_comes_without_any_time_passing_is_no_division_by_zero() -> None:
    made = Throughput()
    made.note(MANY_BYTES, 0.0, busy=True)
    assert made.per_s() == MANY_BYTES / 0.001


def test_one_that_crawls_has_recovered_at_twice_the_pace_that_made_it_crawl() -> None:
    assert not crawls(None, 100.0, before=True)
    assert [crawls(pace, 100.0, before=False) for pace in (9.0, 11.0)] == [True, False]
    assert [crawls(pace, 100.0, before=True) for pace in (19.0, 21.0)] == [True, False]
