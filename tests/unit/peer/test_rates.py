"""The rate meter: what came in the last seconds, and nothing that never came."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napd.peer.rates import WINDOW_S, RateMeter


def test_nothing_came_at_no_rate() -> None:
    assert RateMeter().per_s(10.0) == 0.0


def test_a_steady_stream_shows_its_rate_from_the_beginning() -> None:
    meter = RateMeter()
    for tick in range(1, 201):
        now = tick * 0.1
        meter.add(1000, now)
        if tick > 20:
            assert meter.per_s(now) == pytest.approx(10_000, rel=0.1)


def test_a_single_block_does_not_look_like_an_endless_rate() -> None:
    meter = RateMeter()
    meter.add(1 << 20, 5.0)
    assert meter.per_s(5.0) <= 2 * (1 << 20)


def test_a_rate_fades_when_nothing_comes_and_is_gone_after_the_window() -> None:
    meter = RateMeter()
    for tick in range(50):
        meter.add(1000, tick * 0.1)
    shown = [meter.per_s(5.0 + second) for second in range(8)]
    assert shown == sorted(shown, reverse=True)
    assert shown[-1] == 0.0


def test_after_a_pause_the_rate_is_that_of_now() -> None:
    meter = RateMeter()
    meter.add(10**9, 0.0)
    for tick in range(60):
        meter.add(100, 100.0 + tick * 0.1)
    assert meter.per_s(106.0) == pytest.approx(1000, rel=0.1)


def test_reset_forgets() -> None:
    meter = RateMeter()
    meter.add(1000, 1.0)
    meter.reset()
    assert meter.per_s(1.0) == 0.0


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 10**7)), max_size=60), st.floats(0, 10))
def test_a_rate_is_never_more_than_what_came_lately(arrivals: list[tuple[float, int]], later: float) -> None:
    meter = RateMeter()
    now, came = 0.0, []
    for pause, size in arrivals:
        now += pause
        meter.add(size, now)
        came.append((now, size))
    now += later
    recent = sum(size for at, size in came if now - at <= WINDOW_S + 0.25)
    rate = meter.per_s(now)
    assert 0.0 <= rate <= recent / 0.5 + 1e-6
