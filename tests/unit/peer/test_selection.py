"""SELECTOR and RESULT arguments: every form of the contract, and every way to get one wrong."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napd.errors import Misuse, NoSuchThing
from napd.model import ContentId, DownloadState, Priority
from napd.peer.item import Item
from napd.peer.queue import Queue
from napd.peer.selection import MAX_NAMED, content_of_prefix, is_numbers, numbers, select
from napd.wire.documents import Problem

STATES = list(DownloadState)
CONTENTS = [ContentId(f"{n:08x}" * 8) for n in range(1, 10)]


def queue_of(*states: DownloadState) -> Queue:
    """Downloads 1, 2, 3 … in these states, with `CONTENTS` in order."""
    queue = Queue()
    for content, state in zip(CONTENTS, states, strict=False):
        item = queue.add(
            content, transfer="t", name="n", size=1, directory="/d", priority=Priority.NORMAL, now=float(len(queue))
        )
        put_into(queue, item, state)
    return queue


def put_into(queue: Queue, item: Item, state: DownloadState) -> None:
    if state is DownloadState.ACTIVE:
        queue.activate(item)
    elif state is DownloadState.WAITING:
        queue.no_source(item)
    elif state is DownloadState.PAUSED:
        queue.pause(item)
    elif state is DownloadState.DONE:
        queue.finish(item, "/d/n", 1.0)
    elif state is DownloadState.FAILED:
        queue.fail(item, Problem("disk", "broken"), 1.0)
    elif state is DownloadState.CANCELLED:
        queue.cancel(item, 1.0)


def nobody(item: Item, user: str) -> bool:
    return False


def ids(queue: Queue, *selectors: str) -> list[int]:
    return [item.id for item in select(queue, selectors, nobody).items]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("3", [3]),
        ("003", [3]),
        ("1,3", [1, 3]),
        ("3,1,3", [1, 3]),
        ("2-4", [2, 3, 4]),
        ("1,3-4,2-2", [1, 2, 3, 4]),
        ("all", [1, 2, 3, 4]),
        (CONTENTS[1], [2]),
        (CONTENTS[1].upper(), [2]),
        (CONTENTS[2][:8], [3]),
        (CONTENTS[2][:63], [3]),
    ],
)
def test_a_selector_names_downloads_in_queue_order(selector: str, expected: list[int]) -> None:
    assert ids(queue_of(*[DownloadState.QUEUED] * 4), selector) == expected


@pytest.mark.parametrize("state", STATES)
def test_a_state_selects_those_in_it(state: DownloadState) -> None:
    queue = queue_of(*STATES)
    assert ids(queue, state.value) == [STATES.index(state) + 1]


@pytest.mark.parametrize("state", STATES)
def test_a_state_that_nothing_is_in_selects_nothing_and_is_no_error(state: DownloadState) -> None:
    chosen = select(queue_of(), [state.value], nobody)
    assert (chosen.items, chosen.errors) == ([], [])


def test_a_user_selects_what_comes_from_them_whatever_the_case() -> None:
    queue = queue_of(*[DownloadState.QUEUED] * 3)
    asked: list[str] = []

    def holds_from(item: Item, user: str) -> bool:
        asked.append(user)
        return item.id == 2

    assert [item.id for item in select(queue, ["@Ada"], holds_from).items] == [2]
    assert set(asked) == {"ada"}


def test_several_selectors_name_each_download_once() -> None:
    queue = queue_of(DownloadState.PAUSED, DownloadState.QUEUED, DownloadState.DONE)
    assert ids(queue, "paused", "1-2", "all", "done") == [1, 2, 3]


def test_ended_downloads_come_last() -> None:
    queue = queue_of(DownloadState.DONE, DownloadState.QUEUED)
    assert ids(queue, "1", "2") == [2, 1]


@pytest.mark.parametrize("selector", ["9", "0", "1234567", CONTENTS[8], "ffffffff"])
def test_what_does_not_exist_is_told_so(selector: str) -> None:
    with pytest.raises(NoSuchThing) as told:
        ids(queue_of(DownloadState.QUEUED), selector)
    assert told.value.code == "not_found"


@pytest.mark.parametrize(
    "selector",
    [
        "",
        " ",
        "@",
        "1,",
        ",1",
        "1--2",
        "-1",
        "1-2-3",
        "1 2",
        "+1",
        "abcdefg",
        "g" * 64,
        "a" * 65,
        "١",
        "Active",
        "../x",
        "\x00",
    ],
)
def test_what_is_no_selector_is_misuse(selector: str) -> None:
    with pytest.raises(Misuse):
        ids(queue_of(DownloadState.QUEUED), selector)


@pytest.mark.parametrize("selector", ["3-1", "1,5-4", f"1-{MAX_NAMED + 1}", "0-9999999,0-9999999"])
def test_a_backward_or_absurd_range_is_misuse(selector: str) -> None:
    with pytest.raises(Misuse):
        ids(queue_of(DownloadState.QUEUED), selector)


def test_each_wrong_number_is_reported_and_the_others_are_selected() -> None:
    chosen = select(queue_of(DownloadState.QUEUED, DownloadState.QUEUED), ["1-4", "nonsense"], nobody)
    assert [item.id for item in chosen.items] == [1, 2]
    assert [(error.subject, error.code) for error in chosen.errors] == [
        ("3", "not_found"),
        ("4", "not_found"),
        ("nonsense", "usage"),
    ]


def test_the_first_error_is_told_when_every_selector_is_wrong() -> None:
    with pytest.raises(NoSuchThing, match="download 8 does not exist"):
        ids(queue_of(DownloadState.QUEUED), "8", "nonsense")


def test_an_empty_set_beside_a_wrong_number_is_partly_right() -> None:
    chosen = select(queue_of(DownloadState.QUEUED), ["done", "8"], nobody)
    assert chosen.items == []
    assert [error.subject for error in chosen.errors] == ["8"]


# --- Content ids ---------------------------------------------------------------------------------


def test_a_full_id_need_not_be_known() -> None:
    assert content_of_prefix("A" * 64, []) == "a" * 64


def test_a_prefix_has_to_fit_exactly_one_known_content() -> None:
    known = [ContentId("12345678" + "0" * 56), ContentId("123456789" + "0" * 55)]
    assert content_of_prefix("123456789", known) == known[1]
    with pytest.raises(Misuse, match="2 contents"):
        content_of_prefix("12345678", known)
    with pytest.raises(NoSuchThing):
        content_of_prefix("87654321", known)


def test_a_content_that_is_known_twice_is_one_content() -> None:
    known = [CONTENTS[0], CONTENTS[0]]
    assert content_of_prefix(CONTENTS[0][:8], known) == CONTENTS[0]


@pytest.mark.parametrize("text", ["", "1234567", "xyzxyzxyz", "1" * 65, "1234567\n8"])
def test_what_is_no_prefix_is_misuse(text: str) -> None:
    with pytest.raises(Misuse):
        content_of_prefix(text, CONTENTS)


def test_seven_digits_are_a_number_and_eight_are_not() -> None:
    assert is_numbers("1234567")
    assert not is_numbers("12345678")


# --- Any text ------------------------------------------------------------------------------------

selectors = st.one_of(
    st.text(max_size=40),
    st.text("0123456789,-", max_size=20),
    st.text("0123456789abcdef", min_size=7, max_size=65),
    st.sampled_from(["all", "active", "queued", "@ada", "@", *CONTENTS]),
)


@settings(deadline=None)
@given(st.lists(selectors, max_size=4))
def test_any_text_selects_or_says_what_is_wrong(arguments: list[str]) -> None:
    queue = queue_of(*STATES)
    try:
        chosen = select(queue, arguments, nobody)
    except (Misuse, NoSuchThing) as error:
        assert error.message
        return
    assert len({item.id for item in chosen.items}) == len(chosen.items)
    order = [item.id for item in queue if not item.state.ended]
    running = [item.id for item in chosen.items if not item.state.ended]
    assert running == [number for number in order if number in running]


@settings(deadline=None)
@given(st.text("0123456789,-", max_size=20).filter(is_numbers))
def test_a_list_of_numbers_is_what_its_parts_say(text: str) -> None:
    expected: list[int] = []
    try:
        found = list(numbers(text))
    except Misuse:
        return
    for part in text.split(","):
        first, _, last = part.partition("-")
        expected += range(int(first), int(last or first) + 1)
    assert found == expected
