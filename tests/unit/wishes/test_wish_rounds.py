"""When wishes are searched for, on a virtual clock."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from napd.background import Background
from napd.peer.wishes.rounds import PAUSE_S, SHARE, Rounds


@define
class Rig:
    clock: Clock = field(factory=Clock)
    asked: list[tuple[float, int]] = field(factory=list)
    slow: Deferred[None] | None = None
    seed: int = 1
    rounds: Rounds = field(init=False)

    def __attrs_post_init__(self) -> None:
        background = Background(lambda name, failure: pytest.fail(failure.getTraceback()))
        self.rounds = Rounds(self.clock, Random(self.seed), background, self.search)

    async def search(self, wish: int) -> None:
        self.asked.append((self.clock.seconds(), wish))
        if self.slow is not None:
            await self.slow

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds * 4)):
            self.clock.advance(0.25)

    def gaps(self) -> list[float]:
        times = [time for time, _ in self.asked]
        return [later - earlier for earlier, later in pairwise(times)]


def test_after_a_login_each_is_searched_for_once_with_pauses_that_differ() -> None:
    rig = Rig()
    rig.rounds.open(range(20), 10.0)
    rig.wait(20 * PAUSE_S * 2)
    assert sorted(wish for _, wish in rig.asked) == list(range(20))
    assert rig.asked[0][0] <= PAUSE_S + 0.25
    assert all(PAUSE_S / 2 <= gap <= PAUSE_S * 1.5 + 0.25 for gap in rig.gaps())
    assert len(set(rig.gaps())) > 5


def test_peers_that_log_in_at_the_same_time_do_not_search_at_the_same_time() -> None:
    firsts = set()
    for seed in range(20):
        rig = Rig(seed=seed)
        rig.rounds.open([1], 10.0)
        rig.wait(PAUSE_S + 1)
        firsts.add(rig.asked[0][0])
    assert len(firsts) > 10


def test_an_index_that_allows_few_searches_is_asked_for_a_tenth_of_them() -> None:
    rig = Rig()
    rig.rounds.open(range(5), 0.1)
    rig.wait(1000)
    assert min(rig.gaps()) >= 1 / (SHARE * 0.1) / 2


def test_an_index_that_allows_none_is_not_asked() -> None:
    rig = Rig()
    rig.rounds.open(range(5), 0.0)
    rig.rounds.ask(1)
    rig.wait(1000)
    assert rig.asked == []


def test_one_search_is_under_way_at_a_time() -> None:
    rig = Rig(slow=Deferred())
    rig.rounds.open(range(3), 10.0)
    rig.wait(100)
    assert len(rig.asked) == 1
    slow, rig.slow = rig.slow, None
    assert slow is not None
    slow.callback(None)
    rig.wait(100)
    assert len(rig.asked) == 3


def test_what_is_forgotten_is_not_searched_for() -> None:
    rig = Rig()
    rig.rounds.open([1, 2], 10.0)
    rig.rounds.forget(1)
    rig.wait(100)
    assert [wish for _, wish in rig.asked] == [2]


def test_nothing_is_searched_for_offline_and_everything_after_the_next_login() -> None:
    rig = Rig()
    rig.rounds.open([1, 2], 10.0)
    rig.rounds.close()
    rig.wait(100)
    assert rig.asked == []
    assert rig.clock.getDelayedCalls() == []
    rig.rounds.open([1, 2], 10.0)
    rig.wait(100)
    assert len(rig.asked) == 2


def test_later_is_later_and_sooner_counts() -> None:
    rig = Rig()
    rig.rounds.open([], 10.0)
    rig.rounds.ask(1, 1000.0)
    rig.wait(499)
    assert rig.asked == []
    rig.rounds.ask(1)
    rig.rounds.ask(1, 1000.0)
    rig.wait(PAUSE_S * 2)
    assert [wish for _, wish in rig.asked] == [1]
