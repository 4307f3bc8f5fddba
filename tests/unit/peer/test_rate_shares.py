"""A limited rate: shared by weight between users, whatever their number of blocks, and nobody is forgotten."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock

from napd.net.pacing import Pacer
from napd.peer.serve.rate_shares import PATIENCE_S, RateShares


class Rig:
    """Users who always have another block, over so many connections."""

    def __init__(self, rate: float | None) -> None:
        self.clock = Clock()
        self.pacer = Pacer(self.clock, rate)
        self.shares = RateShares(self.clock, self.pacer)
        self.moved = Counter[str]()
        self.waits: list[float] = []

    def keep_sending(self, user: str, weight: float, size: int) -> None:
        began = self.clock.seconds()
        moved = self.shares.spend(user, weight, size)
        assert moved is not None

        def done(_: None) -> None:
            self.moved[user] += size
            self.waits.append(self.clock.seconds() - began)
            # Not from within: as a transport that takes it in the next turn.
            self.clock.callLater(0, self.keep_sending, user, weight, size)

        moved.addCallback(done)

    def pass_time(self, seconds: float) -> None:
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end:
            self.clock.advance(0.01)


def test_without_a_limit_nobody_waits() -> None:
    assert Rig(None).shares.spend("ada", 1.0, 10**9) is None


def test_users_share_by_weight_whatever_the_number_of_their_connections() -> None:
    rig = Rig(10_000.0)
    rig.keep_sending("ada", 3.0, 100)
    for _ in range(5):
        rig.keep_sending("bob", 1.0, 100)
    rig.pass_time(60)
    assert rig.moved["ada"] / rig.moved["bob"] == pytest.approx(3.0, rel=0.05)
    assert rig.moved.total() == pytest.approx(600_000, rel=0.05)


def test_the_sizes_of_blocks_do_not_matter() -> None:
    rig = Rig(10_000.0)
    for _ in range(20):
        rig.keep_sending("ada", 1.0, 400)
        rig.keep_sending("bob", 1.0, 50)
    rig.pass_time(60)
    assert rig.moved["ada"] / rig.moved["bob"] == pytest.approx(1.0, rel=0.05)


def test_who_was_away_has_saved_up_nothing() -> None:
    rig = Rig(10_000.0)
    rig.keep_sending("ada", 1.0, 100)
    rig.pass_time(30)
    before = Counter(rig.moved)
    rig.keep_sending("bob", 1.0, 100)
    rig.pass_time(10)
    assert (rig.moved["ada"] - before["ada"]) / rig.moved["bob"] == pytest.approx(1.0, rel=0.1)


def test_great_weights_make_nobody_wait_for_long() -> None:
    rig = Rig(100.0)
    rig.keep_sending("ada", 100.0, 64)
    rig.keep_sending("bob", 0.1, 64)
    rig.pass_time(120)
    assert rig.moved["bob"] > 0
    assert max(rig.waits) <= PATIENCE_S + 2 * 64 / 100.0 + 0.1


def test_a_limit_that_is_lifted_lets_everybody_go_and_one_that_is_set_holds_them() -> None:
    rig = Rig(10.0)
    waiting = [rig.shares.spend(user, 1.0, 1000) for user in ("ada", "bob", "cyd")]
    rig.pacer.set_rate(None)
    assert all(moved is not None and moved.called for moved in waiting)
    assert rig.shares.spend("ada", 1.0, 1000) is None
    rig.pacer.set_rate(10.0)
    assert rig.shares.spend("ada", 1.0, 1000) is not None


def test_who_waits_no_more_is_left_out_and_holds_up_nobody() -> None:
    rig = Rig(10.0)
    blocks = [rig.shares.spend(user, 1.0, 10) for user in ("ada", "ada", "bob", "cyd")]
    for moved in blocks[1:3]:
        assert moved is not None
        if not moved.called:
            moved.addErrback(lambda failure: failure.trap(CancelledError))
            moved.cancel()
    rig.pass_time(10)
    assert all(moved is not None and moved.called for moved in blocks)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.5, 1.0, 3.0]), st.integers(1, 3), st.integers(1, 500)), min_size=1, max_size=5
    )
)
def test_the_rate_is_kept_and_used(users: list[tuple[float, int, int]]) -> None:
    rig = Rig(1000.0)
    for number, (weight, connections, size) in enumerate(users):
        for _ in range(connections):
            rig.keep_sending(str(number), weight, size)
    rig.pass_time(10)
    assert 9_000 <= rig.moved.total() <= 11_000
