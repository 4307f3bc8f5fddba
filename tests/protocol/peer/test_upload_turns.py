"""Whose turn it is to be sent something: real serving ends, scripted fetchers, a virtual clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from napd.errors import Unreachable
from napd.model import ContentId
from napd.peer.serve import bulk, slots, upload_turns
from napd.wire import peer as wire
from tests.support.memory import settle
from tests.support.scripted_peer import HELLO, ScriptedPeer
from tests.support.serving_rig import MIB, Rig, data_of

Make = Callable[..., Rig]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Rig] = []

    def rig(**options: object) -> Rig:
        made.append(Rig(tmp_path / str(len(made)), **options))  # type: ignore[arg-type]
        return made[-1]

    yield rig
    for one in made:
        assert not one.node.faults, "\n".join(one.node.faults)


def files(rig: Rig, name: str, count: int, size: int = 1000) -> list[ContentId]:
    return [rig.node.library.add(f"{name}{n}", f"{name}{n}".encode().ljust(size)) for n in range(count)]


def big_file(rig: Rig, chunks: int) -> ContentId:
    return rig.node.library.add(f"big{chunks}", data_of(chunks * MIB))


def ask_for(fetcher: ScriptedPeer, contents: list[ContentId], first_id: int = 1) -> None:
    fetcher.say(*[wire.Get(first_id + n, content, 0) for n, content in enumerate(contents)])


def record_of_chunks(*fetchers: ScriptedPeer) -> list[tuple[int, int]]:
    """Grows: (which fetcher, which request) in the order of the chunks' headers."""
    record: list[tuple[int, int]] = []

    def note(which: int, message: Any) -> None:
        if isinstance(message, wire.Chunk):
            record.append((which, message.id))

    for which, fetcher in enumerate(fetchers):
        fetcher.on_line = partial(note, which)
    return record


# --- Users in turn -------------------------------------------------------------------------------


def test_who_comes_waits_for_one_file_of_somebody_with_many(make: Make) -> None:
    rig = make(slots=1)
    rig.node.up.set_rate(10_000.0)
    first, second = rig.admitted("bob"), rig.admitted("cyd")
    record = record_of_chunks(first, second)
    ask_for(first, files(rig, "bob", 200))
    rig.until(lambda: len(record) == 5)
    ask_for(second, files(rig, "cyd", 20))
    rig.until(lambda: bool(second.chunks()), 3)
    at = record.index((1, 1))
    assert at <= 6
    rig.until(lambda: len(second.chunks()) == 1 and len(record) >= at + 7)
    assert sum(which for which, _ in record[at : at + 7]) >= 3


def test_several_connections_of_one_user_are_one_user(make: Make) -> None:
    rig = make(slots=1)
    rig.node.up.set_rate(20_000.0)
    bobs = [rig.admitted("bob") for _ in range(4)]
    cyd = rig.admitted("cyd")
    record = record_of_chunks(*bobs, cyd)
    for number, fetcher in enumerate([*bobs, cyd]):
        ask_for(fetcher, files(rig, f"f{number}-", 12))
    rig.until(lambda: len(record) >= 24)
    counts = Counter("cyd" if which == 4 else "bob" for which, _ in record[2:24])
    assert abs(counts["bob"] - counts["cyd"]) <= 2


def test_groups_have_their_weights(make: Make) -> None:
    rig = make(slots=1, weights={"friends": 3.0, "family": 2.0, "guests": 0.5})
    rig.node.up.set_rate(20_000.0)
    fetchers = [
        rig.admitted("bob", ("friends", "family")),
        rig.admitted("cyd"),
        rig.admitted("dan", ("guests", "unknown")),
    ]
    record = record_of_chunks(*fetchers)
    for number, fetcher in enumerate(fetchers):
        ask_for(fetcher, files(rig, f"f{number}-", 200))
    rig.until(lambda: len(record) >= 180)
    counts = Counter(which for which, _ in record)
    assert [counts[which] for which in range(3)] == pytest.approx([120, 40, 20], abs=4)


def test_a_huge_file_is_one_turn_at_a_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "TURN_BYTES", 2 * MIB)
    rig = make(slots=1)
    rig.node.up.set_rate(4e6)
    big = big_file(rig, 8)
    first, second = rig.admitted("bob"), rig.admitted("cyd")
    first.get(1, big, 0, 8)
    settle(rig.clock)
    second.get(1, rig.small)
    rig.until(lambda: bool(second.chunks()), 3)
    assert len(first.chunks()) <= 3
    # Nobody else waits any more: it goes on to the end, in order, each chunk once.
    rig.until(lambda: len(first.chunks()) == 8, 10)
    assert [chunk.chunk for chunk in first.all(wire.Chunk)] == list(range(8))
    assert [(told.content, told.position) for told in first.all(wire.Queued)] == [(big, 1)]


def test_a_turn_is_bounded_by_time_too(make: Make) -> None:
    rig = make(slots=1)
    rig.node.up.set_rate(400_000.0)
    big = big_file(rig, 16)
    first, second = rig.admitted("bob"), rig.admitted("cyd")
    first.get(1, big, 0, 16)
    settle(rig.clock)
    second.get(1, rig.small)
    chunk_s = MIB / 400_000
    rig.until(lambda: bool(second.chunks()), slots.TURN_S + 2 * chunk_s + 1)


def test_a_user_alone_has_every_slot_and_gives_them_up_as_turns_end(make: Make) -> None:
    rig = make(slots=4)
    rig.node.up.set_rate(200_000.0)
    bobs = [rig.admitted("bob") for _ in range(4)]
    for number, fetcher in enumerate(bobs):
        ask_for(fetcher, files(rig, f"b{number}-", 60, 20_000))
    rig.pass_time(2)
    assert all(len(fetcher.chunks()) for fetcher in bobs)
    cyds = [rig.admitted("cyd") for _ in range(4)]
    for number, fetcher in enumerate(cyds):
        ask_for(fetcher, files(rig, f"c{number}-", 60, 20_000))
    rig.pass_time(2)
    served = Counter(row.user for row in rig.node.uploads.rows() if row.state == "active")
    before = Counter({"bob": sum(len(f.heard) for f in bobs), "cyd": sum(len(f.heard) for f in cyds)})
    assert served
    rig.pass_time(10)
    chunks = {name: sum(len(f.all(wire.Chunk)) for f in group) for name, group in (("bob", bobs), ("cyd", cyds))}
    assert chunks["cyd"] == pytest.approx(chunks["bob"] - 20, abs=16), before


# --- Within a user -------------------------------------------------------------------------------


def test_an_urgent_request_overtakes_the_rest_of_a_run(make: Make) -> None:
    rig = make()
    rig.node.up.set_rate(4e6)
    big = big_file(rig, 16)
    fetcher = rig.admitted()
    record = record_of_chunks(fetcher)
    fetcher.get(1, big, 0, 16, priority=2)
    rig.until(lambda: len(record) == 2)
    fetcher.get(2, rig.small, priority=3)
    fetcher.get(3, rig.three, 0, 3, priority=0)
    asked = rig.clock.seconds()
    rig.until(lambda: (0, 3) in record)
    assert rig.clock.seconds() - asked < 1.0
    rig.until(lambda: len(record) == 20)
    numbers = [number for _, number in record]
    # One chunk more was on its way, or not.
    first = numbers.index(3)
    assert 2 <= first <= 3
    assert numbers[first:] == [3, 3, 3] + [1] * (16 - first) + [2]
    assert [chunk.chunk for chunk in fetcher.all(wire.Chunk) if chunk.id == 1] == list(range(16))


def test_the_connection_with_the_most_urgent_request_comes_first(make: Make) -> None:
    rig = make(slots=1)
    rig.node.up.set_rate(1e6)
    other, low, high = rig.admitted("cyd"), rig.admitted("bob"), rig.admitted("bob")
    record = record_of_chunks(low, high)
    other.get(1, rig.three, 0, 3)
    low.get(1, rig.small, priority=2)
    high.get(1, rig.small, priority=3)
    high.get(2, rig.small, priority=1)
    rig.until(lambda: len(record) == 3)
    assert record == [(1, 2), (0, 1), (1, 1)]


def test_an_urgent_request_of_the_same_user_ends_the_turn_of_another_connection(make: Make) -> None:
    rig = make(slots=1)
    rig.node.up.set_rate(4e6)
    big = big_file(rig, 16)
    slow, urgent = rig.admitted("bob"), rig.admitted("bob")
    slow.get(1, big, 0, 16)
    rig.until(lambda: len(slow.chunks()) == 1)
    urgent.get(1, rig.small, priority=0)
    rig.until(lambda: bool(urgent.chunks()), 1.0)
    assert len(slow.chunks()) < 5


def test_a_priority_out_of_bounds_is_refused(make: Make) -> None:
    rig = make()
    fetcher = rig.admitted()
    fetcher.say_bytes(b'{"t":"get","id":4,"content":"' + rig.small.encode() + b'","first":0,"priority":4}\n')
    assert fetcher.last(wire.Error).code == "out_of_bounds"
    assert fetcher.last(wire.Error).id == 4


def test_what_is_cancelled_while_it_waits_is_answered_at_once_and_keeps_no_place(make: Make) -> None:
    rig = make(slots=0)
    first, second = rig.admitted("bob"), rig.admitted("cyd")
    first.get(1, rig.small)
    second.get(1, rig.small)
    assert second.last(wire.Queued).position == 2
    first.say(wire.Cancel(1))
    assert first.messages()[-1] == wire.Cancelled(1)
    rig.pass_time(1)
    assert second.last(wire.Queued).position == 1
    assert rig.node.uploads.totals().queued == 1
    # It is served as anybody else when it asks again.
    first.get(2, rig.small)
    rig.node.uploads.turns.set_limit(1)
    settle(rig.clock)
    assert first.chunks()
    assert second.chunks()


# --- Places --------------------------------------------------------------------------------------


def test_places_and_estimates_are_told_as_they_change_and_not_more_often(make: Make) -> None:
    rig = make(slots=1)
    rig.node.up.set_rate(1e6)
    first, second = rig.admitted("bob"), rig.admitted("cyd")
    ask_for(first, files(rig, "bob", 40, 500_000))
    theirs = files(rig, "cyd", 6, 500_000)
    ask_for(second, theirs)
    last = theirs[-1]
    told: list[tuple[float, wire.Queued]] = []
    while last not in {row.content for row in rig.node.uploads.rows() if row.state == "active"}:
        before = len(second.all(wire.Queued))
        rig.pass_time(0.05, 0.05)
        told += [(rig.clock.seconds(), m) for m in second.all(wire.Queued)[before:] if m.content == last]
    places = [message.position for _, message in told]
    assert places[0] >= 8
    assert sorted(places, reverse=True) == places
    assert places[-1] == 1
    estimates = [message.estimate_s for _, message in told if message.estimate_s is not None]
    assert estimates[-1] == pytest.approx(0.5, abs=0.3)
    assert 2.0 < max(estimates) < 9.0
    for (at, message), (then, after) in pairwise(told):
        assert message.position != after.position or then - at >= bulk.ESTIMATE_S - 0.06


def test_many_who_wait_are_told_once_a_second_and_only_the_next_of_each(make: Make) -> None:
    rig = make(slots=0)
    contents = files(rig, "f", 200)
    fetchers = [rig.admitted(f"user{n}") for n in range(60)]
    for fetcher in fetchers:
        ask_for(fetcher, contents)
    rig.pass_time(8)
    assert all(len({m.content for m in fetcher.all(wire.Queued)}) == 200 for fetcher in fetchers)
    before = [len(fetcher.lines) for fetcher in fetchers]
    leaver = fetchers.pop(0)
    # Everybody's place changes with each of these.
    for _ in range(20):
        leaver.say(*[wire.Cancel(number) for number in range(1, 201)])
        ask_for(leaver, contents)
    rig.pass_time(1.0, 0.1)
    most = 2 * (bulk.TOLD_FIRST + bulk.TOLD_IN_TURN)
    assert max(len(f.lines) - n for f, n in zip(fetchers, before[1:], strict=True)) <= most


def test_the_line_is_shown_with_places_and_estimates(make: Make) -> None:
    rig = make(slots=1)
    rig.node.up.set_rate(1e6)
    first, second = rig.admitted("bob"), rig.admitted("cyd")
    first.get(1, rig.three, 0, 3)
    ask_for(second, files(rig, "cyd", 3))
    settle(rig.clock)
    rows = rig.node.uploads.rows()
    assert [(row.user, row.state, row.position) for row in rows] == [
        ("bob", "active", None),
        ("cyd", "queued", 1),
        ("cyd", "queued", 2),
        ("cyd", "queued", 3),
    ]
    totals = rig.node.uploads.totals()
    assert (totals.active, totals.queued) == (1, 3)


# --- Those who do not read -----------------------------------------------------------------------


def test_a_holder_that_does_not_read_loses_its_slot_and_goes_to_the_end(make: Make) -> None:
    rig = make(slots=1)
    deaf, second = rig.admitted("bob"), rig.admitted("cyd")
    deaf.link.pause_reading()
    deaf.get(1, rig.three, 0, 3)
    second.get(1, rig.small)
    rig.pass_time(bulk.STUCK_S - 2)
    assert not second.chunks()
    rig.pass_time(4)
    assert second.chunks()
    assert deaf.lost is None
    (said,) = rig.node.events("limit.hit")
    assert (said.fields["limit"], said.fields["user"]) == ("upload.unread", "bob")
    # What it was being sent is finished when it reads again, and the rest comes with its next turn.
    deaf.link.resume_reading()
    rig.until(lambda: len(deaf.chunks()) == 3, 5)


def test_nobody_loses_a_slot_that_nobody_else_wants(make: Make) -> None:
    rig = make(slots=1)
    deaf = rig.admitted("bob")
    deaf.link.pause_reading()
    deaf.get(1, rig.three, 0, 3)
    rig.pass_time(40)
    assert rig.node.events("limit.hit") == []
    deaf.link.resume_reading()
    rig.until(lambda: len(deaf.chunks()) == 3, 1)


def test_a_holder_that_reads_by_drops_is_bounded_in_all(make: Make) -> None:
    rig = make(slots=1)
    drop, second = rig.admitted("bob"), rig.admitted("cyd")
    drop.link.pause_reading()
    drop.get(1, rig.three, 0, 3)
    second.get(1, rig.small)
    # 10 kB/s: never long without a byte.
    take = drop.link.dataReceived

    def one_piece(data: bytes) -> None:
        drop.link.pause_reading()
        take(data)

    drop.link.dataReceived = one_piece  # type: ignore[method-assign]
    began = rig.clock.seconds()
    while not second.chunks():
        assert rig.clock.seconds() - began < bulk.SLOW_S + 5
        rig.pass_time(1.6, 0.4)
        drop.link.resume_reading()
    assert rig.clock.seconds() - began > bulk.STUCK_S + 5
    assert drop.lost is None


# --- Rates and limits ----------------------------------------------------------------------------


def test_a_limited_rate_is_shared_by_weight_whatever_the_number_of_connections(make: Make) -> None:
    rig = make(weights={"friends": 3.0})
    rig.node.up.set_rate(100_000.0)
    big = big_file(rig, 4)
    friend = rig.admitted("bob", ("friends",))
    others = [rig.admitted("cyd") for _ in range(4)]
    for fetcher in (friend, *others):
        fetcher.get(1, big, 0, 4)
    rig.pass_time(40, 0.1)
    sent = Counter[str]()
    for row in rig.node.uploads.rows():
        sent[row.user] += row.bytes_sent
    assert sent["bob"] / sent["cyd"] == pytest.approx(3.0, rel=0.1)


def test_with_a_tiny_rate_and_great_weights_everybody_still_moves(make: Make) -> None:
    """The other end takes ten seconds without a byte for a stall."""
    rig = make(weights={"friends": 100.0})
    rig.node.up.set_rate(2_000.0)
    fetchers = [rig.admitted(f"user{n}", ("friends",) if n else ()) for n in range(8)]
    for fetcher in fetchers:
        fetcher.get(1, rig.three, 0, 3)
    rig.pass_time(5)
    for _ in range(6):
        before = {row.user: row.bytes_sent for row in rig.node.uploads.rows()}
        rig.pass_time(5)
        after = {row.user: row.bytes_sent for row in rig.node.uploads.rows()}
        assert all(after[user] > before[user] for user in after)


def test_fewer_slots_are_fewer_at_the_next_chunk(make: Make) -> None:
    rig = make(slots=4)
    rig.node.up.set_rate(4e6)
    big = big_file(rig, 16)
    fetchers = [rig.admitted(f"user{n}") for n in range(4)]
    for fetcher in fetchers:
        fetcher.get(1, big, 0, 16)
    rig.pass_time(2)
    rig.node.uploads.turns.set_limit(1)
    rig.until(lambda: sum(row.state == "queued" for row in rig.node.uploads.rows()) == 3, 3)


def test_who_has_asked_for_too_much_is_told_when_to_come_back(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_turns, "MAX_CONTENTS_PER_USER", 30)
    rig = make(slots=0)
    contents = files(rig, "f", 31)
    one, two, other = rig.admitted("bob"), rig.admitted("bob"), rig.admitted("cyd")
    ask_for(one, contents[:20])
    ask_for(two, contents[:10])
    assert one.all(wire.Busy) == two.all(wire.Busy) == []
    two.get(99, contents[30])
    busy = two.last(wire.Busy)
    assert busy.id == 99
    least, most = upload_turns.RETRY_AFTER_S
    assert least <= busy.retry_after_s <= most
    # More of what is asked for already is no other content, and another user has a line of its own.
    two.get(100, contents[0])
    other.get(1, contents[30])
    assert len(two.all(wire.Busy)) == 1
    assert other.all(wire.Busy) == []
    # What is answered, cancelled or gone with its connection counts no more.
    two.say(wire.Cancel(1), wire.Cancel(100))
    two.get(101, contents[30])
    assert len(two.all(wire.Busy)) == 1
    one.link.transport.abortConnection()
    rig.pass_time(1)
    ask_for(two, contents[10:29], 200)
    assert len(two.all(wire.Busy)) == 1
    rig.node.uploads.turns.set_limit(1)
    rig.until(lambda: not rig.node.uploads.totals().queued)
    assert rig.node.uploads.turns.contents() == 0


def test_one_user_has_only_so_many_connections_from_wherever(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_turns, "MAX_LINKS_PER_USER", 3)
    rig = make()
    first, *_ = (rig.admitted("bob") for _ in range(3))
    one_more = rig.connect()
    one_more.say(HELLO["fetch"], wire.Ticket(rig.ticket(one_more, "bob")))
    assert one_more.last(wire.Bye).code == "limit"
    assert one_more.lost is not None
    assert rig.node.events("limit.hit")[0].fields["limit"] == "peer.user_links"
    rig.admitted("cyd")
    first.link.abort(Unreachable("gone"))
    rig.pass_time(1)
    rig.admitted("bob")


def test_a_connection_stays_with_the_account_that_it_was_admitted_with(make: Make) -> None:
    rig = make(slots=0)
    fetcher = rig.admitted("bob")
    fetcher.get(1, rig.small)
    fetcher.say(wire.Ticket(rig.ticket(fetcher, "cyd")))
    assert fetcher.last(wire.Bye).code == "bad_ticket"
    assert fetcher.lost is not None
    assert rig.node.uploads.turns.contents() == 0
