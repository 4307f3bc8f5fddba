"""Small contents that are asked for ahead of their turn: to the queue it is as if each had had its own."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from napd.content.digest import CHUNK_BYTES
from napd.errors import DiskFailed
from napd.model import ContentId, DownloadState, Priority
from napd.peer.fetch.downloads import Wanted
from napd.peer.fetch.flows import IDLE_S, Flow, Flows
from napd.peer.files.disk import Disk
from napd.peer.item import Item
from tests.support.memory import MemoryNetwork
from tests.support.swarm import Node, Town, run_until

LIMIT = 3


class Pair:
    """Ada has leaves and a tree (small and big files); bob wants them."""

    def __init__(self, directory: Path) -> None:
        self.clock = Clock()
        self.town = Town(self.clock)
        self.network = MemoryNetwork(self.clock)
        self.directory = directory
        self.ada = self.node("ada")
        self.bob = self.node("bob", limit=LIMIT)
        #: The most that were active at any event.
        self.most = 0
        self.watch()

    def node(self, user: str, **options: Any) -> Node:
        return Node(self.town, self.network, user, self.directory / user, **options)

    def watch(self) -> None:
        queue = self.bob.downloads.queue
        events = self.bob.downloads._events  # type: ignore[attr-defined]

        def look(_: object) -> None:
            self.most = max(self.most, sum(item.state is DownloadState.ACTIVE for item in queue))

        events.listen(look)

    def leaves(self, count: int, *holders: Node) -> list[ContentId]:
        made = []
        for n in range(count):
            for holder in holders or (self.ada,):
                content = holder.library.add(f"leaf{n}", leaf(n))
            made.append(content)
        return made

    def get(self, *contents: ContentId, priority: Priority | None = None) -> list[Item]:
        """With the sizes that a search would have shown."""
        outcome: list[Any] = []
        wanted = [Wanted(c, f"leaf{n}", self._size(c)) for n, c in enumerate(contents)]
        got = self.bob.downloads.get(wanted, priority=priority, directory=None, name=None)
        Deferred.fromCoroutine(got).addBoth(outcome.append)
        run_until(self.clock, lambda: bool(outcome))
        return list(outcome[0])

    def _size(self, content: ContentId) -> int | None:
        sizes = [n.library.files[content].size for n in self.town.nodes if content in n.library.files]
        return sizes[0] if sizes else None

    def finish(self, items: list[Item], seconds: float = 600.0) -> None:
        run_until(self.clock, lambda: all(item.state.ended for item in items), seconds)


def leaf(n: int) -> bytes:
    return Random(n).randbytes(1000 + n)


def saved(item: Item) -> bytes:
    assert item.state is DownloadState.DONE, (item.state, item.error)
    return Path(str(item.path)).read_bytes()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    yield made
    for node in made.town.nodes:
        assert not node.faults, "\n".join(node.faults)


def test_many_small_files_arrive_in_order_and_never_more_are_active_than_may_be(pair: Pair) -> None:
    items = pair.get(*pair.leaves(300))
    pair.finish(items)

    assert [saved(item) for item in items] == [leaf(n) for n in range(300)]
    assert pair.most <= LIMIT
    done = [event.fields["download"] for event in pair.bob.events("download.finished")]
    assert done == [item.id for item in items]
    for name in ("download.started", "download.source_added", "download.finished"):
        assert len(pair.bob.events(name)) == 300
    assert len(pair.ada.events("upload.finished")) == 300
    assert sorted(path.name for path in (pair.bob.directory / "downloads").iterdir()) == sorted(
        f"leaf{n}" for n in range(300)
    )


def test_each_is_started_before_it_is_finished(pair: Pair) -> None:
    items = pair.get(*pair.leaves(50))
    pair.finish(items)
    for item in items:
        told = [event.event for event in pair.bob.said if event.fields.get("download") == item.id]
        assert told == ["download.queued", "download.started", "download.source_added", "download.finished"]


def test_small_files_take_the_turn_that_big_ones_leave(pair: Pair) -> None:
    big = [pair.ada.library.add(f"tree{n}", Random(n).randbytes(3 * CHUNK_BYTES)) for n in range(LIMIT)]
    small = pair.leaves(40)
    pair.ada.up.set_rate(1e6)
    first = pair.get(*big[: LIMIT - 1])
    leaves = pair.get(*small)
    last = pair.get(big[-1])
    pair.finish(leaves)
    assert not any(item.state.ended for item in last)
    pair.finish(first + last)
    assert pair.most <= LIMIT


def test_small_files_wait_while_every_turn_is_taken(pair: Pair) -> None:
    big = [pair.ada.library.add(f"tree{n}", Random(n).randbytes(3 * CHUNK_BYTES)) for n in range(LIMIT)]
    pair.ada.up.set_rate(1e6)
    first = pair.get(*big)
    leaves = pair.get(*pair.leaves(20))
    run_until(pair.clock, lambda: any(item.state.ended for item in first))
    assert not any(
        event.fields["transfer"] in {leaf.transfer for leaf in leaves}
        for event in pair.ada.events("upload.started")
        if event.id < pair.bob.events("download.finished")[0].id
    )
    pair.finish(first + leaves)
    assert pair.most <= LIMIT


@pytest.mark.parametrize("turns", [1, 3, 6, 10, 15, 25])
def test_pausing_and_cancelling_at_any_moment(pair: Pair, turns: int) -> None:
    items = pair.get(*pair.leaves(60))
    for _ in range(turns):
        pair.clock.advance(0)
    pair.bob.do(pair.bob.downloads.pause(items[::3]))
    pair.bob.do(pair.bob.downloads.cancel(items[1::3]))
    pair.finish([item for n, item in enumerate(items) if n % 3 == 2])
    pair.bob.do(pair.bob.downloads.resume(items))
    pair.finish(items)

    for n, item in enumerate(items):
        assert item.state in (DownloadState.DONE, DownloadState.CANCELLED)
        if item.state is DownloadState.DONE:
            assert saved(item) == leaf(n)
    assert all(items[n].state is DownloadState.DONE for n in range(60) if n % 3 != 1)
    assert not list(pair.bob.directory.rglob("*.part"))


def test_an_urgent_one_goes_first(pair: Pair) -> None:
    pair.ada.up.set_rate(20_000)
    *contents, urgent = pair.leaves(100)
    pair.get(*contents)
    pair.clock.advance(0.1)
    (item,) = pair.get(urgent, priority=Priority.URGENT)
    pair.finish([item])
    assert sum(other.state is DownloadState.DONE for other in pair.bob.downloads.queue) < 90


@pytest.mark.parametrize("turns", [2, 5, 8, 12, 18, 30, 50])
def test_after_a_crash_nothing_is_lost(pair: Pair, turns: int) -> None:
    pair.get(*pair.leaves(40))
    for _ in range(turns):
        pair.clock.advance(0)
    pair.bob.crash()
    pair.bob.start()
    pair.bob.come_back()
    pair.watch()
    pair.town.tell()
    items = sorted(pair.bob.downloads.queue, key=lambda item: item.id)
    pair.finish(items)

    assert [saved(item) for item in items] == [leaf(n) for n in range(40)]
    assert pair.most <= LIMIT
    assert len(list((pair.bob.directory / "downloads").iterdir())) == 40


def test_a_wrong_one_is_charged_to_its_source_and_had_from_another(pair: Pair) -> None:
    eve = pair.node("eve")
    contents = pair.leaves(20, pair.ada, eve)
    for content in contents:
        Path(eve.library.files[content].path).write_bytes(b"x" * eve.library.files[content].size)
    items = pair.get(*contents)
    pair.finish(items)

    assert [saved(item) for item in items] == [leaf(n) for n in range(20)]
    assert {event.fields["user"] for event in pair.bob.events("download.chunk_rejected")} <= {"eve"}


def test_a_source_that_goes_is_replaced(pair: Pair) -> None:
    eve = pair.node("eve")
    contents = pair.leaves(60, pair.ada, eve)
    for node in (pair.ada, eve):
        node.up.set_rate(20_000)
    items = pair.get(*contents)
    run_until(pair.clock, lambda: sum(item.state.ended for item in items) > 5)
    eve.go_offline()
    pair.finish(items)
    assert [saved(item) for item in items] == [leaf(n) for n in range(60)]


def test_what_waits_in_one_sources_line_is_asked_of_another_that_comes_later(pair: Pair) -> None:
    """Found by simulation (seed 131): a source that makes everybody wait kept them for ever."""
    pair.ada.uploads.turns.set_limit(0)
    contents = pair.leaves(5)
    items = pair.get(*contents)
    run_until(pair.clock, lambda: pair.ada.uploads.totals().queued > 0)
    eve = pair.node("eve")
    pair.leaves(5, eve)
    pair.town.tell()
    pair.finish(items, seconds=5.0)
    assert [saved(item) for item in items] == [leaf(n) for n in range(5)]


def test_a_source_that_crawls_is_not_waited_for(pair: Pair) -> None:
    eve = pair.node("eve")
    data = Random(3).randbytes(CHUNK_BYTES - 1)
    pair.ada.up.set_rate(4_000)
    contents = [node.library.add("leaf0", data) for node in (pair.ada, eve)]
    items = pair.get(contents[0])
    pair.finish(items, seconds=8.0)
    assert saved(items[0]) == data


def test_what_is_on_its_way_is_not_given_up_for_a_promise(pair: Pair) -> None:
    """Found by simulation (seed 41371): the source makes others of our downloads wait, and another seems to be free."""
    eve = pair.node("eve")
    eve.uploads.turns.set_limit(0)
    data = Random(3).randbytes(CHUNK_BYTES)
    pair.ada.up.set_rate(300_000)
    items = pair.get(pair.ada.library.add("leaf0", data))
    run_until(pair.clock, lambda: any(flow.source.session.requests.receiving for flow in flows_of(pair)))
    eve.library.add("leaf0", data)
    pair.town.tell()
    began = pair.clock.seconds()

    def done() -> bool:
        # As if it had just told so of another content.
        ada = flows_of(pair).of(pair.ada.key.id)
        if ada is not None:
            ada.waiting = True
        return items[0].state.ended

    run_until(pair.clock, done, 20.0)
    assert saved(items[0]) == data
    assert pair.clock.seconds() - began < 5.0


def test_discovery_that_does_not_answer_is_waited_for_anew_in_each_turn(pair: Pair) -> None:
    """Found by simulation (seed 34): the first turn's time was up in the second."""
    (content,) = pair.leaves(1)
    pair.bob.discovery.tell = lambda contents: None
    (item,) = pair.get(content)
    run_until(pair.clock, lambda: item.state is DownloadState.ACTIVE)
    pair.clock.advance(1.0)
    pair.bob.do(pair.bob.downloads.pause([item]))
    pair.bob.do(pair.bob.downloads.resume([item]))
    pair.clock.advance(2.5)
    assert item.state is DownloadState.ACTIVE
    pair.clock.advance(1.0)
    assert item.state is DownloadState.WAITING


def test_the_only_source_gone_they_wait_and_go_on_when_it_returns(pair: Pair) -> None:
    pair.ada.up.set_rate(20_000)
    items = pair.get(*pair.leaves(60))
    run_until(pair.clock, lambda: sum(item.state.ended for item in items) > 5)
    pair.ada.go_offline()
    pair.town.tell()
    run_until(pair.clock, lambda: all(i.state.ended or i.state is DownloadState.WAITING for i in items), 60)
    pair.ada.come_back()
    pair.town.tell()
    pair.finish(items)
    assert [saved(item) for item in items] == [leaf(n) for n in range(60)]


def test_a_claim_that_is_too_small_is_no_end(pair: Pair) -> None:
    """Somebody told that a big content is a small one."""
    data = Random(9).randbytes(2 * CHUNK_BYTES + 7)
    content = pair.ada.library.add("tree", data)
    outcome: list[Any] = []
    got = pair.bob.downloads.get([Wanted(content, "tree", 10)], priority=None, directory=None, name=None)
    Deferred.fromCoroutine(got).addBoth(outcome.append)
    run_until(pair.clock, lambda: bool(outcome))
    (item,) = outcome[0]
    pair.finish([item])
    assert saved(item) == data


def test_a_disk_that_fails_is_said_for_each(pair: Pair) -> None:
    class Broken(Disk):
        def write_at(self, descriptor: int, data: bytes | memoryview, offset: int) -> None:
            raise DiskFailed("broken")

    bob = pair.node("carl", disk=Broken(), limit=LIMIT)
    contents = pair.leaves(10)
    items = bob.get(*contents)
    run_until(pair.clock, lambda: all(item.state.ended for item in items))
    assert {item.state for item in items} == {DownloadState.FAILED}
    assert not list((bob.directory / "downloads").glob("leaf*"))


def test_leftovers_of_a_file_system_without_nameless_files(pair: Pair) -> None:
    class Plain(Disk):
        def create_nameless(self, directory: int) -> int | None:
            return None

    bob = pair.node("carl", disk=Plain(), limit=LIMIT)
    items = bob.get(*pair.leaves(30))
    run_until(pair.clock, lambda: all(item.state.ended for item in items))
    assert [saved(item) for item in items] == [leaf(n) for n in range(30)]
    assert not (bob.directory / "downloads" / ".napd").exists()


def test_those_whose_end_could_not_be_journalled_are_found_when_tried_again(pair: Pair, monkeypatch: Any) -> None:
    """They have their names by then: nothing is fetched twice, and nothing is numbered."""
    journal = pair.bob.journal
    with monkeypatch.context() as patched:
        patched.setattr(journal, "done", lambda done: fail(DiskFailed("no room for the journal")))
        items = pair.get(*pair.leaves(10))
        pair.finish(items)
    assert {item.state for item in items} == {DownloadState.FAILED}

    pair.bob.do(pair.bob.downloads.retry(items))
    pair.finish(items)
    assert [saved(item) for item in items] == [leaf(n) for n in range(10)]
    assert len(list((pair.bob.directory / "downloads").iterdir())) == 10
    assert len(pair.ada.events("upload.finished")) == 10


def test_a_download_that_leaves_a_source_does_not_reset_what_small_ones_know_of_it(pair: Pair) -> None:
    pair.ada.uploads.turns.set_limit(0)
    pair.get(*pair.leaves(20))
    run_until(pair.clock, lambda: pair.ada.uploads.totals().queued > 0)
    ahead = pair.bob.downloads._scheduler._ahead  # type: ignore[attr-defined]
    (flow,) = ahead._flows
    run_until(pair.clock, lambda: flow.waiting)
    pair.bob.sources.freed(flow.source)
    assert flow.waiting


def test_a_file_system_that_makes_nameless_files_and_cannot_name_them(pair: Pair, monkeypatch: Any) -> None:
    """No /proc, say: they are written once more, as partial files, and not fetched twice."""

    def refused(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOENT, "No such file or directory")

    link = os.link
    monkeypatch.setattr(os, "link", lambda source, *a, **k: (refused if "/proc/" in source else link)(source, *a, **k))
    items = pair.get(*pair.leaves(30))
    pair.finish(items)
    assert [saved(item) for item in items] == [leaf(n) for n in range(30)]
    assert not (pair.bob.directory / "downloads" / ".napd").exists()
    assert len(pair.ada.events("upload.finished")) == 30
    assert len(list((pair.bob.directory / "downloads").iterdir())) == 30


def flows_of(pair: Pair) -> Flows:
    return pair.bob.downloads._scheduler._ahead._flows  # type: ignore[attr-defined, no-any-return]


def most_flows(pair: Pair, items: list[Item], look: Callable[[Flow], bool] = lambda flow: True) -> int:
    """The most that were at work at a time, until all of these have ended."""
    most = 0

    def ended() -> bool:
        nonlocal most
        most = max(most, sum(look(flow) for flow in flows_of(pair)))
        return all(item.state.ended for item in items)

    run_until(pair.clock, ended)
    return most


def test_one_source_is_enough_while_it_has_room(pair: Pair) -> None:
    holders = [pair.ada, *(pair.node(f"other{n}") for n in range(10))]
    items = pair.get(*pair.leaves(20, *holders))
    pair.finish(items)
    # The pool keeps a link that nobody uses for a while.
    assert sum(pair.bob.sources.source(holder.key.id) is not None for holder in holders) == 1
    assert [saved(item) for item in items] == [leaf(n) for n in range(20)]


def test_no_more_sources_serve_a_small_content_than_a_big_one(pair: Pair) -> None:
    pair.bob.sources.places = 2
    holders = [pair.ada, *(pair.node(f"other{n}") for n in range(5))]
    for holder in holders:
        holder.up.set_rate(10_000)
    items = pair.get(*pair.leaves(300, *holders))
    assert most_flows(pair, items, lambda flow: flow.occupies) == 2
    assert [saved(item) for item in items] == [leaf(n) for n in range(300)]


def test_the_best_source_is_asked_first(pair: Pair) -> None:
    best = pair.node("best")
    pair.bob.sources._experience.measured(best.key.id, 5e6, 2.0, 0.01)
    items = pair.get(*pair.leaves(20, pair.ada, best))
    pair.finish(items)
    assert {event.fields["user"] for event in pair.bob.events("download.source_added")} == {"best"}


def test_many_peers_with_a_small_file_each_are_not_all_dialled_at_once(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napd.peer.fetch.flows.MAX_FLOWS", 4)
    holders = [pair.node(f"other{n}") for n in range(40)]
    contents = [holder.library.add(f"leaf{n}", leaf(n)) for n, holder in enumerate(holders)]
    items = pair.get(*contents)
    assert most_flows(pair, items) <= 4 + LIMIT
    assert [saved(item) for item in items] == [leaf(n) for n in range(40)]


def test_sources_that_make_us_wait_do_not_keep_others_from_serving_what_runs(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napd.peer.fetch.flows.MAX_FLOWS", 2)
    busy = [pair.node(f"busy{n}") for n in range(2)]
    for holder in busy:
        holder.uploads.turns.set_limit(0)
    waiting = pair.get(*(holder.library.add(f"leaf{n}", leaf(n)) for n, holder in enumerate(busy)))
    run_until(pair.clock, lambda: all(flow.waiting for flow in flows_of(pair)) and len(flows_of(pair)) == 2)
    (item,) = pair.get(pair.ada.library.add("leaf9", leaf(9)))
    pair.finish([item], seconds=5.0)
    assert saved(item) == leaf(9)
    assert not any(other.state.ended for other in waiting)


def test_a_source_that_is_asked_nothing_is_left_while_others_serve(pair: Pair) -> None:
    eve = pair.node("eve")
    pair.ada.up.set_rate(4_000)
    slow = pair.get(*pair.leaves(60))
    quick = pair.get(eve.library.add("quick", b"quick"), priority=Priority.URGENT)
    run_until(pair.clock, lambda: flows_of(pair).of(eve.key.id) is not None)
    pair.finish(quick)
    assert flows_of(pair).of(eve.key.id) is not None
    run_until(pair.clock, lambda: flows_of(pair).of(eve.key.id) is None, IDLE_S + 1.0)
    assert flows_of(pair).of(pair.ada.key.id) is not None
    pair.finish(slow)
