"""Events: numbered, remembered, clean."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.python.failure import Failure

from napd.ops.events import MAX_FIELD, REMEMBERED, Event, Events, rfc3339


def test_ids_grow_within_a_run_and_over_restarts() -> None:
    first, second = Events(lambda: 1000.0), Events(lambda: 1000.5)
    heard: list[Event] = []
    for events in (first, second):
        events.listen(heard.append)
        for _ in range(100):
            events.emit("daemon.reloaded")
    ids = [event.id for event in heard]
    assert ids == sorted(set(ids))
    # JavaScript and jq read numbers exactly up to here.
    assert max(ids) < 2**53


def test_the_last_ones_are_remembered_and_can_be_asked_for_by_id_and_name() -> None:
    events = Events(lambda: 1.0)
    for n in range(REMEMBERED + 5):
        events.emit("share.removed" if n % 2 else "share.available", share=str(n))
    remembered = events.remembered()
    assert len(remembered) == REMEMBERED
    assert remembered[0].fields == {"share": "5"}
    assert [event.fields["share"] for event in events.remembered(since=remembered[-3].id)] == ["10003", "10004"]
    assert {event.event for event in events.remembered(pattern="share.re*")} == {"share.removed"}
    assert events.remembered(pattern="download.*") == []


def test_one_that_listens_no_more_hears_no_more() -> None:
    events = Events(lambda: 1.0)
    heard: list[Event] = []
    stop = events.listen(heard.append)
    events.emit("daemon.reloaded")
    stop()
    events.emit("daemon.reloaded")
    assert len(heard) == 1


def test_fields_without_a_value_are_absent() -> None:
    events = Events(lambda: 1.0)
    events.emit("daemon.ready", listen="127.0.0.1:1", peer="p", index=None)
    assert events.remembered()[0].fields == {"listen": "127.0.0.1:1", "peer": "p"}


@given(st.text(max_size=2000))
def test_text_from_outside_is_cut_and_printable(text: str) -> None:
    events = Events(lambda: 1.0)
    events.emit("session.closed", text, user=text, reason=text)
    (said,) = events.remembered()
    for shown in (said.message, said.fields["user"]):
        assert shown.isprintable()
        assert len(shown) <= MAX_FIELD * len(r"\U0010ffff")


def test_a_fault_has_the_traceback_with_its_lines() -> None:
    events = Events(lambda: 1.0)
    try:
        raise ValueError("no\nsuch")
    except ValueError:
        events.fault("reading", Failure())
    (said,) = events.remembered()
    assert said.level == "error"
    assert said.fields["where"] == "reading"
    assert said.fields["error"] == "no\\nsuch"
    assert "test_events.py" in said.fields["traceback"].split("\n")[1]


def test_times_are_rfc_3339_in_utc() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"
    assert rfc3339(1767325445.6789) == "2026-01-02T03:44:05.678Z"
