"""The serving end against a fetcher that is scripted: who is served, in what order, and who is hung up on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec import Struct
from twisted.internet.task import Clock

from napd.errors import Unreachable
from napd.model import ContentId
from napd.peer.files.disk import Disk
from napd.peer.serve.outlet import LOOK_S, UNREAD_S
from napd.peer.serve.serving import ADMISSION_S, IDLE_S
from napd.peer.serve.uploads import IDLE_UPLOAD_S, MAX_OPEN
from napd.wire import peer as wire
from napd.wire.line import MAX_LINE_BYTES
from tests.support.memory import settle
from tests.support.open_files import open_files
from tests.support.scripted_peer import HELLO
from tests.support.serving_rig import MIB, Rig, data_of
from tests.support.swarm import Town, manifest_of_bytes

NOBODY_HAS_IT = ContentId("f" * 64)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    assert not made.node.faults, "\n".join(made.node.faults)


# --- Beginning -----------------------------------------------------------------------------------


def test_it_says_nothing_before_the_fetcher_does(rig: Rig) -> None:
    fetcher = rig.connect()
    assert fetcher.secured
    assert fetcher.heard == []
    fetcher.say(HELLO["fetch"])
    assert fetcher.messages() == [wire.Hello((1,), "test", "serve", ("have",))]


def test_a_good_ticket_is_admitted_and_a_renewed_one_is_taken_without_a_word(rig: Rig) -> None:
    fetcher = rig.admitted()
    fetcher.say(wire.Ticket(rig.ticket(fetcher)), wire.Ping(3))
    assert fetcher.messages()[-2:] == [wire.Admitted(), wire.Pong(3)]


def test_who_shows_no_ticket_in_time_is_cut_off(rig: Rig) -> None:
    silent, greeted = rig.connect(), rig.connect()
    greeted.say(HELLO["fetch"])
    rig.pass_time(ADMISSION_S + 1)
    assert silent.lost is not None
    assert greeted.lost is not None


@pytest.mark.parametrize("when", ["at first", "as a renewal"])
@pytest.mark.parametrize("wrong", ["nonsense", "another peer's", "another index's", "expired"])
def test_a_bad_ticket_is_told_and_hung_up_on(rig: Rig, wrong: str, when: str) -> None:
    fetcher = rig.connect() if when == "at first" else rig.admitted()
    shown = "nonsense"
    if wrong == "another peer's":
        shown = rig.ticket(rig.connect())
    elif wrong == "another index's":
        shown = Town(rig.clock).ticket(SimpleNamespace(user="bob", key=fetcher.identity))  # type: ignore[arg-type]
    elif wrong == "expired":
        shown = rig.ticket(fetcher)
        rig.town.clock = Clock()
        rig.town.clock.advance(2 * 86_400)
    if when == "at first":
        fetcher.say(HELLO["fetch"])
    fetcher.say(wire.Ticket(shown))
    code = "expired" if wrong == "expired" else "bad_ticket"
    assert fetcher.messages()[-1].code == code
    assert fetcher.lost is not None
    assert [event.fields["code"] for event in rig.node.events("upload.denied")] == [code]
    assert rig.misbehaved() == []


# --- Order ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ([wire.Ticket("t")], "order"),
        ([wire.Ping()], "order"),
        ([wire.Get(1, NOBODY_HAS_IT, 0)], "order"),
        ([HELLO["fetch"], HELLO["fetch"]], "order"),
        ([HELLO["serve"]], "role"),
        ([wire.Hello((2,), "x", "fetch")], "version"),
        ([HELLO["fetch"], wire.Get(1, NOBODY_HAS_IT, 0)], "no_ticket"),
        ([HELLO["fetch"], wire.GetOutline(1, NOBODY_HAS_IT)], "no_ticket"),
        ([HELLO["fetch"], wire.GetGroup(1, NOBODY_HAS_IT, 0)], "no_ticket"),
        ([HELLO["fetch"], wire.Cancel(1)], "no_ticket"),
    ],
)
def test_what_is_out_of_order_is_told_and_hung_up_on(rig: Rig, said: list[Struct], code: str) -> None:
    fetcher = rig.connect()
    fetcher.say(*said)
    assert fetcher.messages()[-1].code == code
    assert isinstance(fetcher.messages()[-1], wire.Bye)
    assert fetcher.lost is not None
    assert rig.misbehaved() == [code]


@pytest.mark.parametrize("data", [b"garbage\n", b"\n", b"\xff\n", b"[" * 40_000 + b"\n", b"x" * (MAX_LINE_BYTES + 1)])
def test_what_is_no_message_ends_the_link(rig: Rig, data: bytes) -> None:
    fetcher = rig.admitted()
    fetcher.say_bytes(data)
    assert fetcher.lost is not None


@pytest.mark.parametrize("data", [b'{"t":"dance","id":4}\n', b'{"t":"get","id":4,"content":"x","first":0}\n'])
def test_what_is_not_understood_is_answered_and_the_link_stays(rig: Rig, data: bytes) -> None:
    fetcher = rig.admitted()
    fetcher.say_bytes(data)
    assert fetcher.last(wire.Error).id == 4
    fetcher.get(5, rig.small)
    assert fetcher.chunks() == {0: b"hello"}


def test_a_goodbye_ends_the_link(rig: Rig) -> None:
    fetcher = rig.admitted()
    fetcher.say(wire.Bye("shutdown", "so long"))
    assert fetcher.lost is not None
    assert rig.misbehaved() == []


# --- Requests ------------------------------------------------------------------------------------


def test_a_run_comes_chunk_by_chunk(rig: Rig) -> None:
    fetcher = rig.admitted()
    fetcher.get(9, rig.three, 0, 3)
    data = data_of(2 * MIB + 7)
    assert fetcher.all(wire.Chunk) == [wire.Chunk(9, 0, MIB), wire.Chunk(9, 1, MIB), wire.Chunk(9, 2, 7)]
    assert fetcher.chunks() == {0: data[:MIB], 1: data[MIB : 2 * MIB], 2: data[2 * MIB :]}


def test_an_empty_content_has_one_chunk_without_bytes(rig: Rig) -> None:
    empty = rig.node.library.add("empty", b"")
    fetcher = rig.admitted()
    fetcher.get(1, empty)
    fetcher.get(2, empty, 1)
    assert fetcher.heard[-2] == (wire.Chunk(1, 0, 0), b"")
    assert fetcher.last(wire.Error) == wire.Error("out_of_bounds", "the content has no such chunk", 2)


@pytest.mark.parametrize(("first", "count"), [(3, 1), (2, 2), (0, 4), ((1 << 26) - 1, 16)])
def test_chunks_that_a_content_does_not_have_are_refused(rig: Rig, first: int, count: int) -> None:
    fetcher = rig.admitted()
    fetcher.get(1, rig.three, first, count)
    assert fetcher.messages()[-1] == wire.Error("out_of_bounds", "the content has no such chunk", 1)


def test_a_manifest_comes_by_outline_and_group(rig: Rig) -> None:
    manifest = manifest_of_bytes(data_of(2 * MIB + 7))
    fetcher = rig.admitted()
    fetcher.say(wire.GetOutline(1, rig.three), wire.GetGroup(2, rig.three, 0), wire.GetGroup(3, rig.three, 1))
    assert fetcher.heard[-3:] == [
        (wire.Outline(1, 2 * MIB + 7, 32), manifest.outline.group_digests),
        (wire.Group(2, 96), manifest.group(0)),
        (wire.Gone(3), b""),
    ]


def test_what_is_unknown_and_what_is_not_allowed_are_the_same_answer(rig: Rig) -> None:
    secret = rig.node.library.add("secret", data_of(10), audience=("@account-cyd",))
    fetcher = rig.admitted()
    answers = []
    for content in (NOBODY_HAS_IT, secret):
        before = len(fetcher.lines)
        fetcher.say(wire.Get(1, content, 0), wire.Get(2, content, 99), wire.GetOutline(3, content))
        fetcher.say(wire.GetGroup(4, content, 0), wire.GetGroup(5, content, 99))
        answers.append(fetcher.lines[before:])
    assert answers[0] == answers[1]
    assert len(answers[0]) == 5
    assert rig.node.events("upload.started") == []
    allowed = rig.admitted("cyd")
    allowed.get(1, secret)
    assert allowed.chunks() == {0: data_of(10)}


def test_a_file_that_is_gone_or_shorter_is_gone(rig: Rig) -> None:
    fetcher = rig.admitted()
    os.truncate(rig.node.library.files[rig.three].path, MIB)
    fetcher.get(1, rig.three, 0, 2)
    assert fetcher.messages()[-2:] == [wire.Chunk(1, 0, MIB), wire.Gone(1)]
    os.unlink(rig.node.library.files[rig.small].path)
    fetcher.get(2, rig.small)
    assert fetcher.messages()[-1] == wire.Gone(2)
    fetcher.get(3, rig.three, 0, 1)
    assert fetcher.messages()[-1] == wire.Chunk(3, 0, MIB)


def test_a_cancelled_request_is_answered_in_its_place(rig: Rig) -> None:
    rig.node.up.set_rate(1e6)
    fetcher = rig.admitted()
    fetcher.say(wire.Get(1, rig.three, 0, 3), wire.Get(2, rig.three, 0, 1), wire.Get(3, rig.small, 0))
    fetcher.say(wire.Cancel(2), wire.Cancel(77))
    rig.until(lambda: len(fetcher.all(wire.Chunk)) == 1)
    fetcher.say(wire.Cancel(1))
    rig.until(lambda: len(fetcher.all(wire.Chunk)) == 3)
    assert fetcher.messages()[2:] == [
        wire.Chunk(1, 0, MIB),
        # It was on its way.
        wire.Chunk(1, 1, MIB),
        wire.Cancelled(1),
        wire.Cancelled(2),
        wire.Chunk(3, 0, 5),
    ]


def test_what_is_said_meanwhile_comes_between_chunks_and_never_into_one(rig: Rig) -> None:
    rig.node.up.set_rate(1e6)
    fetcher = rig.admitted()
    fetcher.say(wire.Get(1, rig.three, 0, 2))
    for number in range(2, 30):
        rig.pass_time(0.03)
        fetcher.say(wire.GetGroup(number, rig.three, 0), wire.Ping(number), wire.Get(1000 + number, NOBODY_HAS_IT, 0))
        fetcher.say_bytes(b'{"t":"dance"}\n')
    rig.until(lambda: len(fetcher.all(wire.Chunk)) == 2)
    assert fetcher.chunks()[0] == data_of(2 * MIB + 7)[:MIB]
    assert len(fetcher.all(wire.Group)) == len(fetcher.all(wire.Pong)) == len(fetcher.all(wire.Error)) == 28


def test_so_many_requests_may_be_open_and_one_more_is_too_many(rig: Rig) -> None:
    rig.node.up.set_rate(1000.0)
    fetcher = rig.admitted()
    fetcher.say(*[wire.Get(number, rig.three, 0, 1) for number in range(wire.MAX_OUTSTANDING)])
    assert fetcher.lost is None
    fetcher.say(wire.Get(999, rig.three, 0, 1))
    assert rig.misbehaved() == ["limit"]


@pytest.mark.parametrize("kind", ["manifests", "pings", "nonsense"])
def test_who_floods_a_link_in_the_middle_of_a_chunk_is_hung_up_on_and_costs_little(rig: Rig, kind: str) -> None:
    rig.node.up.set_rate(1000.0)
    fetcher = rig.admitted()
    fetcher.say(wire.Get(1, rig.three, 0, 1))
    line = {
        "manifests": b'{"t":"get_group","id":2,"content":"' + rig.three.encode() + b'","group":0}\n',
        "pings": b'{"t":"ping"}\n',
        "nonsense": b'{"t":"dance"}\n',
    }[kind]
    for _ in range(40):
        fetcher.say_bytes(line * 100)
        rig.pass_time(0.1)
    # No fault of ours is logged: the fixture looks.
    rig.pass_time(UNREAD_S + IDLE_S)
    assert fetcher.lost is not None


# --- Turns ---------------------------------------------------------------------------------------


def test_who_has_to_wait_is_told_its_place_and_again_as_it_changes(tmp_path: Path) -> None:
    rig = Rig(tmp_path, slots=1)
    rig.node.up.set_rate(4e6)
    first, second, third = rig.admitted("bob"), rig.admitted("cyd"), rig.admitted("dan")
    first.get(1, rig.three, 0, 3)
    second.get(1, rig.three, 0, 1)
    third.get(1, rig.small)
    assert second.messages()[-1] == wire.Queued(rig.three, 1)
    assert third.messages()[-1] == wire.Queued(rig.small, 2)
    rig.until(lambda: bool(third.chunks()))
    places = [message.position for message in third.all(wire.Queued)]
    assert places == [2, 1]
    assert first.all(wire.Queued) == []
    assert rig.node.faults == []


def test_manifests_need_no_slot(tmp_path: Path) -> None:
    rig = Rig(tmp_path, slots=1)
    rig.node.up.set_rate(1e6)
    first, second = rig.admitted("bob"), rig.admitted("cyd")
    first.get(1, rig.three, 0, 3)
    second.get(1, rig.three, 0, 1)
    second.say(wire.GetOutline(2, rig.three))
    assert second.all(wire.Outline)


def test_who_leaves_makes_room(tmp_path: Path) -> None:
    rig = Rig(tmp_path, slots=1)
    rig.node.up.set_rate(1e5)
    first, second = rig.admitted("bob"), rig.admitted("cyd")
    first.get(1, rig.three, 0, 3)
    second.get(1, rig.small)
    first.link.abort(Unreachable("gone"))
    rig.until(lambda: bool(second.chunks()), 5)
    assert rig.node.faults == []


# --- Those who do not read, and those who are silent ---------------------------------------------


def test_who_does_not_read_what_it_asked_for_is_cut_off(rig: Rig) -> None:
    fetcher = rig.admitted()
    fetcher.link.pause_reading()
    fetcher.get(1, rig.three, 0, 3)
    rig.pass_time(UNREAD_S - 1)
    assert fetcher.lost is None
    rig.pass_time(2)
    assert fetcher.lost is not None
    assert rig.node.uploads.rows() == []


def test_for_who_was_hung_up_on_nothing_more_is_read_from_the_disk(tmp_path: Path) -> None:
    class Counted(Disk):
        reads = 0

        def read_into(self, descriptor: int, buffer: memoryview, offset: int) -> int:
            self.reads += 1
            return super().read_into(descriptor, buffer, offset)

    rig = Rig(tmp_path)
    disk = rig.node.disk = Counted()
    rig.node.crash()
    rig.node.start()
    fetcher = rig.admitted()
    fetcher.link.pause_reading()
    fetcher.say(*[wire.Get(number, rig.three, 0, 3) for number in range(100)])
    fetcher.say(HELLO["fetch"])
    rig.pass_time(2 * IDLE_S)
    assert disk.reads < 10
    assert fetcher.lost is not None
    assert rig.node.uploads.rows() == []
    assert not rig.node.faults, "\n".join(rig.node.faults)


def test_a_link_that_asks_for_nothing_and_does_not_ping_is_closed(rig: Rig) -> None:
    fetcher = rig.admitted()
    rig.pass_time(IDLE_S + 1)
    assert fetcher.lost is not None
    assert rig.misbehaved() == []


def test_a_link_that_pings_is_kept(rig: Rig) -> None:
    fetcher = rig.admitted()
    for _ in range(20):
        rig.pass_time(wire.HEARTBEAT_S)
        fetcher.say(wire.Ping())
    assert fetcher.lost is None
    rig.pass_time(IDLE_S + 1)
    assert fetcher.lost is not None


def test_who_waits_for_its_turn_is_kept(tmp_path: Path) -> None:
    rig = Rig(tmp_path, slots=0)
    fetcher = rig.admitted()
    fetcher.get(1, rig.small)
    rig.pass_time(5 * IDLE_S, 5.0)
    assert fetcher.lost is None
    rig.node.uploads.turns.set_limit(1)
    settle(rig.clock)
    assert fetcher.chunks() == {0: b"hello"}


def test_stopping_says_goodbye_to_those_who_are_served(rig: Rig) -> None:
    fetcher = rig.admitted()
    fetcher.get(1, rig.small)
    rig.node.uploads.stop()
    settle(rig.clock)
    assert fetcher.messages()[-1].code == "shutdown"
    assert fetcher.lost is not None


def test_an_upload_is_told_once_with_what_was_sent(rig: Rig) -> None:
    fetcher = rig.admitted()
    for number in range(3):
        fetcher.get(number, rig.three, number, 1, "transfer-1")
    rig.pass_time(30)
    (started,), (finished,) = rig.node.events("upload.started"), rig.node.events("upload.finished")
    assert started.fields["transfer"] == finished.fields["transfer"] == "transfer-1"
    assert finished.fields["bytes"] == 2 * MIB + 7


def test_of_many_files_begun_on_one_connection_only_the_last_are_kept_open(rig: Rig) -> None:
    contents = [rig.node.library.add(f"{n}.bin", data_of(MIB + 1 + n)) for n in range(MAX_OPEN + 8)]
    fetcher = rig.admitted()
    # The second request for each keeps all of them wanted.
    for number, content in enumerate(contents):
        fetcher.get(number, content, 1)
    for number, content in enumerate(contents, 1000):
        fetcher.get(number, content, 1)
    rig.until(lambda: len(fetcher.all(wire.Chunk)) == 2 * len(contents))
    held = [name for name in open_files() if name.startswith(str(rig.node.directory / "shared"))]
    assert len(held) == MAX_OPEN
    # What was closed is opened again.
    fetcher.get(2000, contents[0], 0)
    rig.until(lambda: fetcher.last(wire.Chunk).id == 2000)
    rig.pass_time(2 * IDLE_UPLOAD_S)
    assert not [name for name in open_files() if name.startswith(str(rig.node.directory / "shared"))]


def test_who_reads_slowly_what_it_asked_for_is_not_cut_off(rig: Rig) -> None:
    fetcher = rig.admitted()
    take = fetcher.link.dataReceived

    def one_piece(data: bytes) -> None:
        fetcher.link.pause_reading()
        take(data)

    fetcher.link.dataReceived = one_piece  # type: ignore[method-assign]
    fetcher.get(1, rig.three, 0, 1)
    for _ in range(40):
        rig.pass_time(UNREAD_S / 20, UNREAD_S / 20)
        fetcher.link.resume_reading()
    assert fetcher.lost is None
    fetcher.link.pause_reading()
    rig.pass_time(UNREAD_S + LOOK_S + 1)
    assert fetcher.lost is not None
