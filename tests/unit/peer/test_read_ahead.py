"""Small contents read ahead for a link: in few goes, never too many, and never what is too old."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from napd.model import ContentId
from napd.peer.files.disk import Disk
from napd.peer.serve.read_ahead import MAX_AGE_S, MAX_BYTES, MAX_FILES, ReadAhead


@frozen
class Leaf:
    path: Path
    size: int

    def open(self) -> int:
        return os.open(self.path, os.O_RDONLY)


@define
class Reading:
    """A link's read-ahead, with leaves on the disk, and how many files each go of a thread took."""

    directory: Path
    clock: Clock = field(factory=Clock)
    goes: list[int] = field(factory=list)
    leaves: dict[ContentId, Leaf] = field(factory=dict)
    ahead: ReadAhead = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.ahead = ReadAhead(self.clock, Disk(), self._run)

    def _run(self, work: Any, files: dict[ContentId, Any]) -> Deferred[Any]:
        self.goes.append(len(files))
        done: Deferred[Any] = Deferred()
        self.clock.callLater(0.01, lambda: done.callback(work(files)))
        return done

    def add(self, name: str, data: bytes) -> ContentId:
        content = ContentId(name)
        path = self.directory / name
        path.write_bytes(data)
        self.leaves[content] = Leaf(path, len(data))
        return content

    def take(self, content: ContentId, following: list[ContentId]) -> bytes | None:
        def others() -> Iterator[tuple[ContentId, Leaf]]:
            return ((other, self.leaves[other]) for other in following)

        outcome: list[Any] = []
        Deferred.fromCoroutine(self.ahead.take(content, self.leaves[content], others())).addBoth(outcome.append)
        while not outcome:
            self.clock.advance(0.01)
        result: bytes | None = outcome[0]
        return result


def test_each_is_read_once_and_many_in_one_go(tmp_path: Path) -> None:
    reading = Reading(tmp_path)
    contents = [reading.add(f"leaf{n}", b"%d" % n) for n in range(200)]
    taken = [reading.take(content, contents[n + 1 :]) for n, content in enumerate(contents)]
    assert taken == [b"%d" % n for n in range(200)]
    assert sum(reading.goes) == 200
    assert len(reading.goes) < 20
    assert max(reading.goes) == MAX_FILES


def test_no_more_is_read_than_may_be_kept(tmp_path: Path) -> None:
    reading = Reading(tmp_path)
    contents = [reading.add(f"leaf{n}", bytes(MAX_BYTES // 4)) for n in range(20)]
    reading.take(contents[0], contents[1:])
    assert sum(reading.goes) <= 8


def test_what_is_gone_is_nothing_and_the_others_are_there(tmp_path: Path) -> None:
    reading = Reading(tmp_path)
    contents = [reading.add(f"leaf{n}", b"leaf") for n in range(3)]
    (tmp_path / "leaf1").unlink()
    (tmp_path / "leaf2").write_bytes(b"le")
    assert reading.take(contents[0], contents[1:]) == b"leaf"
    assert reading.take(contents[1], contents[2:]) is None
    assert reading.take(contents[2], []) is None


def test_what_was_read_long_ago_is_read_again(tmp_path: Path) -> None:
    reading = Reading(tmp_path)
    contents = [reading.add(f"leaf{n}", b"old") for n in range(2)]
    reading.take(contents[0], contents[1:])
    reading.clock.advance(2 * MAX_AGE_S)
    (tmp_path / "leaf1").write_bytes(b"new")
    assert reading.take(contents[1], []) == b"new"


def test_another_order_than_expected(tmp_path: Path) -> None:
    reading = Reading(tmp_path)
    contents = [reading.add(f"leaf{n}", b"%d" % n) for n in range(5)]
    reading.take(contents[0], contents[1:3])
    assert reading.take(contents[4], contents[1:3]) == b"4"
    assert reading.take(contents[2], [contents[1]]) == b"2"
    assert reading.take(contents[1], []) == b"1"
