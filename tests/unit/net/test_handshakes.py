"""Handshakes get half of the time, and go on when there is some again."""

from __future__ import annotations

from twisted.internet.task import Clock

from napd.net.handshakes import SHARE_S, WINDOW_S, Handshakes


def handshake(clock: Clock, handshakes: Handshakes, takes_s: float) -> bool:
    if not handshakes.may_go_on():
        return False
    began = clock.seconds()
    clock.rightNow += takes_s
    handshakes.went_on_since(began)
    return True


def test_many_at_once_get_their_share_of_the_time() -> None:
    clock = Clock()
    handshakes = Handshakes(clock)
    assert sum(handshake(clock, handshakes, SHARE_S / 4) for _ in range(20)) == 4
    clock.advance(WINDOW_S)
    assert handshake(clock, handshakes, SHARE_S / 4)


def test_one_that_takes_long_is_not_given_up() -> None:
    clock = Clock()
    handshakes = Handshakes(clock)
    assert handshake(clock, handshakes, 0.8 * WINDOW_S)
    assert not handshake(clock, handshakes, 0)
    clock.advance(WINDOW_S)
    assert handshake(clock, handshakes, 0)
