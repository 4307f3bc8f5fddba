"""A command whose change cannot be journalled fails, and has changed nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from twisted.internet.defer import fail
from twisted.internet.task import Clock

from napd.errors import DiskFailed, NoSpace
from napd.model import DownloadState, Priority
from napd.peer.item import Item
from tests.support.memory import MemoryNetwork
from tests.support.swarm import Node, Town, run_until

MIB = 1 << 20


@pytest.fixture
def nodes(tmp_path: Path) -> tuple[Node, Node]:
    clock = Clock()
    town, network = Town(clock), MemoryNetwork(clock)
    ada, bob = (Node(town, network, name, tmp_path / name) for name in ("ada", "bob"))
    return ada, bob


def seen(node: Node) -> list[tuple[Any, ...]]:
    """The queue in its order; active and queued is the same to a person, and so is a place taken up again."""
    return [
        (item.id, item.priority, "active" if item.runnable else item.state.value, item.place)
        for item in node.downloads.queue
    ]


COMMANDS: dict[str, Callable[[Node, list[Item]], Any]] = {
    "pause": lambda bob, items: bob.downloads.pause(items),
    "resume": lambda bob, items: bob.downloads.resume(items),
    "retry": lambda bob, items: bob.downloads.retry(items),
    "cancel": lambda bob, items: bob.downloads.cancel(items),
    "priority": lambda bob, items: bob.downloads.prioritise(items, Priority.URGENT),
    "move": lambda bob, items: bob.downloads.move(items, "top"),
    "clear": lambda bob, items: bob.downloads.clear(),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_cannot_be_journalled_changes_nothing(nodes: tuple[Node, Node], command: str) -> None:
    ada, bob = nodes
    data = {name: Random(name).randbytes(3 * MIB) for name in ("one", "two", "three", "four", "five")}
    ada.up.set_rate(4.0 * MIB)
    items = bob.get(*(ada.library.add(f"{name}.bin", bytes_) for name, bytes_ in data.items()))
    run_until(bob.clock, lambda: items[0].bytes_done > 0)
    bob.do(bob.downloads.pause([items[3]]))
    bob.do(bob.downloads.cancel([items[4]]))
    # What flushes now would fail for the same reason.
    ada.up.set_rate(1.0)
    still = bob.clock.seconds() + 3
    run_until(bob.clock, lambda: bob.clock.seconds() > still)
    before = seen(bob)

    refuse = bob.refuse_journal()
    with pytest.raises(DiskFailed):
        bob.do(COMMANDS[command](bob, [items[0], items[1], items[3], items[4]]))
    refuse.cancel()

    assert seen(bob) == before
    ada.up.set_rate(None)
    bob.do(bob.downloads.resume([items[3]]))
    bob.do(bob.downloads.retry(items))
    run_until(bob.clock, lambda: all(item.state is DownloadState.DONE for item in items))
    assert {Path(item.path).read_bytes() for item in items if item.path} == set(data.values())
    assert bob.faults == []


def test_getting_what_had_ended_without_a_journal_leaves_it_ended(nodes: tuple[Node, Node]) -> None:
    ada, bob = nodes
    content = ada.library.add("file.bin", bytes(MIB))
    ada.up.set_rate(1.0)
    (item,) = bob.get(content)
    bob.do(bob.downloads.cancel([item]))
    refuse = bob.refuse_journal()
    with pytest.raises(DiskFailed):
        bob.get(content, priority=Priority.HIGH)
    refuse.cancel()
    assert (item.state, item.priority) == (DownloadState.CANCELLED, Priority.NORMAL)


def test_what_happens_by_itself_while_the_journal_cannot_be_written_is_written_with_the_next_change(
    nodes: tuple[Node, Node],
) -> None:
    ada, bob = nodes
    first, second = (ada.library.add(name, Random(name).randbytes(2 * MIB)) for name in ("first.bin", "second.bin"))
    ada.up.set_rate(1.0 * MIB)
    (item,) = bob.get(first)
    refuse = bob.refuse_journal()
    run_until(bob.clock, lambda: item.state is DownloadState.FAILED)
    refuse.cancel()
    assert bob.events("queue.unsaved")
    assert bob.events("daemon.fault") == []

    bob.get(second)
    bob.crash()
    bob.start()
    assert bob.downloads.queue.get(item.id).state is DownloadState.FAILED


def test_a_disk_that_is_full_when_a_cancelled_download_is_cleared_up_is_no_fault(
    nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob = nodes
    first, second = (ada.library.add(name, Random(name).randbytes(8 * MIB)) for name in ("first.bin", "second.bin"))
    ada.up.set_rate(2.0 * MIB)
    (item,) = bob.get(first)
    run_until(bob.clock, lambda: item.bytes_done > 0)
    with monkeypatch.context() as patched:
        patched.setattr(bob.journal, "ended", lambda items: fail(NoSpace("no space left")))
        bob.do(bob.downloads.cancel([item]))
    assert [event.fields["downloads"] for event in bob.events("queue.unsaved")] == [1]
    assert bob.events("daemon.fault") == []

    bob.get(second)
    bob.crash()
    bob.start()
    kept = bob.downloads.queue.get(item.id)
    assert (kept.state, kept.bytes_done) == (DownloadState.CANCELLED, 0)
