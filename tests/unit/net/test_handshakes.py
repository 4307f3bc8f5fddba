"""Of many handshakes so many begin at a time, each in its turn."""

from __future__ import annotations

from functools import partial

import pytest
from twisted.internet.task import Clock

from napd.net.handshakes import MOST_BEGUN, WINDOW_S, Handshakes


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def handshakes(clock: Clock) -> Handshakes:
    return Handshakes(clock)


def test_few_begin_at_once(clock: Clock, handshakes: Handshakes) -> None:
    for _ in range(3):
        assert all(handshakes.may_begin(lambda: pytest.fail("it has begun already")) for _ in range(MOST_BEGUN))
        clock.advance(WINDOW_S)
    assert not clock.getDelayedCalls()


def test_of_many_the_rest_begins_in_turn(clock: Clock, handshakes: Handshakes) -> None:
    began: list[int] = []
    for number in range(3 * MOST_BEGUN):
        if handshakes.may_begin(partial(began.append, number)):
            began.append(number)
    for windows in range(1, 4):
        assert began == list(range(windows * MOST_BEGUN))
        clock.advance(WINDOW_S)
    assert not clock.getDelayedCalls()


def test_newcomers_wait_behind_those_who_wait(clock: Clock, handshakes: Handshakes) -> None:
    began: list[int] = []
    for number in range(2 * MOST_BEGUN + 1):
        handshakes.may_begin(partial(began.append, number))
    clock.advance(WINDOW_S)
    assert not handshakes.may_begin(partial(began.append, -1))
    clock.advance(WINDOW_S)
    assert began[-2:] == [2 * MOST_BEGUN, -1]


def test_one_that_is_gone_does_not_begin(clock: Clock, handshakes: Handshakes) -> None:
    def gone() -> None:
        pytest.fail("it is gone")

    for _ in range(MOST_BEGUN):
        handshakes.may_begin(gone)
    assert not handshakes.may_begin(gone)
    handshakes.drop(gone)
    handshakes.drop(gone)
    assert not clock.getDelayedCalls()


def test_one_that_fails_does_not_keep_the_others_from_theirs(clock: Clock, handshakes: Handshakes) -> None:
    began: list[int] = []

    def broken() -> None:
        raise RuntimeError("on purpose")

    for _ in range(MOST_BEGUN):
        handshakes.may_begin(broken)
    handshakes.may_begin(broken)
    handshakes.may_begin(partial(began.append, 1))
    with pytest.raises(RuntimeError):
        clock.advance(WINDOW_S)
    clock.advance(WINDOW_S)
    assert began == [1]
