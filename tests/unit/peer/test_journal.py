"""The journal on a real database: what was saved is loaded, what waits together is committed together and in order."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from napd.content.digest import GROUP_CHUNKS
from napd.errors import DiskFailed, NoSpace
from napd.model import ContentId, DownloadState, Priority
from napd.ops.database import open_database
from napd.peer.files.disk import FileIdentity
from napd.peer.files.flushed import FlushedChunks
from napd.peer.files.journal import SCHEMA, Journal, Kept
from napd.peer.item import Item
from napd.wire.documents import Problem


class Hand:
    """A worker whose work is done when the test says so."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[Deferred[Any], Callable[..., Any], tuple[Any, ...]]] = deque()

    def run(self, work: Callable[..., Any], /, *args: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.waiting.append((done, work, args))
        return done

    def step(self) -> None:
        done, work, args = self.waiting.popleft()
        try:
            result = work(*args)
        except Exception as error:
            done.errback(error)
        else:
            done.callback(result)

    def all(self) -> None:
        while self.waiting:
            self.step()


class Opened:
    """A journal in a directory, its worker, and its connection."""

    def __init__(self, directory: Path) -> None:
        self.connection = open_database(directory / "queue.sqlite", SCHEMA, synchronous="OFF")
        self.hand = Hand()
        self.journal = Journal(self.connection, self.hand)

    def now(self, deferred: Deferred[Any]) -> Any:
        """What it comes to, once all the work is done."""
        outcome: list[Any] = []
        deferred.addBoth(outcome.append)
        self.hand.all()
        (result,) = outcome
        if hasattr(result, "raiseException"):
            result.raiseException()
        return result

    def kept(self, item: Item) -> Kept:
        found: Kept = self.now(self.journal.kept(item.id))
        return found


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    made = Opened(tmp_path)
    yield made
    made.connection.close()


def download(number: int = 1, **changes: Any) -> Item:
    plain = Item(
        id=number,
        content=ContentId(f"{number:064x}"),
        transfer=f"{number:016x}",
        name=f"file {number}",
        size=None,
        directory="/downloads",
        priority=Priority.NORMAL,
        place=number,
        added=float(number),
        bare=True,
    )
    return attrs.evolve(plain, **changes)


# --- Downloads -----------------------------------------------------------------------------------

texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=30)
paths = st.binary(min_size=1, max_size=30).filter(lambda b: b"\0" not in b).map(os.fsdecode)
sizes = st.integers(0, 1 << 46)
items = st.builds(
    download,
    st.integers(1, 10**6),
    name=texts,
    size=st.none() | sizes,
    directory=paths,
    priority=st.sampled_from(Priority),
    place=st.integers(-(10**9), 10**9),
    added=st.floats(0, 4e9),
    state=st.sampled_from(DownloadState),
    path=st.none() | paths,
    error=st.none() | st.builds(Problem, texts, texts),
    finished=st.none() | st.floats(0, 4e9),
    bytes_done=sizes,
    bytes_received=sizes,
)


@settings(deadline=None, max_examples=50)
@given(st.lists(items, unique_by=lambda item: item.id, max_size=5), st.integers(1, 10**9))
def test_what_was_saved_is_loaded(saved: list[Item], next_id: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        opened = Opened(Path(directory))
        opened.now(opened.journal.save(saved, next_id))
        opened.connection.close()
        again = Opened(Path(directory))
        loaded, loaded_next = again.journal.load()
        again.connection.close()
    for item in saved:
        if item.state is not DownloadState.DONE:
            # No chunk of it is flushed.
            item.bytes_done = 0
    assert sorted(map(attrs.asdict, loaded), key=_id) == sorted(map(attrs.asdict, saved), key=_id)
    assert loaded_next == next_id


def _id(fields: dict[str, Any]) -> int:
    number: int = fields["id"]
    return number


def test_a_download_that_is_saved_again_is_the_newer_one(opened: Opened) -> None:
    item = download(directory=os.fsdecode(b"/caf\xe9"))
    opened.now(opened.journal.save([item]))
    item.state, item.priority, item.place, item.name = DownloadState.PAUSED, Priority.LOW, 7, "new"
    opened.now(opened.journal.save([item]))
    (loaded,), _ = opened.journal.load()
    assert attrs.asdict(loaded) == attrs.asdict(item)


def test_saving_a_download_keeps_what_is_known_of_its_content(opened: Opened) -> None:
    item = download(size=10)
    journal = opened.journal
    opened.now(journal.save([item]))
    opened.now(journal.outline(item, b"d" * 32))
    opened.now(journal.sealed(item, FlushedChunks(), item.bytes_done, FileIdentity(3, 4)))
    opened.now(journal.save([item]))
    kept = opened.kept(item)
    assert kept.outline == (10, b"d" * 32)
    assert kept.sealed == FileIdentity(3, 4)


def test_an_id_is_never_used_again(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    items = [download(number) for number in (1, 2, 3)]
    opened.now(opened.journal.save(items, 4))
    opened.now(opened.journal.forget(items))
    opened.connection.close()
    again = Opened(tmp_path)
    assert again.journal.load() == ([], 4)
    again.connection.close()


def test_the_first_id_is_one(opened: Opened) -> None:
    assert opened.journal.load() == ([], 1)


def test_settings_are_kept(opened: Opened) -> None:
    opened.now(opened.journal.set({"up": "1000.0"}))
    opened.now(opened.journal.set({"up": "2000.0"}))
    assert opened.journal.settings() == {"up": "2000.0"}


# --- Chunks --------------------------------------------------------------------------------------


def test_what_is_known_of_a_content_is_kept(opened: Opened) -> None:
    item, journal = download(size=3 << 30), opened.journal
    opened.now(journal.save([item]))
    assert opened.kept(item).outline is None
    opened.now(journal.outline(item, b"d" * 96))
    opened.now(journal.group(item, 0, b"0" * 32768))
    opened.now(journal.group(item, 2, b"2" * 32768))
    flushed = FlushedChunks()
    for chunk in (0, 5, 1023, 1024, 3071):
        flushed.add(chunk)
    item.bytes_done, item.bytes_received = 5 << 20, 6 << 20
    opened.now(journal.flushed(item, flushed, item.bytes_done))
    opened.now(journal.sealed(item, FlushedChunks(), item.bytes_done, FileIdentity(11, 12)))

    kept = opened.kept(item)
    assert kept.outline == (3 << 30, b"d" * 96)
    assert kept.groups == {0, 2}
    assert [opened.now(journal.digests(item.id, group)) for group in (0, 1, 2)] == [b"0" * 32768, None, b"2" * 32768]
    assert list(kept.flushed) == [0, 5, 1023, 1024, 3071]
    assert kept.sealed == FileIdentity(11, 12)
    (loaded,), _ = journal.load()
    assert (loaded.bytes_done, loaded.bytes_received) == (5 << 20, 6 << 20)


def test_what_is_kept_of_one_download_is_not_another_s(opened: Opened) -> None:
    first, second = download(1), download(2)
    opened.now(opened.journal.save([first, second]))
    flushed = FlushedChunks()
    flushed.add(3)
    opened.now(opened.journal.flushed(first, flushed, first.bytes_done))
    assert list(opened.kept(first).flushed) == [3]
    assert list(opened.kept(second).flushed) == []


@pytest.mark.parametrize("act", ["ended", "forget"])
def test_an_ended_download_keeps_no_chunks(opened: Opened, act: str) -> None:
    item, journal = download(size=1 << 20), opened.journal
    opened.now(journal.save([item]))
    opened.now(journal.outline(item, b"d" * 32))
    opened.now(journal.group(item, 0, b"g" * 32))
    flushed = FlushedChunks()
    flushed.add(0)
    opened.now(journal.flushed(item, flushed, item.bytes_done))
    opened.now(journal.sealed(item, FlushedChunks(), item.bytes_done, FileIdentity(1, 2)))

    opened.now(getattr(journal, act)([item]))

    kept = opened.kept(item)
    assert (kept.outline, kept.groups, list(kept.flushed), kept.sealed) == (None, frozenset(), [], None)
    assert len(journal.load()[0]) == (1 if act == "ended" else 0)


def test_chunks_that_were_lost_are_forgotten(opened: Opened) -> None:
    item, journal = download(size=2 << 30), opened.journal
    opened.now(journal.save([item]))
    opened.now(journal.outline(item, b"d" * 64))
    flushed = FlushedChunks()
    flushed.add(0)
    flushed.add(1500)
    opened.now(journal.flushed(item, flushed, item.bytes_done))
    assert flushed.cut(1500)
    opened.now(journal.flushed(item, flushed, 1 << 20))
    kept = opened.kept(item)
    assert list(kept.flushed) == [0]
    assert kept.outline == (2 << 30, b"d" * 64)
    assert not flushed.cut(1)
    assert flushed.cut(0)
    opened.now(journal.flushed(item, flushed, 0))
    assert list(opened.kept(item).flushed) == []


@pytest.mark.parametrize("size", [1, 1 << 20, (1 << 20) + 7, 1025 << 20])
def test_what_is_done_is_what_is_flushed_whatever_figure_was_saved_last(opened: Opened, size: int) -> None:
    item, journal = download(size=size), opened.journal
    flushed = FlushedChunks()
    flushed.add((size - 1) >> 20)
    done = (size - 1) % (1 << 20) + 1
    # A change of the queue was on its way meanwhile, with the figure of before.
    journal.flushed(item, flushed, done)
    opened.now(journal.save([item]))
    assert journal.load()[0][0].bytes_done == done


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5 * GROUP_CHUNKS), st.booleans()), max_size=60))
def test_flushed_chunks_are_a_set_that_survives_by_its_changed_groups(chunks: list[tuple[int, bool]]) -> None:
    flushed = FlushedChunks()
    model: set[int] = set()
    stored: dict[int, bytes] = {}
    for chunk, store in chunks:
        flushed.add(chunk)
        model.add(chunk)
        if store:
            stored.update(flushed.take_changed())
            assert flushed.take_changed() == []
            assert list(FlushedChunks.of(stored.items())) == sorted(model)
    assert list(flushed) == sorted(model)
    assert bool(flushed) == bool(model)
    assert dict(flushed.groups()) == {
        group: sum(1 << chunk % GROUP_CHUNKS for chunk in model if chunk // GROUP_CHUNKS == group)
        for group in {chunk // GROUP_CHUNKS for chunk in model}
    }
    for first, end in ((0, 5 * GROUP_CHUNKS + 1), (1, 1), (GROUP_CHUNKS - 2, GROUP_CHUNKS + 3)):
        assert list(flushed.missing(range(first, end))) == [n for n in range(first, end) if n not in model]
    probes = {chunk + delta for chunk in model for delta in (-1, 0, 1)}
    assert all((probe in flushed) == (probe in model) for probe in probes if probe >= 0)


# --- Commits -------------------------------------------------------------------------------------


def test_a_change_is_told_when_it_is_committed_and_not_before(opened: Opened) -> None:
    done = opened.journal.save([download()])
    assert not done.called
    assert opened.journal.load()[0] == []
    opened.hand.step()
    assert done.called
    assert len(opened.journal.load()[0]) == 1


def test_what_waits_together_is_committed_together(opened: Opened) -> None:
    journal, hand = opened.journal, opened.hand
    first = journal.set({"a": "1"})
    others = [journal.set({name: "1"}) for name in "bcdef"]
    assert len(hand.waiting) == 1
    hand.step()
    assert first.called
    assert not any(other.called for other in others)
    hand.step()
    assert all(other.called for other in others)
    assert not hand.waiting


def test_changes_are_committed_in_the_order_in_which_they_were_made(opened: Opened) -> None:
    journal = opened.journal
    told: list[int] = []
    for number in range(6):
        journal.set({"last": str(number)}).addCallback(lambda _, number=number: told.append(number))
    opened.hand.all()
    assert told == list(range(6))
    assert journal.settings() == {"last": "5"}


def test_what_is_changed_on_hearing_of_a_commit_is_committed_after_what_waited(opened: Opened) -> None:
    journal = opened.journal
    journal.set({"word": "first"}).addCallback(lambda _: journal.set({"word": "third"}) and None)
    journal.set({"word": "second"})
    opened.hand.all()
    assert journal.settings() == {"word": "third"}


def test_reading_sees_every_change_made_before(opened: Opened) -> None:
    item, journal = download(size=1 << 20), opened.journal
    opened.now(journal.save([item]))
    # The first is on its way to the disk, and the second waits for it.
    journal.set({"something": "else"})
    journal.outline(item, b"d" * 32)
    assert opened.kept(item).outline == (1 << 20, b"d" * 32)


def test_a_full_disk_is_no_space_and_changes_nothing(opened: Opened) -> None:
    journal = opened.journal
    opened.now(journal.set({"small": "1"}))
    (pages,) = opened.connection.execute("PRAGMA page_count").fetchone()
    opened.connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(NoSpace) as told:
        opened.now(journal.set({"large": "x" * 100_000}))
    assert told.value.code == "no_space"
    assert not opened.connection.in_transaction
    assert journal.settings() == {"small": "1"}

    opened.connection.execute("PRAGMA max_page_count=1000000")
    opened.now(journal.set({"large": "x" * 100_000}))
    assert len(journal.settings()) == 2


def test_a_failure_is_told_to_all_of_its_batch_and_to_nobody_else(opened: Opened) -> None:
    journal, hand = opened.journal, opened.hand
    opened.connection.execute("PRAGMA busy_timeout=0")
    (_, _, path) = opened.connection.execute("PRAGMA database_list").fetchone()
    intruder = sqlite3.connect(path, isolation_level=None)
    outcomes: dict[str, Any] = {}
    for name in "abc":
        journal.set({name: "1"}).addBoth(lambda result, name=name: outcomes.update({name: result}))
    hand.step()
    intruder.execute("BEGIN IMMEDIATE")
    hand.step()
    intruder.execute("ROLLBACK")
    intruder.close()
    later = journal.set({"d": "1"})
    hand.all()

    assert outcomes["a"] is None
    assert outcomes["b"].check(DiskFailed)
    assert outcomes["c"].check(DiskFailed)
    assert later.called
    assert set(journal.settings()) == {"a", "d"}


def test_a_journal_that_is_closed_says_so(opened: Opened) -> None:
    opened.now(opened.journal.close())
    with pytest.raises(DiskFailed, match="cannot be written"):
        opened.now(opened.journal.set({"late": "1"}))
    with pytest.raises(DiskFailed):
        opened.now(opened.journal.kept(1))


def test_closing_comes_after_what_was_written_before(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    first, second = opened.journal.set({"a": "1"}), opened.journal.set({"b": "2"})
    opened.now(opened.journal.close())
    assert first.called
    assert second.called
    again = Opened(tmp_path)
    assert again.journal.settings() == {"a": "1", "b": "2"}
    again.connection.close()
