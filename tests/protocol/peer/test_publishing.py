"""Commands that meet downloads which are just getting their names, on a memory network and a virtual clock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from attrs import define
from twisted.internet.task import Clock

from napd.content.digest import CHUNK_BYTES
from napd.model import ContentId, DownloadState
from napd.peer.item import Item
from tests.support.memory import MemoryNetwork
from tests.support.swarm import Node, Town, run_until

SMALL, LARGE = 20_000, 2 * CHUNK_BYTES + 5
#: Moments from the start of the downloads to well after their end, in steps of the virtual clock.
MOMENTS = range(0, 120, 3)


@define
class Pair:
    ada: Node
    bob: Node

    def content(self, name: str, size: int) -> ContentId:
        return self.ada.library.add(name, Random(name).randbytes(size))

    def files(self) -> set[str]:
        return {path.name for path in (self.bob.directory / "downloads").glob("*") if path.is_file()}

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.bob.clock.advance(0.001)

    def told(self, work: Any) -> None:
        """Begin a command, and let it end."""
        assert self.told_all(work) is None

    def told_all(self, work: Any) -> Any:
        """What it answers."""
        return self.bob.do(work)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    clock = Clock()
    town, network = Town(clock), MemoryNetwork(clock)
    made = Pair(*(Node(town, network, user, tmp_path / user) for user in ("ada", "bob")))
    yield made
    assert not made.ada.faults + made.bob.faults


def get(pair: Pair, size: int, moment: int) -> list[Item]:
    """Four files that take 0.1 s together."""
    pair.ada.up.set_rate(40 * size)
    contents = [pair.content(f"{size} {moment} {number}", size) for number in range(4)]
    return pair.bob.get(*contents)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_what_is_cancelled_at_any_moment_has_no_file_and_what_has_one_is_done(pair: Pair, size: int) -> None:
    seen = set()
    for moment in MOMENTS:
        items = get(pair, size, moment)
        pair.steps(moment)
        pair.told(pair.bob.downloads.cancel(items))
        states = {item.name: item.state for item in items}
        pair.steps(100)
        assert {item.name: item.state for item in items} == states
        done = {name for name, state in states.items() if state is DownloadState.DONE}
        assert pair.files() & states.keys() == done
        assert set(states.values()) <= {DownloadState.DONE, DownloadState.CANCELLED}
        seen |= set(states.values())
    assert seen == {DownloadState.DONE, DownloadState.CANCELLED}


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_what_is_paused_at_any_moment_stays_so_and_what_is_done_was_said_to_be(pair: Pair, size: int) -> None:
    for moment in MOMENTS:
        items = get(pair, size, moment)
        pair.steps(moment)
        pair.told(pair.bob.downloads.pause(items))
        states = {item.name: item.state for item in items}
        pair.steps(100)
        assert {item.name: item.state for item in items} == states
        assert set(states.values()) <= {DownloadState.DONE, DownloadState.PAUSED}
        pair.told(pair.bob.downloads.resume(items))
        run_until(pair.bob.clock, lambda items=items: all(item.state is DownloadState.DONE for item in items))  # type: ignore[misc]
    assert not [name for name in pair.files() if "(1)" in name]


def test_a_name_that_was_learnt_is_kept_over_a_crash_before_the_end(pair: Pair) -> None:
    """Wanted by their ids alone; the crash comes at any moment."""
    for moment in MOMENTS:
        contents = [pair.content(f"learnt {moment} {number}", SMALL) for number in range(4)]
        items = []
        for content in contents:
            items += pair.bob.get(content, name=content)
        pair.steps(moment)
        pair.bob.crash()
        pair.bob.start()
        again = [pair.bob.downloads.queue.get(item.id) for item in items]
        run_until(pair.bob.clock, lambda again=again: all(item.state is DownloadState.DONE for item in again))  # type: ignore[misc]
        assert [item.name for item in again] == [f"learnt {moment} {number}" for number in range(4)]
        assert {item.name for item in again} <= pair.files()


def test_what_is_wanted_again_while_it_is_served_on_has_its_name_again(pair: Pair) -> None:
    """Its content is sought still: nobody tells what it is called once more."""
    content = pair.content("again", LARGE)
    for _ in range(2):
        (item,) = pair.bob.get(content, name=content)
        run_until(pair.bob.clock, lambda item=item: item.state is DownloadState.DONE)  # type: ignore[misc]
        assert item.name == "again"
        pair.told_all(pair.bob.downloads.clear())
        (pair.bob.directory / "downloads" / "again").unlink()


def test_what_nobody_has_waits_although_its_turn_has_not_come(pair: Pair) -> None:
    pair.ada.up.set_rate(1e5)
    busy = pair.bob.get(*(pair.content(f"busy {number}", LARGE) for number in range(5)))
    (unknown,) = pair.bob.get(ContentId("dead" * 16))
    run_until(pair.bob.clock, lambda: unknown.state is DownloadState.WAITING, 3.0)
    assert sum(item.state is DownloadState.ACTIVE for item in busy) == 3
