"""Upload slots: users in turn, never over the limit; against a model that is written the slow way."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from napd.peer.slots import Slots


def test_slots_are_given_as_long_as_there_are_any() -> None:
    slots = Slots[str](2)
    assert [slots.ask(holder, "user") for holder in ("a", "b", "c")] == [True, True, False]
    assert slots.taken == 2
    assert slots.contended


def test_asking_again_changes_nothing() -> None:
    slots = Slots[str](1)
    assert slots.ask("a", "ada")
    assert slots.ask("a", "ada")
    assert not slots.ask("b", "bob")
    assert not slots.ask("b", "bob")
    assert list(slots.in_turn()) == ["b"]


def test_users_take_turns_however_many_connections_they_have() -> None:
    slots = Slots[str](1)
    slots.ask("now", "somebody")
    for holder in ("a1", "a2", "a3"):
        slots.ask(holder, "ada")
    slots.ask("b1", "bob")

    served = []
    holding = "now"
    for _ in range(4):
        slots.give_back(holding)
        (holding,) = slots.grant()
        served.append(holding)

    assert served == ["a1", "b1", "a2", "a3"]


def test_who_waits_no_more_is_passed_over() -> None:
    slots = Slots[str](1)
    for holder in ("a", "b", "c"):
        slots.ask(holder, holder)
    slots.give_back("b")
    slots.give_back("a")
    assert slots.grant() == ["c"]
    assert not slots.contended


def test_nobody_overtakes_those_who_wait() -> None:
    slots = Slots[str](1)
    slots.ask("a", "ada")
    slots.ask("b", "bob")
    slots.give_back("a")
    # A slot is free, but it is bob's.
    assert not slots.ask("c", "cyd")
    assert slots.grant() == ["b"]


def test_a_lower_limit_takes_nothing_away_and_a_higher_one_serves_more() -> None:
    slots = Slots[str](2)
    for holder in "abcd":
        slots.ask(holder, holder)
    slots.limit = 1
    slots.give_back("a")
    assert slots.grant() == []
    assert slots.taken == 1
    slots.limit = 3
    assert slots.grant() == ["c", "d"]


HOLDERS = [(f"{user}{number}", user) for user in ("ada", "bob", "cyd") for number in range(3)]
holders = st.sampled_from(HOLDERS)


class SlotsMachine(RuleBasedStateMachine):
    """`waiting` is every wish in the order of asking; `turns` the users in the order of their next turn."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = Slots[str](2)
        self.limit = 2
        self.holding: set[str] = set()
        self.waiting: list[tuple[str, str]] = []
        self.turns: list[str] = []

    def expected_turn(self) -> list[str]:
        """Who is served next, one after the other, if nothing else happens."""
        waiting, turns, found = list(self.waiting), list(self.turns), []
        while waiting:
            user = turns.pop(0)
            first = next(entry for entry in waiting if entry[1] == user)
            waiting.remove(first)
            found.append(first[0])
            if any(entry[1] == user for entry in waiting):
                turns.append(user)
        return found

    @rule(holder=holders)
    def ask(self, holder: tuple[str, str]) -> None:
        name, user = holder
        had = name in self.holding
        expected = had or (not self.waiting and len(self.holding) < self.limit)
        assert self.slots.ask(name, user) == expected
        if expected:
            self.holding.add(name)
        elif holder not in self.waiting:
            self.waiting.append(holder)
            if user not in self.turns:
                self.turns.append(user)

    @rule(holder=holders)
    def give_back(self, holder: tuple[str, str]) -> None:
        name, user = holder
        self.slots.give_back(name)
        self.holding.discard(name)
        if holder in self.waiting:
            self.waiting.remove(holder)
            if not any(entry[1] == user for entry in self.waiting):
                self.turns.remove(user)
        self.grant()

    @rule(limit=st.integers(1, 5))
    def set_limit(self, limit: int) -> None:
        self.slots.limit = self.limit = limit
        self.grant()

    def grant(self) -> None:
        expected = self.expected_turn()[: max(0, self.limit - len(self.holding))]
        assert self.slots.grant() == expected
        for name in expected:
            entry = next(entry for entry in self.waiting if entry[0] == name)
            user = entry[1]
            self.waiting.remove(entry)
            self.turns.remove(user)
            if any(other[1] == user for other in self.waiting):
                self.turns.append(user)
            self.holding.add(name)

    @precondition(lambda self: len(self.holding) <= self.limit)
    @rule()
    def nobody_waits_while_a_slot_is_free(self) -> None:
        assert not self.waiting or len(self.holding) == self.limit

    @invariant()
    def the_figures_agree(self) -> None:
        assert self.slots.taken == len(self.holding)
        assert self.slots.contended == bool(self.waiting)
        assert list(self.slots.in_turn()) == self.expected_turn()


SlotsMachine.TestCase.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
TestSlots = SlotsMachine.TestCase
