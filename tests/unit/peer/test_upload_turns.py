"""Hearing of one's turn: whoever is done at once makes nobody's stack grow, and what is told is bounded."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock

from napd.model import ContentId
from napd.ops.events import Events
from napd.peer.serve.places import Place
from napd.peer.serve.upload_turns import TELL_AT_ONCE, UploadTurns


class Connection:
    """A `Holder` that remembers what it is told."""

    def __init__(self, user: str, contents: int = 1) -> None:
        self.claims: Any = SimpleNamespace(account=user, user=user, groups=())
        self.peer = user
        self.close: Callable[[], None] = lambda: None
        self.turns = 0
        self.told: list[int] = []
        self._contents = [ContentId(f"{n:064x}") for n in range(contents)]

    def contents(self) -> list[ContentId]:
        return self._contents

    def turn_began(self) -> None:
        self.turns += 1

    def tell_places(self, place: Callable[[int], Place]) -> bool:
        self.told.append(place(0).position)
        return False

    def lets_us_wait(self) -> bool:
        return False


def turns_with(clock: Clock, slots: int) -> UploadTurns:
    return UploadTurns(clock=clock, events=Events(lambda: 0.0), slots=slots, weights={})


def test_thousands_that_are_done_at_once_are_served_in_a_row_and_not_in_a_tower() -> None:
    turns = turns_with(Clock(), 1)
    first, crowd = Connection("first"), [Connection(f"user{n}") for n in range(2000)]
    assert turns.ask(first, 2) is None
    for one in crowd:
        turn = turns.ask(one, 2)
        assert turn is not None
        turn.addCallback(lambda _, one=one: turns.release(one))
    turns.release(first)
    assert all(one.turns == 1 for one in crowd)
    assert turns.ask(first, 2) is None


def test_places_are_told_in_pieces_between_which_others_have_their_turn() -> None:
    clock = Clock()
    turns = turns_with(clock, 0)
    crowd = [Connection(f"user{n}") for n in range(3 * TELL_AT_ONCE)]
    for one in crowd:
        turns.ask(one, 2)
    told = [sum(bool(one.told) for one in crowd)]
    while told[-1] < len(crowd):
        (due,) = [call for call in clock.getDelayedCalls() if call.func.__name__.startswith("_tell")]
        clock.calls.remove(due)
        clock.rightNow = max(clock.rightNow, due.getTime())
        due.func(*due.args, **due.kw)
        told.append(sum(bool(one.told) for one in crowd))
        assert told[-1] - told[-2] <= TELL_AT_ONCE
    assert [one.told[0] for one in crowd] == list(range(1, len(crowd) + 1))


def test_a_turn_costs_no_square_of_the_crowd() -> None:
    def cost(connections: int) -> float:
        turns = turns_with(Clock(), 8)
        crowd = [Connection(f"user{n}", 200) for n in range(connections)]
        for one in crowd:
            turns.ask(one, 2)
        began = time.process_time()
        for one in crowd[:8]:
            for _ in range(50):
                turns.ask(one, 2, another=True)
        return time.process_time() - began

    cost(50)
    assert cost(500) < 40 * max(cost(50), 0.001)


def test_how_many_slots_are_free_is_told_whenever_turns_begin_and_end() -> None:
    told: list[int] = []
    turns = UploadTurns(clock=Clock(), events=Events(lambda: 0.0), slots=2, weights={}, free=told.append)
    one, another, late = (Connection(f"user{n}") for n in range(3))
    turns.ask(one, 2)
    turns.ask(another, 2)
    turns.ask(late, 2)
    assert told == [1, 0, 0]
    turns.release(one)
    assert told[-1] == 0
    turns.release(another)
    assert told[-1] == 1
    turns.set_limit(0)
    assert told[-1] == 0
    turns.stop()
