"""So many requests may be open; the others wait here, in order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from napd.peer.fetch.outstanding import Outstanding
from napd.wire.peer import Cancel, FromFetcher, Get, GetOutline


def test_what_is_withdrawn_before_it_was_said_never_is() -> None:
    requests = Outstanding(limit=1)
    assert requests.ask(1, Cancel(1)) == [Cancel(1)]
    assert requests.ask(2, Cancel(2)) == []
    assert requests.ask(3, Cancel(3)) == []
    assert requests.withdraw(2)
    assert not requests.withdraw(1)
    assert requests.ended(1) == [Cancel(3)]
    assert requests.ended(3) == []


def test_clearing_forgets_everything() -> None:
    requests = Outstanding(limit=1)
    requests.ask(1, Cancel(1))
    requests.ask(2, Cancel(2))
    requests.clear()
    assert requests.ended(1) == []
    assert requests.ask(3, Cancel(3)) == [Cancel(3)]


@settings(deadline=None)
@given(
    st.integers(1, 4), st.lists(st.tuples(st.sampled_from(["ask", "end", "withdraw"]), st.integers(0, 30)), max_size=60)
)
def test_the_limit_holds_and_the_order_is_kept(limit: int, acts: list[tuple[str, int]]) -> None:
    requests = Outstanding(limit)
    asked: list[int] = []
    said: list[int] = []
    open_ones: set[int] = set()
    withdrawn: set[int] = set()

    def hear(messages: list[FromFetcher]) -> None:
        for message in messages:
            assert isinstance(message, Cancel)
            said.append(message.id)
            open_ones.add(message.id)

    for act, which in acts:
        if act == "ask":
            asked.append(len(asked))
            hear(requests.ask(asked[-1], Cancel(asked[-1])))
        elif act == "end" and open_ones:
            number = sorted(open_ones)[which % len(open_ones)]
            open_ones.discard(number)
            hear(requests.ended(number))
        elif act == "withdraw" and asked:
            number = asked[which % len(asked)]
            held = number not in said and number not in withdrawn
            assert requests.withdraw(number) == held
            withdrawn |= {number} if held else set()
        assert len(open_ones) <= limit
    expected = [number for number in asked if number not in withdrawn]
    assert said == expected[: len(said)]
    assert len(said) == len(expected) or len(open_ones) == limit


def test_urgent_requests_and_questions_go_before_what_was_asked_first() -> None:
    requests = Outstanding(limit=1)
    content = "a" * 64
    first = GetOutline(1, content)
    assert requests.ask(1, first) == [first]
    low, normal, urgent, outline = (
        Get(2, content, 0, priority=3),
        Get(3, content, 0),
        Get(4, content, 0, priority=0),
        GetOutline(5, content),
    )
    for message in (low, normal, urgent, outline):
        assert requests.ask(message.id, message) == []
    said = [message for number in (1, 4, 5, 3) for message in requests.ended(number)]
    assert said == [urgent, outline, normal, low]
