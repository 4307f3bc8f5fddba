"""What past transfers taught is kept, ages, and has bounds."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

import pytest
from twisted.internet.defer import fail, succeed

from napd.errors import NoSpace
from napd.model import PeerId
from napd.ops.events import Event, Events
from napd.peer.sources import lessons
from napd.peer.sources.experience import HALF_LIFE_S, LEARNING_S, MAX_PEERS, SAVE_S, Experience, Lesson

ADA = PeerId("ada")
MB = 1e6


class Rig:
    def __init__(self, kept: Sequence[Lesson] = ()) -> None:
        self.now = 1000.0
        self.saved: list[Sequence[Lesson]] = []
        self.refuses = False
        self.experience = Experience(lambda: self.now, kept, self._keep)

    def _keep(self, learnt: Sequence[Lesson], refused: Callable[[], None]) -> None:
        self.saved.append(learnt)
        if self.refuses:
            refused()


def test_the_first_measure_is_taken_as_it_is_and_later_ones_by_their_length() -> None:
    rig = Rig()
    rig.experience.measured(ADA, 2 * MB, 0.5, 0.1)
    assert rig.experience.facts(ADA).bytes_per_s == 2 * MB
    rig.experience.measured(ADA, 4 * MB, LEARNING_S, 0.3)
    facts = rig.experience.facts(ADA)
    assert facts.bytes_per_s == pytest.approx(3 * MB)
    assert facts.rtt_s == pytest.approx(0.15)


def test_nothing_is_known_of_strangers() -> None:
    facts = Rig().experience.facts(ADA)
    assert (facts.bytes_per_s, facts.rtt_s, facts.good, facts.bad) == (None, None, 0, 0)


def test_what_was_learnt_ages() -> None:
    rig = Rig([Lesson(ADA, 5 * MB, 0.1, 100.0, 4.0, 1000.0)])
    rig.now += HALF_LIFE_S
    facts = rig.experience.facts(ADA)
    assert (facts.bytes_per_s, facts.good, facts.bad) == (5 * MB, 50.0, 2.0)
    rig.experience.succeeded(ADA)
    assert rig.experience.facts(ADA).good == 51.0
    rig.now += 4 * HALF_LIFE_S
    assert rig.experience.facts(ADA).bytes_per_s is None
    rig.experience.measured(ADA, MB, 0.5, None)
    assert rig.experience.facts(ADA).bytes_per_s == MB


def test_it_is_written_down_now_and_then_and_at_the_end() -> None:
    rig = Rig()
    rig.experience.failed(ADA)
    rig.experience.keep()
    assert rig.saved == []
    rig.now += SAVE_S
    rig.experience.keep()
    rig.experience.keep(at_once=True)
    assert [[one.peer for one in batch] for batch in rig.saved] == [[ADA]]


def test_what_could_not_be_written_down_is_taken_along_the_next_time() -> None:
    rig = Rig()
    rig.experience.failed(ADA)
    rig.refuses = True
    rig.experience.keep(at_once=True)
    rig.refuses = False
    rig.experience.failed(PeerId("bob"))
    rig.now += SAVE_S
    rig.experience.keep()
    rig.experience.keep(at_once=True)
    assert [[one.peer for one in batch] for batch in rig.saved] == [[ADA], [ADA, "bob"]]


def test_a_full_disk_is_said_and_is_no_fault() -> None:
    said: list[Event] = []
    events = Events(lambda: 1000.0)
    events.listen(said.append)
    refused: list[str] = []
    lessons.keeping(lambda _: fail(NoSpace("no space left")), events)([], lambda: refused.append("full"))
    lessons.keeping(lambda _: succeed(None), events)([], lambda: refused.append("good"))
    lessons.keeping(lambda _: fail(ZeroDivisionError()), events)([], lambda: refused.append("bug"))
    assert refused == ["full", "bug"]
    assert [event.event for event in said] == ["queue.unsaved", "daemon.fault"]


def test_the_next_start_knows_it() -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript(lessons.TABLE)
    rig = Rig()
    rig.experience.measured(ADA, 2 * MB, 0.5, 0.1)
    rig.experience.succeeded(ADA)
    rig.experience.failed(ADA)
    rig.experience.keep(at_once=True)
    for sql, values in lessons.saving(rig.saved[0]):
        connection.execute(sql, values)

    again = Rig(lessons.load_lessons(connection))
    assert again.experience.facts(ADA) == rig.experience.facts(ADA)


def test_what_is_remembered_has_a_bound_and_the_oldest_goes_first() -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript(lessons.TABLE)
    many = [Lesson(PeerId(str(n)), MB, None, 1.0, 0.0, float(n)) for n in range(MAX_PEERS + 5)]
    for sql, values in lessons.saving(many):
        connection.execute(sql, values)
    kept = lessons.load_lessons(connection)
    assert len(kept) == MAX_PEERS
    assert PeerId("4") not in {one.peer for one in kept}

    rig = Rig(many)
    rig.now = float(MAX_PEERS + 5)
    assert rig.experience.facts(PeerId("4")).bytes_per_s is None
    assert rig.experience.facts(PeerId("5")).bytes_per_s == MB
    rig.experience.failed(ADA)
    assert rig.experience.facts(PeerId("5")).bytes_per_s is None
