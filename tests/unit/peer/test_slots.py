"""Upload slots: users in turn by weight, never over the limit, never idle, and nobody starves."""

from __future__ import annotations

from collections import Counter
from heapq import heappop, heappush

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from napd.peer.serve.slots import LEAST_CHARGE, TURN_BYTES, TURN_S, WHOLE_TURN_BYTES, Slots

NORMAL = 2


def ask(slots: Slots[str], *holders: str, weight: float = 1.0, rank: int = NORMAL) -> list[str]:
    """The user of ``ada2`` is ``ada``."""
    for holder in holders:
        slots.ask(holder, holder.rstrip("0123456789"), weight, rank, 0.0)
    return slots.grant(0.0)


def end_turn(slots: Slots[str], holder: str, size: int = WHOLE_TURN_BYTES, *, again: bool = True) -> list[str]:
    """A file of this size was sent; the holder has another, or not."""
    slots.sent(holder, size)
    if again:
        return ask(slots, holder)
    slots.give_back(holder, 0.0)
    return slots.grant(0.0)


def served(slots: Slots[str], turns: int, size: int = WHOLE_TURN_BYTES) -> list[str]:
    """Who has the only slot, one after the other, if everybody always has more."""
    (holder,) = slots.holders()
    order = []
    for _ in range(turns):
        (holder,) = end_turn(slots, holder, size)
        order.append(holder)
    return order


def waiting(slots: Slots[str]) -> list[str]:
    return [holder for user in slots.in_turn() for holder in user.holders]


def test_slots_are_given_as_long_as_there_are_any() -> None:
    slots = Slots[str](2)
    assert ask(slots, "a", "b", "c") == ["a", "b"]
    assert slots.holders() == ["a", "b"]
    assert slots.contended
    assert waiting(slots) == ["c"]


def test_asking_again_changes_nothing() -> None:
    slots = Slots[str](1)
    ask(slots, "a", "b", "c")
    ask(slots, "b")
    assert (slots.holders(), waiting(slots)) == (["a"], ["b", "c"])


def test_a_user_alone_has_every_slot() -> None:
    slots = Slots[str](4)
    assert len(ask(slots, "ada1", "ada2", "ada3", "ada4", "ada5")) == 4


def test_users_take_turns_however_many_connections_they_have() -> None:
    slots = Slots[str](1)
    ask(slots, "ada1", "ada2", "ada3", "bob1")
    assert served(slots, 6) == ["bob1", "ada2", "bob1", "ada3", "bob1", "ada1"]


def test_who_comes_waits_for_one_file_of_somebody_with_ten_thousand() -> None:
    slots = Slots[str](1)
    ask(slots, "ada")
    for _ in range(100):
        end_turn(slots, "ada", 1000)
    ask(slots, "bob")
    assert end_turn(slots, "ada", 1000) == ["bob"]


def test_small_files_count_by_their_size_against_big_ones() -> None:
    """A turn of a big file is worth 64 tiny ones, and not one of them."""
    slots = Slots[str](1)
    ask(slots, "ada", "bob")
    counts = Counter[str]()
    holder = "ada"
    for _ in range(660):
        (holder,) = end_turn(slots, holder, 16 if holder == "ada" else 50 << 20)
        counts[holder] += 1
    assert counts["bob"] == pytest.approx(660 / (1 + 1 / LEAST_CHARGE), abs=1)


def test_who_comes_gets_its_share_of_the_slots_within_a_turn_of_each() -> None:
    slots = Slots[str](8)
    ask(slots, *[f"ada{n}" for n in range(8)])
    ask(slots, *[f"bob{n}" for n in range(8)])
    for n in range(8):
        end_turn(slots, f"ada{n}")
    assert Counter(holder.rstrip("0123456789") for holder in slots.holders()) == {"ada": 4, "bob": 4}


def test_weights_give_more_turns_of_a_round() -> None:
    slots = Slots[str](1)
    ask(slots, "ada")
    ask(slots, "bob", weight=3)
    ask(slots, "cyd", weight=0.5)
    counts = Counter()
    holder = "ada"
    for _ in range(450):
        weight = {"ada": 1.0, "bob": 3.0, "cyd": 0.5}
        slots.sent(holder, WHOLE_TURN_BYTES)
        slots.ask(holder, holder, weight[holder], NORMAL, 0.0)
        (holder,) = slots.grant(0.0)
        counts[holder] += 1
    assert [counts[user] for user in weight] == pytest.approx([100, 300, 50], abs=2)


def test_within_a_user_priority_then_age() -> None:
    slots = Slots[str](1)
    ask(slots, "now")
    ask(slots, "ada1", rank=NORMAL)
    ask(slots, "ada2", rank=3)
    ask(slots, "ada3", rank=0)
    ask(slots, "ada4", rank=NORMAL)
    assert waiting(slots) == ["ada3", "ada1", "ada4", "ada2"]
    # What is asked for now is more urgent; its age stays.
    ask(slots, "ada4", rank=0)
    ask(slots, "ada1", rank=0)
    assert waiting(slots) == ["ada1", "ada3", "ada4", "ada2"]


def test_who_goes_and_comes_back_is_not_new_again() -> None:
    """Otherwise a user would be first after every file by hanging up."""
    slots = Slots[str](1)
    ask(slots, "ada", "bob", "cyd")
    order = []
    holder = "ada"
    for _ in range(12):
        (after,) = end_turn(slots, holder, again=False)
        ask(slots, holder)
        holder = after
        order.append(holder)
    assert Counter(order) == {"ada": 4, "bob": 4, "cyd": 4}


def test_an_endless_row_of_newcomers_starves_nobody() -> None:
    slots = Slots[str](1)
    ask(slots, "new", "ada", "bob")
    holder, order = "new", []
    for n in range(20):
        ask(slots, f"{'n' * (n + 2)}")
        again = holder in ("ada", "bob")
        (holder,) = end_turn(slots, holder, again=again)
        order.append(holder)
    assert order.count("ada") >= 3
    assert order.count("bob") >= 3


def test_who_waits_no_more_is_passed_over() -> None:
    slots = Slots[str](1)
    ask(slots, "a", "b", "c")
    slots.give_back("b", 0.0)
    slots.give_back("a", 0.0)
    assert slots.grant(0.0) == ["c"]
    assert not slots.contended


def test_a_turn_is_over_with_its_file_its_bytes_or_its_time_and_only_if_others_wait() -> None:
    slots = Slots[str](1)
    ask(slots, "ada")
    slots.sent("ada", 10 * TURN_BYTES)
    assert not slots.must_pass("ada", NORMAL, 10 * TURN_S, another=True)
    ask(slots, "bob")
    assert slots.must_pass("ada", NORMAL, 0.0, another=False)
    assert ask(slots, "ada") == ["bob"]
    assert not slots.must_pass("bob", NORMAL, TURN_S - 1, another=False)
    assert slots.must_pass("bob", NORMAL, TURN_S, another=False)
    assert slots.must_pass("bob", NORMAL, 0.0, another=True)
    slots.sent("bob", TURN_BYTES)
    assert slots.must_pass("bob", NORMAL, 0.0, another=False)


def test_a_more_urgent_request_of_the_same_user_ends_a_turn_and_anothers_does_not() -> None:
    slots = Slots[str](1)
    ask(slots, "ada1")
    ask(slots, "bob1", rank=0)
    assert not slots.must_pass("ada1", NORMAL, 0.0, another=False)
    ask(slots, "ada2", rank=1)
    assert slots.must_pass("ada1", NORMAL, 0.0, another=False)
    assert not slots.must_pass("ada1", 1, 0.0, another=False)


def test_a_lower_limit_takes_slots_at_the_next_chunk_and_a_higher_one_serves_more() -> None:
    slots = Slots[str](2)
    ask(slots, *"abcd")
    slots.limit = 1
    assert slots.must_pass("a", NORMAL, 0.0, another=False)
    slots.give_back("a", 0.0)
    assert slots.grant(0.0) == []
    assert not slots.must_pass("b", NORMAL, 0.0, another=False)
    slots.limit = 3
    assert slots.grant(0.0) == ["c", "d"]


def test_the_length_of_turns_is_measured_while_others_wait() -> None:
    slots = Slots[str](1)
    slots.ask("a", "a", 1, NORMAL, 0.0)
    slots.grant(0.0)
    slots.give_back("a", 100.0)
    assert slots.turn_s is None
    for holder in "ab":
        slots.ask(holder, holder, 1, NORMAL, 200.0)
    slots.grant(200.0)
    slots.give_back("a", 204.0)
    assert slots.turn_s == 4.0


# --- Whatever happens ----------------------------------------------------------------------------

WEIGHTS = {"ada": 1.0, "bob": 3.0, "cyd": 0.5, "dan": 1.0}
HOLDERS = [f"{user}{number}" for user in WEIGHTS for number in range(3)]
holders = st.sampled_from(HOLDERS)
ranks = st.integers(0, 3)
sizes = st.one_of(st.integers(0, 4 * WHOLE_TURN_BYTES), st.just(TURN_BYTES))


class SlotsMachine(RuleBasedStateMachine):
    """What is promised, checked against a plain record of who holds, and who has waited since when for what."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = Slots[str](2)
        self.limit = 2
        self.now = 0.0
        self.age = 0
        self.holding: set[str] = set()
        self.waiting: dict[str, tuple[int, int]] = {}
        # Whole turns that others began since a user last began one, while it waited.
        self.passed_over: Counter[str] = Counter()

    def settle(self) -> None:
        before = set(self.holding)
        granted = self.slots.grant(self.now)
        assert len(set(granted)) == len(granted)
        for holder in granted:
            assert holder not in self.holding, "a slot was given to one that has one"
            user = user_of(holder)
            best = min((wait, other) for other, wait in self.waiting.items() if user_of(other) == user)
            assert best[1] == holder, "order within a user is by priority, then age"
            del self.waiting[holder]
            self.holding.add(holder)
            self.passed_over[user] = 0
            for other in {user_of(one) for one in self.waiting} - {user}:
                self.passed_over[other] += 1
        assert len(self.holding) <= max(self.limit, len(before))
        assert len(self.holding) >= self.limit or not self.waiting, "a slot is idle while somebody waits"

    @rule(holder=holders, rank=ranks)
    def ask(self, holder: str, rank: int) -> None:
        self.slots.ask(holder, user_of(holder), WEIGHTS[user_of(holder)], rank, self.now)
        self.holding.discard(holder)
        self.age += 1
        age = self.waiting[holder][1] if holder in self.waiting else self.age
        self.waiting[holder] = rank, age
        self.settle()

    @rule(holder=holders, size=sizes)
    def give_back(self, holder: str, size: int) -> None:
        self.slots.sent(holder, size)
        self.slots.give_back(holder, self.now)
        self.holding.discard(holder)
        self.waiting.pop(holder, None)
        self.settle()

    @rule(holder=holders, size=sizes, rank=ranks)
    def pass_on(self, holder: str, size: int, rank: int) -> None:
        if holder in self.holding:
            self.slots.sent(holder, size)
            self.ask(holder, rank)

    @rule(limit=st.integers(0, 5))
    def set_limit(self, limit: int) -> None:
        self.slots.limit = self.limit = limit
        self.settle()

    @rule(seconds=st.floats(0, 20))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def the_figures_agree(self) -> None:
        assert sorted(self.slots.holders()) == sorted(self.holding)
        assert self.slots.contended == bool(self.waiting)
        assert sorted(waiting(self.slots)) == sorted(self.waiting)

    @invariant()
    def nobody_starves(self) -> None:
        """Two rounds of everybody, each with its weight and a turn over, all in the smallest pieces; by far."""
        bound = 2 * sum(weight + 2 for weight in WEIGHTS.values()) / LEAST_CHARGE / min(WEIGHTS.values())
        for user in {user_of(holder) for holder in self.waiting}:
            assert self.passed_over[user] <= bound


def user_of(holder: str) -> str:
    return holder.rstrip("0123456789")


SlotsMachine.TestCase.settings = settings(deadline=None, max_examples=80, stateful_step_count=50)
TestSlots = SlotsMachine.TestCase

weights = st.sampled_from([0.5, 1.0, 2.0, 3.0, 10.0])


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(weights, st.lists(sizes, min_size=1, max_size=5)), min_size=2, max_size=5), st.integers(1, 4))
def test_shares_follow_weights_whatever_is_sent(users: list[tuple[float, list[int]]], limit: int) -> None:
    """Users who always have more to ask for than they get; a turn takes as long as it is big."""
    slots = Slots[tuple[int, int]](limit)
    had = [0.0] * len(users)
    sent = Counter[int]()
    ends: list[tuple[float, int, tuple[int, int], int]] = []

    def begin(now: float) -> None:
        for holder in slots.grant(0.0):
            files = users[holder[0]][1]
            size = files[sent[holder[0]] % len(files)]
            sent[holder[0]] += 1
            heappush(ends, (now + charge(size), len(ends), holder, size))

    for user, (weight, _) in enumerate(users):
        for number in range(limit + 1):
            slots.ask((user, number), str(user), weight, NORMAL, 0.0)
    begin(0.0)
    for _ in range(400):
        now, _, holder, size = heappop(ends)
        had[holder[0]] += charge(size)
        slots.sent(holder, size)
        slots.ask(holder, str(holder[0]), users[holder[0]][0], NORMAL, 0.0)
        begin(now)
    for one, (weight, _) in enumerate(users):
        for two, (other, _) in enumerate(users):
            assert had[one] / weight - had[two] / other <= 1 + (1 + limit) * (1 / weight + 1 / other)


def charge(size: int) -> float:
    return min(1.0, max(LEAST_CHARGE, size / WHOLE_TURN_BYTES))
