"""The fetching end against a source that is scripted: what it says, what it takes, what it does not put up with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import define, field
from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from napd.content.digest import CHUNK_BYTES
from napd.errors import NapError, SourceFailed
from napd.model import ContentId
from napd.net.buffers import Buffers
from napd.net.identity import new_identity
from napd.net.link import SecureLink
from napd.net.pacing import Pacer
from napd.peer.fetch.fetching import ADMISSION_S, FetchSession
from napd.peer.fetch.patience import STALL_S
from napd.wire import peer as wire
from napd.wire.line import MAX_LINE_BYTES
from tests.support.memory import connect, settle
from tests.support.scripted_peer import HELLO, Receiver, ScriptedPeer, scripted_source

CONTENT, OTHER = ContentId("1" * 64), ContentId("2" * 64)


@define(eq=False)
class Rig:
    clock: Clock = field(factory=Clock)
    ticket: str | None = "the-ticket"
    rate: float | None = None
    ready: list[FetchSession] = field(factory=list)
    ended: list[NapError] = field(factory=list)
    session: FetchSession = field(init=False)
    source: ScriptedPeer = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.session = FetchSession(
            self.clock,
            "test",
            lambda: self.ticket,
            Pacer(self.clock, self.rate),
            self.ready.append,
            lambda _, reason: self.ended.append(reason),
            Buffers(CHUNK_BYTES),
        )
        link = SecureLink(self.clock, self.session, wire.ALPN)
        self.session.attach(link)
        self.source = scripted_source(self.clock)
        connect(self.clock, link, self.source.link, new_identity(), self.source.identity, wire.ALPN)
        settle(self.clock)

    def admitted(self) -> Rig:
        self.source.say(HELLO["serve"], wire.Admitted(), wire.Pong())
        assert self.session.alive
        return self

    def get(self, first: int = 0, count: int = 1, content: ContentId = CONTENT) -> tuple[Any, Receiver]:
        receiver = Receiver()
        request = self.session.requests.get(content, first, count, "transfer", receiver)
        settle(self.clock)
        return request, receiver

    def pass_time(self, seconds: float, answering: bool = False) -> None:
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end - 1e-9:
            self.clock.advance(min(0.5, end - self.clock.seconds()))
            settle(self.clock)
            if answering and self.source.lost is None and isinstance(self.source.heard[-1][0], wire.Ping):
                self.source.say(wire.Pong(self.source.heard.pop()[0].n))

    def code(self) -> str:
        """Why the link ended; it has to have."""
        (reason,) = self.ended
        assert not self.session.alive
        return reason.code


@pytest.fixture
def rig() -> Rig:
    return Rig().admitted()


# --- Beginning -----------------------------------------------------------------------------------


def test_hello_first_then_the_ticket_and_ready_when_admitted() -> None:
    rig = Rig()
    assert rig.source.messages() == [wire.Hello((1,), "test", "fetch", ("have",))]
    rig.source.say(HELLO["serve"])
    assert rig.source.messages()[1:] == [wire.Ticket("the-ticket"), wire.Ping()]
    assert rig.ready == []
    rig.source.say(wire.Admitted())
    assert rig.ready == [rig.session]
    rig.source.say(wire.Admitted())
    assert rig.ready == [rig.session]


def test_the_answer_to_the_first_ping_is_the_round_trip() -> None:
    rig = Rig()
    rig.source.say(HELLO["serve"], wire.Admitted())
    rig.clock.advance(0.25)
    rig.source.say(wire.Pong())
    assert rig.session.rtt_s == pytest.approx(0.25)


def test_a_source_that_does_not_admit_us_in_time_is_left() -> None:
    rig = Rig()
    rig.source.say(HELLO["serve"])
    rig.pass_time(ADMISSION_S + 1)
    assert rig.code() == "timeout"


def test_without_a_ticket_there_is_nothing_to_show() -> None:
    rig = Rig(ticket=None)
    rig.source.say(HELLO["serve"])
    assert rig.code() == "no_ticket"


@pytest.mark.parametrize("code", ["bad_ticket", "expired", "banned", "busy", "shutdown"])
def test_a_goodbye_tells_why_the_source_cannot_be_used(code: str) -> None:
    rig = Rig()
    rig.source.say(HELLO["serve"], wire.Bye(code, "go\x1b away"))
    assert rig.code() == code
    assert rig.ended[0].message == "the source hung up: go\\x1b away"


# --- Order ---------------------------------------------------------------------------------------

CHUNK = wire.Chunk(1, 0, 5)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ([wire.Admitted()], "order"),
        ([wire.Ping()], "order"),
        ([CHUNK], "order"),
        ([HELLO["serve"], HELLO["serve"]], "order"),
        ([HELLO["fetch"]], "role"),
        ([wire.Hello((2, 9), "script", "serve")], "version"),
        ([HELLO["serve"], CHUNK], "unasked"),
        ([HELLO["serve"], wire.Admitted(), CHUNK], "unasked"),
        ([HELLO["serve"], wire.Admitted(), wire.Outline(1, 10, 32)], "unasked"),
        ([HELLO["serve"], wire.Admitted(), wire.Group(1, 32)], "unasked"),
    ],
)
def test_what_is_out_of_order_ends_the_link(said: list[Struct], code: str) -> None:
    rig = Rig()
    rig.source.say(*said)
    assert rig.code() == code


@pytest.mark.parametrize(
    "data",
    [b"garbage\n", b"\n", b"\x00\xff\n", b"{}[]\n", b"[" * 40_000 + b"\n", b"x" * (MAX_LINE_BYTES + 1)],
)
def test_what_is_no_message_ends_the_link(rig: Rig, data: bytes) -> None:
    _, receiver = rig.get()
    rig.source.say_bytes(data)
    assert rig.code() == "malformed"
    assert receiver.events == [("ended", "malformed")]


@pytest.mark.parametrize(
    "answer",
    [
        wire.Gone(77),
        wire.Busy(77, 1.0),
        wire.Cancelled(77),
        wire.Error("x", "y", 77),
        wire.Error("x", "y"),
        wire.Queued(OTHER, 1),
        wire.Pong(5),
    ],
)
def test_an_answer_to_nothing_is_ignored(rig: Rig, answer: Struct) -> None:
    _, receiver = rig.get()
    rig.source.say(answer)
    assert rig.ended == []
    assert receiver.events == []


def test_an_unknown_message_is_answered_and_the_link_stays(rig: Rig) -> None:
    rig.source.say_bytes(b'{"t":"dance","id":4}\n')
    assert rig.source.last(wire.Error).code == "unknown_type"
    assert rig.ended == []


def test_a_ping_is_answered_with_its_number(rig: Rig) -> None:
    rig.source.say(wire.Ping(42))
    assert rig.source.last(wire.Pong) == wire.Pong(42)


# --- Chunks --------------------------------------------------------------------------------------


def test_a_run_is_asked_for_in_one_message_and_comes_chunk_by_chunk(rig: Rig) -> None:
    request, receiver = rig.get(first=3, count=2)
    assert rig.source.last(wire.Get) == wire.Get(request.id, CONTENT, 3, 2, "transfer")
    rig.source.say(wire.Chunk(request.id, 3, 5), raw=b"three")
    assert receiver.events == [("chunk", 3, b"three")]
    rig.source.say(wire.Chunk(request.id, 4, 4), raw=b"four")
    assert receiver.events == [("chunk", 3, b"three"), ("chunk", 4, b"four"), ("ended", None)]


def test_the_chunk_of_an_empty_content_has_no_bytes(rig: Rig) -> None:
    request, receiver = rig.get()
    rig.source.say(wire.Chunk(request.id, 0, 0))
    assert receiver.events == [("chunk", 0, b""), ("ended", None)]


def test_requests_may_be_answered_in_any_order(rig: Rig) -> None:
    first, a = rig.get(0)
    second, b = rig.get(0, content=OTHER)
    rig.source.say(wire.Chunk(second.id, 0, 1), raw=b"b")
    rig.source.say(wire.Chunk(first.id, 0, 1), raw=b"a")
    assert (a.events[0], b.events[0]) == (("chunk", 0, b"a"), ("chunk", 0, b"b"))


@pytest.mark.parametrize("wrong", [1, 2, 5, 0])
def test_a_chunk_that_is_not_the_next_of_its_run_ends_the_link(rig: Rig, wrong: int) -> None:
    request, receiver = rig.get(first=3, count=2)
    rig.source.say(wire.Chunk(request.id, wrong, 1), raw=b"x")
    assert rig.code() == "unasked"
    assert receiver.events == [("ended", "unasked")]


def test_a_chunk_more_than_the_run_has_ends_the_link(rig: Rig) -> None:
    request, receiver = rig.get()
    rig.source.say(wire.Chunk(request.id, 0, 1), raw=b"x")
    rig.source.say(wire.Chunk(request.id, 1, 1), raw=b"x")
    assert rig.code() == "unasked"
    assert receiver.ends == [None]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (lambda number: wire.Gone(number), "gone"),
        (lambda number: wire.Busy(number, 3.0), "busy"),
        (lambda number: wire.Error("out_of_bounds", "no such chunk", number), "refused"),
        # Nobody cancelled it: left alone, its chunks would be waited for without end.
        (lambda number: wire.Cancelled(number), "refused"),
    ],
)
def test_a_refused_request_fails_alone(rig: Rig, answer: Callable[[int], Struct], code: str) -> None:
    first, refused = rig.get()
    second, served = rig.get(content=OTHER)
    rig.source.say(answer(first.id))
    assert refused.events == [("ended", code)]
    rig.source.say(wire.Chunk(second.id, 0, 1), raw=b"x")
    assert served.ends == [None]
    assert rig.session.alive


def test_a_cancelled_request_is_said_once_and_its_receiver_hears_nothing_more(rig: Rig) -> None:
    request, receiver = rig.get(count=3)
    rig.source.say(wire.Chunk(request.id, 0, 1), raw=b"a")
    rig.session.requests.cancel(request)
    rig.session.requests.cancel(request)
    settle(rig.clock)
    assert rig.source.all(wire.Cancel) == [wire.Cancel(request.id)]
    # One chunk was on its way already.
    rig.source.say(wire.Chunk(request.id, 1, 1), raw=b"b")
    rig.source.say(wire.Cancelled(request.id))
    assert receiver.events == [("chunk", 0, b"a")]
    assert rig.session.alive
    # After `cancelled` the number means nothing any more.
    rig.source.say(wire.Chunk(request.id, 2, 1), raw=b"c")
    assert rig.code() == "unasked"


def test_cancelling_what_has_come_says_nothing(rig: Rig) -> None:
    request, _ = rig.get()
    rig.source.say(wire.Chunk(request.id, 0, 1), raw=b"a")
    rig.session.requests.cancel(request)
    settle(rig.clock)
    assert rig.source.all(wire.Cancel) == []


def test_places_in_the_queue_are_told_until_it_is_served(rig: Rig) -> None:
    request, receiver = rig.get()
    rig.source.say(wire.Queued(CONTENT, 3), wire.Queued(CONTENT, 2))
    assert rig.session.requests.position(CONTENT) == 2
    rig.source.say(wire.Chunk(request.id, 0, 1), raw=b"a")
    assert receiver.events == [("place", 3), ("place", 2), ("place", None), ("chunk", 0, b"a"), ("ended", None)]
    assert rig.session.requests.position(CONTENT) is None


def test_a_place_that_was_told_for_what_is_not_wanted_any_more_is_none(rig: Rig) -> None:
    request, _ = rig.get()
    rig.source.say(wire.Queued(CONTENT, 3, 20.0))
    rig.session.requests.cancel(request)
    assert rig.session.requests.position(CONTENT) is None
    assert rig.session.requests.estimate_s(CONTENT) is None
    # This one crossed the cancel.
    rig.source.say(wire.Queued(CONTENT, 2))
    assert rig.session.requests.position(CONTENT) is None
    rig.get()
    assert rig.session.requests.position(CONTENT) is None


def test_no_more_requests_are_open_than_a_source_takes_and_the_others_follow(rig: Rig) -> None:
    most = wire.MAX_OUTSTANDING
    requests = [rig.get(number)[0] for number in range(most + 5)]
    rig.session.requests.cancel(requests[-1])
    outline = result(rig.session.requests.outline(CONTENT))
    settle(rig.clock)
    assert len(rig.source.all(wire.Get)) == most
    assert rig.source.all(wire.GetOutline) == []
    assert rig.source.all(wire.Cancel) == []

    # The question about digests goes first, although it was put last.
    rig.source.say(wire.Gone(requests[0].id), wire.Chunk(requests[1].id, 1, 0))
    assert len(rig.source.all(wire.GetOutline)) == 1
    assert [get.first for get in rig.source.all(wire.Get)][most:] == [most]
    rig.session.requests.cancel(requests[2])
    rig.source.say(wire.Cancelled(requests[2].id), wire.Error("x", "y", requests[3].id))
    assert [get.first for get in rig.source.all(wire.Get)][most:] == [most, most + 1, most + 2]
    rig.source.say(wire.Gone(requests[4].id))
    assert [get.first for get in rig.source.all(wire.Get)][most:] == [most, most + 1, most + 2, most + 3]
    assert outline == []


# --- Manifests -----------------------------------------------------------------------------------


def result(deferred: Deferred[Any]) -> list[Any]:
    found: list[Any] = []
    deferred.addBoth(found.append)
    return found


def test_an_outline_and_a_group_come_with_their_digests(rig: Rig) -> None:
    outline, group = result(rig.session.requests.outline(CONTENT)), result(rig.session.requests.group(CONTENT, 2))
    settle(rig.clock)
    asked = rig.source.messages()[-2:]
    assert asked == [wire.GetOutline(asked[0].id, CONTENT), wire.GetGroup(asked[1].id, CONTENT, 2)]
    rig.source.say(wire.Outline(asked[0].id, 5 << 20, 32), raw=b"o" * 32)
    rig.source.say(wire.Group(asked[1].id, 64), raw=b"g" * 64)
    assert (outline, group) == ([(5 << 20, b"o" * 32)], [(0, b"g" * 64)])


def test_the_outline_of_an_empty_content_has_no_digests(rig: Rig) -> None:
    outline = result(rig.session.requests.outline(CONTENT))
    settle(rig.clock)
    rig.source.say(wire.Outline(rig.source.last(wire.GetOutline).id, 0, 0))
    assert outline == [(0, b"")]


def test_a_manifest_that_is_not_to_be_had_fails_alone(rig: Rig) -> None:
    outline = result(rig.session.requests.outline(CONTENT))
    settle(rig.clock)
    rig.source.say(wire.Gone(rig.source.last(wire.GetOutline).id))
    assert outline[0].check(SourceFailed)
    assert outline[0].value.code == "gone"
    assert rig.session.alive


# --- Losing the source ---------------------------------------------------------------------------


def test_everything_that_is_open_fails_when_the_link_is_lost(rig: Rig) -> None:
    _, first = rig.get()
    second_request, second = rig.get(content=OTHER)
    outline = result(rig.session.requests.outline(CONTENT))
    rig.session.requests.cancel(second_request)
    rig.source.link.abort(SourceFailed("x"))
    settle(rig.clock)
    assert first.ends == [rig.code()]
    assert second.events == []
    assert outline[0].check(SourceFailed)


def test_half_a_chunk_is_no_chunk(rig: Rig) -> None:
    request, receiver = rig.get()
    rig.source.say(wire.Chunk(request.id, 0, 10), raw=b"half")
    rig.source.link.abort(SourceFailed("x"))
    settle(rig.clock)
    assert receiver.events == [("ended", rig.code())]


def test_a_source_that_owes_and_is_silent_for_ten_seconds_is_left(rig: Rig) -> None:
    _, receiver = rig.get()
    rig.pass_time(STALL_S - 1)
    assert rig.ended == []
    rig.pass_time(2.5)
    assert rig.code() == "stalled"
    assert receiver.ends == ["stalled"]


def test_a_byte_now_and_then_keeps_a_slow_source(rig: Rig) -> None:
    request, receiver = rig.get()
    rig.source.say(wire.Chunk(request.id, 0, 5))
    for _ in range(5):
        rig.pass_time(STALL_S - 2)
        rig.source.say_bytes(b"x")
    assert receiver.ends == [None]


def test_a_source_that_makes_us_wait_our_turn_owes_nothing(rig: Rig) -> None:
    rig.get()
    rig.source.say(wire.Queued(CONTENT, 1))
    rig.pass_time(120, answering=True)
    assert rig.ended == []


def test_a_source_that_makes_us_wait_and_answers_no_ping_is_dead(rig: Rig) -> None:
    rig.get()
    rig.source.say(wire.Queued(CONTENT, 1))
    rig.pass_time(wire.DEAD_AFTER_S + 1.5)
    assert rig.code() == "stalled"


def test_an_idle_source_is_kept_as_long_as_it_answers_pings(rig: Rig) -> None:
    rig.pass_time(60, answering=True)
    assert rig.ended == []
    _, receiver = rig.get()
    rig.pass_time(STALL_S - 1)
    assert receiver.events == []


def test_closing_ends_the_link_and_tells_whom_it_concerns(rig: Rig) -> None:
    _, receiver = rig.get()
    rig.session.close()
    settle(rig.clock)
    assert rig.code() == "closed"
    assert receiver.ends == ["closed"]
    assert rig.source.lost is not None
    assert rig.clock.getDelayedCalls() == []


# --- The download limit --------------------------------------------------------------------------


def test_a_download_limit_slows_the_source_down_and_is_no_stall() -> None:
    rig = Rig(rate=10_000.0).admitted()
    request, receiver = rig.get(count=3)
    started = rig.clock.seconds()
    for chunk in range(3):
        rig.source.say(wire.Chunk(request.id, chunk, 100_000), raw=bytes(100_000))
    while not receiver.ends and rig.clock.seconds() - started < 100:
        rig.pass_time(0.5)
    assert receiver.ends == [None]
    assert 25 <= rig.clock.seconds() - started <= 35


# --- Places --------------------------------------------------------------------------------------


def test_an_estimate_counts_down_and_is_over_with_the_wait(rig: Rig) -> None:
    _, receiver = rig.get()
    rig.source.say(wire.Queued(CONTENT, 3, 20.0))
    rig.clock.advance(5)
    assert rig.session.requests.position(CONTENT) == 3
    assert rig.session.requests.estimate_s(CONTENT) == pytest.approx(15.0)
    # The estimate alone has changed: nothing else has to be thought over.
    rig.source.say(wire.Queued(CONTENT, 3, 4.0))
    assert rig.session.requests.estimate_s(CONTENT) == pytest.approx(4.0)
    assert receiver.events == [("place", 3)]
    rig.clock.advance(6)
    assert rig.session.requests.estimate_s(CONTENT) == 0.0
    rig.source.say(wire.Queued(CONTENT, 1))
    assert rig.session.requests.estimate_s(CONTENT) is None
    rig.source.say(wire.Chunk(1, 0, 0))
    assert rig.session.requests.position(CONTENT) is None


def test_a_request_carries_its_priority(rig: Rig) -> None:
    rig.session.requests.get(CONTENT, 0, 1, "transfer", Receiver(), 0)
    settle(rig.clock)
    assert rig.source.last(wire.Get).priority == 0
