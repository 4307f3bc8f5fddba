"""The queue: order, states and moves, one by one (against a model: test_queue_model.py)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from napd.errors import Misuse, NoSuchThing
from napd.model import ContentId, DownloadState, Priority
from napd.peer.item import Item
from napd.peer.queue import MAX_ASIDE, Queue
from napd.wire.documents import Problem


def add(queue: Queue, priority: Priority = Priority.NORMAL) -> Item:
    number = queue.next_id
    return queue.add(
        ContentId(f"{number:064x}"),
        transfer=f"{number:016x}",
        name=f"file {number}",
        size=10,
        directory="/downloads",
        priority=priority,
        now=float(number),
    )


def order(queue: Queue) -> list[int]:
    return [item.id for item in queue]


def test_urgent_runs_before_normal_before_low_whenever_it_was_added() -> None:
    queue = Queue()
    low, normal, urgent, high = (add(queue, p) for p in (Priority.LOW, Priority.NORMAL, Priority.URGENT, Priority.HIGH))

    assert order(queue) == [urgent.id, high.id, normal.id, low.id]


def test_the_active_are_the_first_that_can_run() -> None:
    queue = Queue()
    items = [add(queue) for _ in range(5)]
    queue.pause(items[0])
    queue.no_source(items[1])

    plan = queue.schedule(2)

    assert [item.id for item in plan.start] == [3, 4]


def test_a_more_urgent_download_displaces_the_last_active_one() -> None:
    queue = Queue()
    first, second = add(queue), add(queue)
    for item in (first, second):
        queue.activate(item)
    urgent = add(queue, Priority.URGENT)

    plan = queue.schedule(2)

    assert plan.start == [urgent]
    assert plan.displace == [second]


def test_a_lower_limit_displaces_and_a_higher_one_starts() -> None:
    queue = Queue()
    items = [add(queue) for _ in range(3)]
    for item in queue.schedule(2).start:
        queue.activate(item)

    assert queue.schedule(1).displace == [items[1]]
    assert queue.schedule(3).start == [items[2]]


@pytest.mark.parametrize(
    ("to", "after"),
    [
        ("top", [4, 1, 2, 3, 5]),
        ("up", [1, 2, 4, 3, 5]),
        ("down", [1, 2, 3, 5, 4]),
        ("bottom", [1, 2, 3, 5, 4]),
        ("1", [4, 1, 2, 3, 5]),
        ("2", [1, 4, 2, 3, 5]),
        ("99", [1, 2, 3, 5, 4]),
    ],
)
def test_moving_one(to: str, after: list[int]) -> None:
    queue = Queue()
    items = [add(queue) for _ in range(5)]

    queue.move([items[3]], to)

    assert order(queue) == after


def test_several_keep_their_order_when_they_move_together() -> None:
    queue = Queue()
    items = [add(queue) for _ in range(5)]

    queue.move([items[4], items[2]], "top")
    assert order(queue) == [3, 5, 1, 2, 4]
    queue.move([items[0], items[1]], "up")
    assert order(queue) == [3, 1, 2, 5, 4]
    queue.move([items[2], items[0]], "up")
    assert order(queue) == [3, 1, 2, 5, 4]


def test_a_move_stays_within_the_priority() -> None:
    queue = Queue()
    urgent = add(queue, Priority.URGENT)
    first, second = add(queue), add(queue)

    queue.move([second], "top")

    assert order(queue) == [urgent.id, second.id, first.id]


@pytest.mark.parametrize("to", ["0", "-1", "first", "", "1.5", "١"])
def test_a_move_to_nowhere_is_refused(to: str) -> None:
    queue = Queue()
    with pytest.raises(Misuse):
        queue.move([add(queue)], to)


def test_only_changed_places_are_reported_for_the_journal() -> None:
    queue = Queue()
    items = [add(queue) for _ in range(5)]

    assert queue.move([items[0]], "top") == []
    assert {item.id for item in queue.move([items[1]], "top")} == {1, 2}


def test_ids_are_never_used_again() -> None:
    queue = Queue()
    item = add(queue)
    queue.cancel(item, 1.0)
    queue.forget([item for item in queue if item.state.ended])

    assert add(queue).id == 2


def test_what_was_active_at_a_crash_is_queued_at_its_old_place() -> None:
    queue = Queue()
    for _ in range(3):
        add(queue)
    queue.activate(queue.get(1))
    restored = Queue()
    restored.restore(list(queue))

    assert order(restored) == [1, 2, 3]
    assert restored.get(1).state is DownloadState.QUEUED
    assert restored.next_id == 4


def test_positions_count_all_that_have_not_ended() -> None:
    queue = Queue()
    items = [add(queue) for _ in range(3)]
    queue.pause(items[0])
    queue.cancel(items[1], 1.0)

    assert queue.positions() == {1: 1, 3: 2}
    assert queue.position(items[1]) is None


def test_an_unknown_id_says_so() -> None:
    with pytest.raises(NoSuchThing):
        Queue().get(7)


@pytest.mark.parametrize(
    ("command", "allowed"),
    [
        ("pause", {"queued", "active", "waiting"}),
        ("resume", {"paused"}),
        ("retry", {"failed", "cancelled", "waiting"}),
        ("cancel", {"queued", "active", "waiting", "paused", "failed"}),
    ],
)
@pytest.mark.parametrize("state", list(DownloadState))
def test_a_command_changes_the_states_it_is_for_and_no_others(
    command: str, allowed: set[str], state: DownloadState
) -> None:
    queue = Queue()
    item = add(queue)
    _bring_to(queue, item, state)

    changed = queue.cancel(item, 2.0) if command == "cancel" else getattr(queue, command)(item)

    assert changed is (state.value in allowed)
    if not changed:
        assert item.state is state


def _bring_to(queue: Queue, item: Item, state: DownloadState) -> None:
    if state is DownloadState.ACTIVE:
        queue.activate(item)
    elif state is DownloadState.WAITING:
        queue.no_source(item)
    elif state is DownloadState.PAUSED:
        queue.pause(item)
    elif state is DownloadState.DONE:
        queue.finish(item, "/downloads/x", 1.0)
    elif state is DownloadState.FAILED:
        queue.fail(item, Problem("disk", "broken"), 1.0)
    elif state is DownloadState.CANCELLED:
        queue.cancel(item, 1.0)


def filled(count: int) -> tuple[Queue, list[Item]]:
    queue = Queue()
    return queue, [add(queue) for _ in range(count)]


def test_one_that_steps_aside_makes_room_and_has_its_place_in_the_order_when_it_steps_back() -> None:
    queue, items = filled(4)
    for item in items[:2]:
        queue.activate(item)

    assert queue.step_aside(items[0])
    assert queue.is_aside(items[0])
    assert items[0].state is DownloadState.QUEUED
    assert queue.position(items[0]) == 1
    plan = queue.schedule(2)
    assert (plan.start, plan.displace) == ([items[2]], [])
    queue.activate(items[2])

    assert queue.step_back(items[0])
    plan = queue.schedule(2)
    assert (plan.start, plan.displace) == ([items[0]], [items[2]])
    assert not queue.step_back(items[0])


def test_nobody_steps_aside_for_nobody() -> None:
    queue, items = filled(2)
    for item in items:
        queue.activate(item)
    assert not queue.step_aside(items[0])
    assert items[0].state is DownloadState.ACTIVE


def test_no_more_than_so_many_step_aside() -> None:
    queue, items = filled(MAX_ASIDE + 3)
    for item in items[:-1]:
        queue.activate(item)
    assert [queue.step_aside(item) for item in items[:-1]] == [True] * MAX_ASIDE + [False] * 2


def test_whatever_ends_pauses_or_lacks_a_source_is_not_aside_any_more() -> None:
    changes: list[Callable[[Queue, Item], object]] = [
        lambda queue, item: queue.pause(item),
        lambda queue, item: queue.cancel(item, 1.0),
        lambda queue, item: queue.no_source(item),
        lambda queue, item: queue.forget([item]),
    ]
    for change in changes:
        queue, items = filled(2)
        queue.activate(items[0])
        assert queue.step_aside(items[0])
        change(queue, items[0])
        assert not queue.is_aside(items[0])
