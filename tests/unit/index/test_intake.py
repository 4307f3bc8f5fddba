"""What is under way between the wire and being visible is counted, and has a limit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from napd.index.intake import STEP_COST, Intake, Passage
from napd.index.turns import Turns


def test_it_is_full_at_its_limit_and_lets_them_in_one_by_one() -> None:
    intake = Intake(most=1_000)
    first, second, third = (intake.enter(400) for _ in range(3))
    assert intake.is_full()
    resumed: list[str] = []
    for name in ("ann", "bob", "cid"):
        intake.when_room(lambda name=name: resumed.append(name))  # type: ignore[misc]
    intake.leave(second)
    assert not intake.is_full()
    assert resumed == ["ann"]
    intake.leave(first)
    assert resumed == ["ann", "bob", "cid"], "there is room for all that wait"
    intake.leave(third)
    assert intake.cost == 0


def test_steps_with_nothing_in_them_count_too() -> None:
    intake = Intake(most=10 * STEP_COST)
    for _ in range(10):
        assert not intake.is_full()
        intake.enter(0)
    assert intake.is_full()


def test_those_who_wait_for_all_that_is_under_way_do_not_wait_for_what_comes_later() -> None:
    intake, passed = Intake(most=1_000), list[str]()
    intake.passed().addCallback(lambda _: passed.append("nothing"))
    assert passed == ["nothing"]
    one, other = intake.enter(1), intake.enter(1)
    intake.passed().addCallback(lambda _: passed.append("both"))
    late = intake.enter(1)
    intake.leave(other)
    assert passed == ["nothing"]
    intake.leave(one)
    assert passed == ["nothing", "both"]
    intake.leave(late)


@given(st.lists(st.integers(0, 500) | st.none(), max_size=60))
def test_nobody_waits_for_ever(changes: list[int | None]) -> None:
    """A number is a step of so many listings, whose session is not read on if that is too much; None: one is done."""
    intake, inside, waiting = Intake(most=1_000), list[Passage](), 0

    def resume() -> None:
        nonlocal waiting
        waiting -= 1

    for change in changes:
        if change is not None:
            inside.append(intake.enter(change))
            if intake.is_full():
                waiting += 1
                intake.when_room(resume)
        elif inside:
            intake.leave(inside.pop(0))
        assert intake.cost == sum(passage.cost for passage in inside)
    for passage in inside:
        intake.leave(passage)
    assert (waiting, intake.cost) == (0, 0)


def test_requests_what_is_heard_and_changes_take_turns_and_so_do_their_owners() -> None:
    clock = Clock()
    turns, done = Turns(clock), list[str]()
    turns.change("x").addCallback(lambda _: done.append("at once"))
    assert done == ["at once"]
    for owner in ("ann", "ann", "ann", "bob"):
        turns.change(owner).addCallback(lambda _, owner: done.append(owner), owner)
        turns.hear(owner, lambda owner=owner: done.append(f"{owner} said"))  # type: ignore[misc]
    for number in range(2):
        turns.add("searcher", lambda number=number: done.append(f"search {number}"))  # type: ignore[misc]
    assert done == ["at once"]
    clock.advance(0)
    assert done[1:] == [
        "search 0", "ann said", "ann", "search 1", "bob said", "bob", "ann said", "ann", "ann said", "ann",
    ]  # fmt: skip


def test_a_change_made_in_somebodys_turn_waits_for_the_next() -> None:
    clock = Clock()
    turns, done = Turns(clock), list[int]()

    def more(_: object) -> None:
        done.append(len(done))
        if len(done) < 3:
            turns.change("one").addCallback(more)

    clock.callLater(0, lambda: done.append(-1))
    turns.change("one").addCallback(more)
    assert done == [0]
    clock.advance(0)
    assert done == [0, -1, 2]


def test_changes_of_a_session_that_is_gone_are_made_all_the_same() -> None:
    clock = Clock()
    turns, done = Turns(clock), list[str]()
    turns.change("ann")
    turns.change("ann").addCallback(lambda _: done.append("ann"))
    turns.drop("ann")
    clock.advance(0)
    assert done == ["ann"]
