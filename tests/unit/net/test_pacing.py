"""Rate limits on a virtual clock: the average holds for blocks of any size, and a new limit counts at once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from napd.net.pacing import BURST_S, Pacer


class Spender:
    """Moves blocks of these sizes, over and over, as fast as the pacer lets it."""

    def __init__(self, pacer: Pacer, *sizes: int) -> None:
        self.moved = 0
        self.largest = max(sizes)
        self._work = Deferred.fromCoroutine(self._spend(pacer, sizes))
        self._work.addErrback(lambda failure: failure.trap(CancelledError) and None)

    async def _spend(self, pacer: Pacer, sizes: tuple[int, ...]) -> None:
        while True:
            for size in sizes:
                await pacer.spend(size)
                self.moved += size

    def stop(self) -> None:
        self._work.cancel()


def test_without_a_limit_nobody_waits() -> None:
    pacer = Pacer(Clock())
    assert pacer.spend(1 << 40).called
    assert pacer.delay_after(1 << 40) == 0.0


def test_a_block_of_any_size_passes_at_once_and_the_next_one_pays_for_it() -> None:
    clock = Clock()
    pacer = Pacer(clock, 1000.0)
    assert pacer.spend(10_000).called
    second = pacer.spend(1)
    clock.advance(9.9)
    assert not second.called
    clock.advance(0.2)
    assert second.called


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(1, 200_000), min_size=1, max_size=5),
    st.floats(10_000.0, 1e6),
    st.sampled_from([0.003, 0.01, 0.1, 1.0]),
)
def test_the_average_rate_holds_for_any_block_sizes(sizes: list[int], rate: float, tick: float) -> None:
    clock = Clock()
    pacer = Pacer(clock, rate)
    # At most 400 blocks, so that no example takes long.
    seconds = min(20.0, 400 * sum(sizes) / len(sizes) / rate)
    spender = Spender(pacer, *sizes)
    clock.pump([tick] * max(2, int(seconds / tick)))
    passed = clock.seconds()
    spender.stop()
    pacer.stop()
    assert spender.moved <= rate * (passed + BURST_S) + spender.largest
    # A tick's worth, and what a quiet time may have saved at most, is lost to coarse ticks.
    assert spender.moved >= rate * passed * min(1.0, BURST_S / tick) * 0.9 - spender.largest


def test_those_who_wait_are_served_in_the_order_of_asking() -> None:
    clock = Clock()
    pacer = Pacer(clock, 1000.0)
    served: list[int] = []
    for number in range(5):
        pacer.spend(500).addCallback(lambda _, number=number: served.append(number))
    clock.pump([0.1] * 40)
    assert served == [0, 1, 2, 3, 4]


def test_several_transfers_share_the_rate() -> None:
    clock = Clock()
    pacer = Pacer(clock, 100_000.0)
    spenders = [Spender(pacer, 1000) for _ in range(4)]
    clock.pump([0.01] * 1000)
    moved = [spender.moved for spender in spenders]
    assert sum(moved) == pytest.approx(1_000_000, rel=0.05)
    assert max(moved) - min(moved) <= 2000
    for spender in spenders:
        spender.stop()
    pacer.stop()


def test_a_new_limit_holds_at_once_for_those_who_wait_too() -> None:
    clock = Clock()
    pacer = Pacer(clock, 10.0)
    spender = Spender(pacer, 1000)
    clock.advance(1.0)
    assert spender.moved == 1000

    pacer.set_rate(100_000.0)
    clock.pump([0.01] * 100)
    assert spender.moved == pytest.approx(100_000, rel=0.1)

    before = spender.moved
    pacer.set_rate(1000.0)
    clock.pump([0.01] * 400)
    assert spender.moved - before <= 6000
    spender.stop()
    pacer.stop()


def test_lifting_the_limit_lets_everybody_go() -> None:
    clock = Clock()
    pacer = Pacer(clock, 1.0)
    turns = [pacer.spend(1000) for _ in range(3)]
    pacer.set_rate(None)
    assert all(turn.called for turn in turns)
    assert clock.getDelayedCalls() == []


def test_an_old_debt_does_not_outlive_its_limit_by_more_than_a_second() -> None:
    clock = Clock()
    pacer = Pacer(clock, 1000.0)
    pacer.spend(1_000_000)
    pacer.set_rate(500.0)
    turn = pacer.spend(1)
    clock.advance(1.1)
    assert turn.called


def test_who_is_cancelled_leaves_its_place_to_the_next() -> None:
    clock = Clock()
    pacer = Pacer(clock, 1000.0)
    pacer.spend(1000)
    gone, stays = pacer.spend(1_000_000), pacer.spend(1)
    gone.addErrback(lambda failure: failure.trap(CancelledError) and None)
    gone.cancel()
    clock.advance(1.1)
    assert stays.called


def test_a_busy_pacer_has_one_timer() -> None:
    clock = Clock()
    pacer = Pacer(clock, 1_000_000.0)
    spenders = [Spender(pacer, 1000), Spender(pacer, 7)]
    for _ in range(500):
        clock.advance(0.01)
        assert len(clock.getDelayedCalls()) <= 1
    for spender in spenders:
        spender.stop()


def test_what_came_already_is_paid_for_by_reading_nothing_for_a_while() -> None:
    clock = Clock()
    pacer = Pacer(clock, 1000.0)
    assert pacer.delay_after(3000) == pytest.approx(3.0)
    clock.advance(1.0)
    assert pacer.delay_after(0) == pytest.approx(2.0)
    clock.advance(5.0)
    assert pacer.delay_after(100) == 0.0
