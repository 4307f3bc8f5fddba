"""Places in the line: those that the turns will come to, and at a cost that does not grow with the crowd's square."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from napd.peer.serve.places import Place, Places
from napd.peer.serve.slots import WHOLE_TURN_BYTES, Slots, Waiting


def positions(places: Places[str], holder: str, contents: int) -> list[int]:
    return [places.of(holder, nth).position for nth in range(contents)]


def test_alone_the_places_count_up() -> None:
    places = Places([Waiting("ada", 1.0, ["a"])], lambda _: 4, None, 1)
    assert positions(places, "a", 4) == [1, 2, 3, 4]


def test_users_take_turns_until_they_have_nothing_left() -> None:
    line = [Waiting("ada", 1.0, ["a"]), Waiting("bob", 1.0, ["b"])]
    places = Places(line, lambda holder: {"a": 4, "b": 2}[holder], None, 1)
    assert positions(places, "a", 4) == [1, 3, 5, 6]
    assert positions(places, "b", 2) == [2, 4]


def test_weights_and_connections_count() -> None:
    line = [Waiting("ada", 1.0, ["a1", "a2"]), Waiting("bob", 2.0, ["b"])]
    places = Places(line, lambda holder: 4 if holder == "b" else 2, None, 1)
    assert positions(places, "b", 4) == [2, 3, 5, 6]
    assert positions(places, "a1", 2) == [1, 7]
    assert positions(places, "a2", 2) == [4, 8]


def test_who_is_served_now_comes_back_for_what_it_still_wants() -> None:
    line = [Waiting("ada", 1.0, ["a"]), Waiting("bob", 1.0, [], ["b"])]
    places = Places(line, lambda _: 3, None, 1)
    assert places.holders() == ["a"]
    assert positions(places, "a", 3) == [1, 3, 5]


def test_an_estimate_is_turns_by_their_length_over_the_slots() -> None:
    line = [Waiting("ada", 1.0, ["a"])]
    assert Places(line, lambda _: 1, None, 2).of("a", 0) == Place(1, None)
    assert Places(line, lambda _: 1, 3.0, 0).of("a", 0) == Place(1, None)
    assert Places(line, lambda _: 9, 3.0, 2).of("a", 3) == Place(4, 6.0)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=6))
def test_places_are_those_that_the_slots_give(contents: list[int]) -> None:
    """One connection each, equal weights, whole turns: then the forecast is exact."""
    slots = Slots[int](1)
    slots.ask(-1, "now", 1.0, 2, 0.0)
    slots.grant(0.0)
    for user in range(len(contents)):
        slots.ask(user, str(user), 1.0, 2, 0.0)
    places = Places(slots.in_turn(), lambda user: contents[user] if user >= 0 else 1, None, 1)
    told = sorted((places.of(user, nth).position, user) for user, count in enumerate(contents) for nth in range(count))
    left, holder, served = list(contents), -1, []
    while any(left):
        slots.sent(holder, WHOLE_TURN_BYTES)
        if holder >= 0 and left[holder]:
            slots.ask(holder, str(holder), 1.0, 2, 0.0)
        else:
            slots.give_back(holder, 0.0)
        (holder,) = slots.grant(0.0)
        left[holder] -= 1
        served.append(holder)
    assert told == list(enumerate(served, 1))


def test_five_hundred_connections_with_two_hundred_contents_each_are_placed_in_a_moment() -> None:
    """Sixteen each are told in one go; all hundred thousand would still be no square of anything."""

    def cost(connections: int) -> float:
        line = [Waiting(str(n), 1.0 + n % 3, [n]) for n in range(connections)]
        began = time.process_time()
        for _ in range(3):
            places = Places(line, lambda _: 200, 1.0, 8)
            for holder in places.holders():
                for nth in range(16):
                    places.of(holder, nth)
        return time.process_time() - began

    cost(50)
    few, many = cost(50), cost(500)
    assert many < 40 * max(few, 0.001)
