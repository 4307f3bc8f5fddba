"""The chunks of a run come in order, from memory where they are there, and ahead of being sent where not."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred, ensureDeferred

from napd.errors import DiskFailed, NoSuchThing
from napd.peer.serve.run_reader import MOST_AT_ONCE, RunReader


def data_of(chunk: int) -> memoryview:
    return memoryview(b"%d" % chunk)


@define
class File:
    """What is in memory, what a disk thread was asked for, and when it answers."""

    cached: set[int] = field(factory=set)
    asked: list[range] = field(factory=list)
    pending: list[tuple[range, Deferred[list[memoryview]]]] = field(factory=list)

    def at_once(self, chunk: int) -> memoryview | None:
        return data_of(chunk) if chunk in self.cached else None

    def read(self, chunks: range) -> Deferred[list[memoryview]]:
        self.asked.append(chunks)
        coming: Deferred[list[memoryview]] = Deferred()
        self.pending.append((chunks, coming))
        return coming

    def answer(self, most: int = 100) -> None:
        chunks, coming = self.pending.pop(0)
        coming.callback([data_of(chunk) for chunk in chunks[:most]])

    def reader(self, *between: int) -> RunReader:
        return RunReader(self.at_once, self.read, range(*between))


def begin(reader: RunReader) -> list[bytes | BaseException]:
    came: list[bytes | BaseException] = []
    ensureDeferred(reader.next()).addCallbacks(
        lambda data: came.append(bytes(data)), lambda failure: came.append(failure.value)
    )
    return came


def test_what_is_in_memory_takes_no_thread() -> None:
    file = File(cached={3, 4, 5})
    reader = file.reader(3, 6)
    assert [begin(reader) for _ in range(3)] == [[b"3"], [b"4"], [b"5"]]
    assert not file.asked


def test_what_is_not_is_read_ahead_ever_more_at_a_time_up_to_a_limit() -> None:
    file = File()
    reader = file.reader(0, 20)
    came = []
    for _ in range(20):
        next_one = begin(reader)
        if not next_one:
            # As many again are asked for as soon as these are here, before they are sent.
            file.answer()
        came += next_one
        assert len(file.pending) <= 1
    assert came == [b"%d" % chunk for chunk in range(20)]
    assert file.asked == [range(1), range(1, 3), range(3, 7), range(7, 11), range(11, 15), range(15, 19), range(19, 20)]
    assert max(map(len, file.asked)) == MOST_AT_ONCE


def test_reading_goes_on_where_memory_ends() -> None:
    file = File(cached={0})
    reader = file.reader(0, 3)
    assert begin(reader) == [b"0"]
    came = begin(reader)
    file.answer()
    assert came == [b"1"]
    assert file.asked == [range(1, 2), range(2, 3)]


def test_fewer_than_were_asked_for_are_followed_by_the_next() -> None:
    file = File()
    reader = file.reader(0, 4)
    came = begin(reader)
    file.answer()
    file.answer(most=1)
    assert (came, begin(reader)) == ([b"0"], [b"1"])
    assert file.asked[-1] == range(2, 4)


def test_what_fails_is_told_when_its_turn_comes() -> None:
    file = File()
    reader = file.reader(0, 2)
    came = begin(reader)
    file.answer()
    assert came == [b"0"]
    file.pending.pop()[1].errback(DiskFailed("broken"))
    (error,) = begin(reader)
    assert isinstance(error, DiskFailed)


def test_a_chunk_that_is_not_here_is_told_at_once() -> None:
    def missing(chunk: int) -> memoryview | None:
        raise NoSuchThing(f"no chunk {chunk}")

    (error,) = begin(RunReader(missing, File().read, range(2)))
    assert isinstance(error, NoSuchThing)


def test_what_was_read_ahead_for_nothing_may_fail() -> None:
    file = File()
    reader = file.reader(0, 2)
    begin(reader)
    file.answer()
    reader.stop()
    # Nobody hears of it, and nothing is logged.
    file.pending.pop()[1].errback(DiskFailed("broken"))
