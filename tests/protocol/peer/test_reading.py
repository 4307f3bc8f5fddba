"""Reading a download while it comes, on a memory network and a virtual clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from napd.content.digest import CHUNK_BYTES
from napd.errors import IntegrityFailure, Misuse, NapError
from napd.model import ContentId, DownloadState
from napd.peer.fetch.reading import PIECE_BYTES, Reading
from napd.peer.item import Item
from tests.support.memory import MemoryNetwork
from tests.support.swarm import Node, Town, run_until

MIB = CHUNK_BYTES
DATA = Random(1).randbytes(6 * MIB + 77)


class Reader:
    """Reads to the end, or to an error."""

    def __init__(
        self, node: Node, item: Item, offset: int = 0, *, run: Callable[..., Deferred[Any]] | None = None
    ) -> None:
        self.reading = Reading(node.downloads, node.disk, run or node._work.run, item, offset)
        self.got = bytearray()
        self.largest = 0
        self.ended = False
        self.error: BaseException | None = None
        self._clock = node.clock
        Deferred.fromCoroutine(self._read()).addErrback(lambda failure: setattr(self, "error", failure.value))

    async def _read(self) -> None:
        try:
            while data := await self.reading.next():
                self.got += data
                self.largest = max(self.largest, len(data))
            self.ended = True
        finally:
            await self.reading.close()

    def until_over(self) -> bytes:
        run_until(self._clock, lambda: self.ended or self.error is not None, 60.0)
        if self.error is not None:
            raise self.error
        return bytes(self.got)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Node, Node, ContentId]]:
    clock = Clock()
    town, network = Town(clock), MemoryNetwork(clock)
    ada, bob = (Node(town, network, user, tmp_path / user) for user in ("ada", "bob"))
    yield ada, bob, ada.library.add("film.mkv", DATA)
    assert not ada.faults + bob.faults


def test_what_is_read_while_it_comes_is_the_content_in_order(pair: tuple[Node, Node, ContentId]) -> None:
    ada, bob, content = pair
    ada.up.set_rate(2e6)
    (item,) = bob.get(content)
    reader = Reader(bob, item)

    run_until(bob.clock, lambda: len(reader.got) >= 2 * MIB)
    assert item.state is DownloadState.ACTIVE
    assert DATA.startswith(reader.got)
    assert reader.until_over() == DATA
    assert reader.largest <= PIECE_BYTES
    run_until(bob.clock, lambda: item.state is DownloadState.DONE)


def test_a_finished_download_is_read_from_its_file_from_any_offset(pair: tuple[Node, Node, ContentId]) -> None:
    _, bob, content = pair
    (item,) = bob.get(content)
    run_until(bob.clock, lambda: item.state is DownloadState.DONE)

    assert Reader(bob, item).until_over() == DATA
    assert Reader(bob, item, 3 * MIB + 5).until_over() == DATA[3 * MIB + 5 :]
    assert Reader(bob, item, len(DATA)).until_over() == b""
    with pytest.raises(Misuse, match="none from"):
        Reader(bob, item, len(DATA) + 1).until_over()


def test_a_finished_file_that_was_changed_shows_no_byte(pair: tuple[Node, Node, ContentId]) -> None:
    _, bob, content = pair
    (item,) = bob.get(content)
    run_until(bob.clock, lambda: item.state is DownloadState.DONE)
    assert item.path is not None
    with open(item.path, "r+b") as file:
        file.seek(5 * MIB)
        file.write(b"changed")

    reader = Reader(bob, item)
    with pytest.raises(IntegrityFailure, match="not what was downloaded"):
        reader.until_over()
    assert not reader.got


def test_a_download_that_ends_while_its_partial_file_is_being_opened_is_read_from_its_new_name(
    pair: tuple[Node, Node, ContentId],
) -> None:
    ada, bob, content = pair
    ada.up.set_rate(2e6)
    (item,) = bob.get(content)
    run_until(bob.clock, lambda: item.bytes_received > 0)
    opening: Deferred[int | None] = Deferred()
    answers = [opening]

    def run(work: Callable[..., Any], *args: Any) -> Deferred[Any]:
        return answers.pop() if answers else bob._work.run(work, *args)

    reader = Reader(bob, item, run=run)
    run_until(bob.clock, lambda: item.state is DownloadState.DONE)
    # It had just got its name when it was looked for under its old one.
    opening.callback(None)
    assert reader.until_over() == DATA


def test_a_reader_waits_through_a_pause_and_goes_on(pair: tuple[Node, Node, ContentId]) -> None:
    ada, bob, content = pair
    ada.up.set_rate(2e6)
    (item,) = bob.get(content)
    reader = Reader(bob, item)
    run_until(bob.clock, lambda: len(reader.got) >= MIB)

    bob.do(bob.downloads.pause([item]))
    bob.clock.advance(30)
    assert not reader.ended
    bob.do(bob.downloads.resume([item]))
    assert reader.until_over() == DATA


def test_a_reader_hears_that_its_download_was_cancelled(pair: tuple[Node, Node, ContentId]) -> None:
    ada, bob, content = pair
    ada.up.set_rate(2e6)
    (item,) = bob.get(content)
    reader = Reader(bob, item)
    run_until(bob.clock, lambda: len(reader.got) >= MIB)

    bob.do(bob.downloads.cancel([item]))
    with pytest.raises(NapError, match="cancelled"):
        reader.until_over()
    assert DATA.startswith(reader.got)


def test_a_reader_that_goes_away_leaves_nothing_open(pair: tuple[Node, Node, ContentId]) -> None:
    ada, bob, content = pair
    ada.up.set_rate(1e5)
    (item,) = bob.get(content)
    reader = Reader(bob, item)
    bob.clock.advance(0.1)

    reader.reading.stop()
    reader.until_over()
    assert reader.ended
    assert not bob.downloads._scheduler._readers


def test_the_claimed_size_is_no_end(pair: tuple[Node, Node, ContentId]) -> None:
    """Somebody told the index that the content is shorter than it is."""
    ada, bob, content = pair
    file = ada.library.files.pop(content)
    (item,) = bob.get(content)
    run_until(bob.clock, lambda: item.state is DownloadState.WAITING)
    item.size = 10
    reader = Reader(bob, item, 20)

    ada.library.files[content] = file
    ada.town.tell()
    assert reader.until_over() == DATA[20:]


def test_sequential_is_kept_over_a_restart_and_given_to_the_picker(pair: tuple[Node, Node, ContentId]) -> None:
    ada, bob, content = pair
    ada.up.set_rate(1e6)
    (item,) = bob.get(content)
    run_until(bob.clock, lambda: item.bytes_done > 0)
    bob.do(bob.downloads.stream(item))
    bob.crash()
    bob.start()

    again = bob.downloads.queue.get(item.id)
    assert again.sequential
    run_until(bob.clock, lambda: again.state is DownloadState.DONE)
