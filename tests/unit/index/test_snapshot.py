"""A snapshot: what comes out is what went in, whatever happened meanwhile, or it is refused and the log says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from napd.index import snapshot, snapshots
from napd.index.arena import OpenFile, Stretch
from napd.index.engine import MemoryEngine
from napd.index.housekeeping import Housekeeping
from napd.index.items import Item
from napd.index.presence import Presence
from napd.index.snapshot import LEFT, Restored, restored
from napd.index.snapshot_file import Part, SnapshotRefused, SnapshotWriter, find_parts, read_parts
from napd.index.snapshots import PERIOD_S, SnapshotFile, Snapshots
from napd.index.store.interface import StoreFailed
from napd.index.store.memory import MemoryStore
from napd.index.table import ItemTable
from napd.model import EVERYONE
from napd.wire import index as wire
from napd.wire.catalogue import Entry, Media
from tests.support.index_script import IndexScript, content, entry

entries = st.builds(
    Entry,
    content=st.integers(1, 6).map(content),
    size=st.sampled_from([0, 1, 1 << 46]),
    folder=st.sampled_from(["red", "blue/grün", "x" * 300]),
    name=st.sampled_from(["red.mp3", "grün blau.mkv", "音楽", "r" * 200]),
    audience=st.sampled_from([(EVERYONE,), (EVERYONE,), ("@me", "staff")]),
    media=st.sampled_from([Media(), Media(duration_s=1.5, bitrate_kbps=320, width=3)]),
)
#: None forgets the oldest item that is known.
changes = st.lists(entries | st.none(), max_size=12)
WORDS = ("red", "blau", "grun", "音楽", "r" * 64)


class Engine:
    """An engine, and what it should know."""

    def __init__(self) -> None:
        self.table = ItemTable()
        self.engine = MemoryEngine(self.table, Presence(self.table))
        self.items: dict[int, Item] = {}
        self.last = 0

    def change(self, change: Entry | None) -> None:
        if change is not None:
            self.last += 1
            number = int(next(n for n in range(1, 7) if content(n) == change.content))
            self.items[self.last] = Item(self.last, number, change)
            self.engine.learn([self.items[self.last]])
        elif self.items:
            oldest = min(self.items)
            del self.items[oldest]
            self.engine.forget([oldest])


def written(parts: Iterator[Part], between: Callable[[], None] = lambda: None) -> dict[str, list[bytearray]]:
    found: dict[str, list[bytearray]] = {}
    for part in parts:
        data = bytearray()
        for chunk in part.chunks:
            data += chunk
            between()
        assert len(data) == part.length
        found.setdefault(part.name, []).append(data)
    return found


def items_with(found: Restored, word: str) -> set[int]:
    return {item for item in found.postings.having(word) if found.table.knows(item)}


@given(changes, changes, changes)
def test_what_is_written_while_things_change_is_what_was_there_at_the_beginning(
    before: list[Entry | None], meanwhile: list[Entry | None], after: list[Entry | None]
) -> None:
    chunk, snapshot.CHUNK_BYTES = snapshot.CHUNK_BYTES, 64
    try:
        one = Engine()
        for change in before:
            one.change(change)
        known, last = dict(one.items), one.last
        coming = iter(meanwhile)
        found = restored(written(one.engine.parts(), lambda: one.change(next(coming)) if coming_left(coming) else None))
    finally:
        snapshot.CHUNK_BYTES = chunk
    expected = {number: item for number, item in known.items() if number in one.items}
    table = found.table
    assert [item for item in range(1, last + 1) if table.knows(item)] == sorted(expected)
    assert len(table) == len(expected)
    assert all(table.has(item) for item in expected.values())
    assert set(table.restricted) == {n for n, item in expected.items() if EVERYONE not in item.entry.audience}
    for number in {item.content for item in expected.values()}:
        of_it = {item for item, one in expected.items() if one.content == number}
        assert set(table.items_of(number)) == of_it
        assert table.number_of(content(number)) == number
    for word in WORDS:
        assert items_with(found, word) == {n for n in items_with(whole(one), word) if n in expected}
    # It goes on from there as if nothing had been: what came meanwhile is learned again.
    engine = Engine()
    engine.engine.take(found)
    engine.items, engine.last = expected, last
    for item in (item for number, item in one.items.items() if number > last):
        engine.items[item.id], engine.last = item, item.id
        engine.engine.learn([item])
    for change in after:
        engine.change(change)
    assert all(engine.table.has(item) for item in engine.items.values())
    assert len(engine.table) == len(engine.items)


def coming_left(coming: Any) -> bool:
    return bool(coming.__length_hint__())


def whole(one: Engine) -> Restored:
    return restored(written(one.engine.parts()))


def test_texts_of_items_that_are_gone_are_left_out() -> None:
    one = Engine()
    for number in range(100):
        one.change(Entry(content(1), 1, f"folder {number}", f"{number} {'n' * (number + 100)}"))
    for _ in range(60):
        one.change(None)
    found = whole(one)
    assert len(found.table.texts.arena) < len(one.table.texts.arena) // 2
    assert all(found.table.has(item) for item in one.items.values())


# --- The file ------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index.snapshot"


def write(path: Path, parts: Iterator[Part]) -> int:
    writer = SnapshotWriter(path)
    for part in parts:
        writer.begin(part.name, part.length)
        for chunk in part.chunks:
            writer.add(chunk)
    return writer.finish()


# Files have to be made and synced.
@settings(deadline=None)
@given(st.lists(st.tuples(changes, changes), min_size=1, max_size=3))
def test_an_engine_goes_on_while_its_names_and_ids_move_into_the_file(rounds: list[tuple[Any, Any]]) -> None:
    chunk, snapshot.CHUNK_BYTES = snapshot.CHUNK_BYTES, 64
    try:
        with TemporaryDirectory() as folder:
            one, path = Engine(), Path(folder) / "index.snapshot"
            for before, meanwhile in rounds:
                for change in before:
                    one.change(change)
                known, coming = dict(one.items), iter(meanwhile)
                writer = SnapshotWriter(path)
                for part in one.engine.parts():
                    writer.begin(part.name, part.length)
                    for data in part.chunks:
                        writer.add(data)
                        if coming_left(coming):
                            one.change(next(coming))
                writer.finish()
                one.table.rest_on({name: writer.stretch(name) for name in LEFT})
                has_what_it_should(one.table, one.items)
                found = restored(find_parts(path), LEFT).table
                has_what_it_should(found, {number: item for number, item in known.items() if number in one.items})
    finally:
        snapshot.CHUNK_BYTES = chunk


def has_what_it_should(table: ItemTable, items: dict[int, Item]) -> None:
    assert all(table.has(item) for item in items.values())
    assert len(table) == len(items)
    there = {item.content for item in items.values()}
    for number in range(1, 7):
        assert table.number_of(content(number)) == (number if number in there else None)
        if number in there:
            assert table.content_id(number) == content(number)


def test_a_file_that_shrinks_is_an_error_and_not_another_name(path: Path) -> None:
    path.write_bytes(b"0123456789")
    stretch = Stretch(OpenFile(path), 2, 6)
    assert (len(stretch), stretch.read(1, 4)) == (6, b"3456")
    path.write_bytes(b"0123")
    with pytest.raises(OSError, match="cut off"):
        stretch.read(1, 4)


def small_parts() -> Iterator[Part]:
    yield Part("one", 6, (b"abc", b"def"))
    yield Part("two", 0, ())
    yield Part("one", 1, (b"g",))


def test_a_file_has_the_parts_that_were_written(path: Path) -> None:
    assert write(path, small_parts()) == path.stat().st_size
    assert read_parts(path) == {"one": [b"abcdef", b"g"], "two": [b""]}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_each_flipped_bit_and_each_cut_is_found(path: Path) -> None:
    write(path, small_parts())
    good = path.read_bytes()
    for at in range(len(good)):
        for bit in (0, 7):
            path.write_bytes(good[:at] + bytes([good[at] ^ (1 << bit)]) + good[at + 1 :])
            with pytest.raises(SnapshotRefused):
                read_parts(path)
        path.write_bytes(good[:at])
        with pytest.raises(SnapshotRefused):
            read_parts(path)
    path.write_bytes(good + b"\0")
    with pytest.raises(SnapshotRefused):
        read_parts(path)


def test_one_that_is_given_up_leaves_the_one_before(path: Path) -> None:
    write(path, small_parts())
    writer = SnapshotWriter(path)
    writer.begin("one", 5)
    writer.abandon()
    assert read_parts(path)["two"] == [b""]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("parts", [{}, {"content": [bytearray(4)]}, {"content": [bytearray(3)]}])
def test_parts_that_are_not_what_they_should_be_are_refused(parts: dict[str, list[bytearray]]) -> None:
    with pytest.raises(SnapshotRefused):
        restored(parts)


# --- When it is used -----------------------------------------------------------------------------


class Inline:
    """A worker that works at once."""

    def run(self, work: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return maybeDeferred(work, *arguments)

    def stop(self) -> Deferred[None]:
        return maybeDeferred(lambda: None)


class Running:
    """An index with snapshots, as the daemon puts it together, on a store that outlives it."""

    def __init__(self, path: Path, store: MemoryStore, read: Callable[..., Any] | None = None) -> None:
        self.index = IndexScript(store=store)
        services = self.index.services
        file = SnapshotFile(path, Inline())  # type: ignore[arg-type]
        if read is not None:
            file.read = read  # type: ignore[method-assign]
        self.snapshots = Snapshots(
            file, self.index.clock, services.events, store, services.table, services.engine, services.catalogues
        )

    def begin(self) -> Running:
        self.index.background.start("load", self._load())
        self.index.wait(1)
        return self

    async def _load(self) -> None:
        await self.snapshots.load()
        await self.index.services.catalogues.load()
        await self.snapshots.run()

    def end(self) -> None:
        self.index.background.start("end", self.snapshots.stop())
        self.index.settle()
        assert self.index.faults == []

    def said(self) -> list[str]:
        return [event.event for event in self.index.said if event.event.startswith("index.snapshot")]


def store_with(*entries: Entry, user: str = "ann") -> MemoryStore:
    store = IndexScript().store
    IndexScript(store=store).online(user, *entries)
    assert isinstance(store, MemoryStore)
    return store


SONGS = [entry(f"Music/song {n}.mp3") for n in range(5)]
SECRET = entry("Music/song secret.mp3", audience=("@account-1",))


def test_a_new_start_takes_from_the_snapshot_what_it_has_and_from_the_store_the_rest(path: Path) -> None:
    store = store_with(*SONGS)
    first = Running(path, store).begin()
    assert first.said() == ["index.snapshot_refused"]
    assert "no snapshot" in first.index.events("index.snapshot_refused")[0]["error"]
    first.end()
    assert first.said() == ["index.snapshot_refused", "index.snapshot_written"]
    IndexScript(store=store).online("bob", entry("new.mp3"))
    asked: list[int] = []
    items_after = store.items_after

    def noted(after: int, limit: int) -> Deferred[Sequence[Item]]:
        asked.append(after)
        return items_after(after, limit)

    store.items_after = noted  # type: ignore[method-assign]
    second = Running(path, store).begin()
    assert second.said() == ["index.snapshot_loaded"]
    assert asked == [len(SONGS), len(SONGS) + 1]
    assert len(second.index.services.table) == len(SONGS) + 1


def test_an_empty_index_has_nothing_to_say_about_a_snapshot(path: Path) -> None:
    running = Running(path, store_with()).begin()
    running.end()
    assert running.said() == []


def test_what_an_asker_may_not_see_stays_hidden_after_a_start_from_the_snapshot(path: Path) -> None:
    store = store_with(*SONGS, SECRET)
    Running(path, store).begin().end()
    index = Running(path, store).begin().index
    ann = index.peer("ann")
    ann.entries = {*SONGS, SECRET}
    ann.revision = 1
    ann.login()
    bob = index.online("bob")
    assert {result.name for result in bob.search("song").results} == {song.name for song in SONGS}
    assert bob.search("secret").results == ()
    assert index.services.table.restricted == BitMap([6])


def test_nobody_comes_in_before_the_snapshot_is_there(path: Path) -> None:
    store = store_with(*SONGS)
    Running(path, store).begin().end()
    reading: Deferred[Restored] = Deferred()
    running = Running(path, store, lambda: reading).begin()
    ann = running.index.peer("ann")
    ann.hello()
    ann.say(ann.login_message())
    assert ann.all(wire.Welcome) == []
    reading.callback(restored(read_parts(path)))
    running.index.settle()
    assert len(ann.all(wire.Welcome)) == 1


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_a_damaged_snapshot_is_refused_and_everything_is_loaded(path: Path, damage: str) -> None:
    store = store_with(*SONGS)
    Running(path, store).begin().end()
    good = path.read_bytes()
    path.write_bytes({"flipped": good[:-40] + b"?" + good[-39:], "cut": good[:-1], "empty": b""}[damage])
    running = Running(path, store).begin()
    assert running.said() == ["index.snapshot_refused"]
    assert len(running.index.services.table) == len(SONGS)
    assert not path.exists()


def test_a_snapshot_of_another_database_or_of_a_later_state_is_refused(path: Path) -> None:
    Running(path, store_with(*SONGS)).begin().end()
    good = path.read_bytes()
    others = [store_with(*SONGS[:-1]), store_with(*SONGS[:-1], SECRET), store_with(*reversed(SONGS))]
    for store in others:
        path.write_bytes(good)
        running = Running(path, store).begin()
        assert running.said() == ["index.snapshot_refused"]
        assert not path.exists()
        services = running.index.services
        assert all(services.table.has(item) for item in store_items(store))


def test_what_was_swept_before_the_index_was_killed_is_forgotten_some_time_after_its_start(path: Path) -> None:
    store = store_with(*SONGS)
    Running(path, store).begin().end()
    killed = IndexScript(store=store)
    ann = killed.peer("ann")
    ann.entries, ann.revision = set(SONGS), 1
    ann.login()
    ann.announce(withdraw=(SONGS[1], SONGS[2]))
    housekeeping(killed).addErrback(killed.faults.append)
    killed.online("bob", entry("song new.mp3")).leave()
    running = Running(path, store).begin()
    services = running.index.services
    assert running.said() == ["index.snapshot_loaded"]
    assert len(services.table) == len(SONGS) + 1
    housekeeping(running.index)
    assert len(services.table) == len(SONGS) - 1
    assert {item for item in range(20) if services.table.knows(item)} == {1, 4, 5, 6}
    assert services.engine.frequency("song") == 4
    back = running.index.peer("ann")
    back.entries, back.revision = {SONGS[0], SONGS[3], SONGS[4]}, 2
    back.login()
    assert set(running.index.online("cat").found("song")) == {SONGS[n].name for n in (0, 3, 4)}
    assert running.index.faults == killed.faults == []


def housekeeping(index: IndexScript) -> Deferred[None]:
    """One round of it."""
    services = index.services
    work = Housekeeping(
        index.clock, index.now, services.store, services.presence, services.catalogues, services.retention
    )
    done = Deferred.fromCoroutine(work.round())
    index.wait(60)
    return done


def store_items(store: MemoryStore) -> Sequence[Item]:
    found: list[Sequence[Item]] = []
    store.items_after(0, 100).addCallback(found.append)
    return found[0]


def test_a_store_that_cannot_be_read_lets_people_in_all_the_same(path: Path) -> None:
    store = store_with(*SONGS)
    Running(path, store).begin().end()
    items = store.items
    store.items = lambda ids: maybeDeferred(broken)  # type: ignore[method-assign]
    running = Running(path, store)
    failed: list[Any] = []
    Deferred.fromCoroutine(running.snapshots.load()).addErrback(failed.append)
    assert failed[0].check(StoreFailed)
    store.items = items  # type: ignore[method-assign]
    assert path.exists()
    assert running.index.online("bob").search("song").results == ()


def broken() -> None:
    raise StoreFailed("the disk is gone")


def test_one_is_written_when_enough_has_changed(path: Path) -> None:
    store = store_with(*SONGS)
    running = Running(path, store).begin()
    running.index.wait(PERIOD_S, step=1)
    assert running.said()[-1:] == ["index.snapshot_written"]
    running.index.wait(2 * PERIOD_S, step=1)
    assert running.said().count("index.snapshot_written") == 1
    running.index.online("bob", entry("one more"))
    running.index.wait(PERIOD_S, step=1)
    assert running.said().count("index.snapshot_written") == 2
    running.end()
    assert running.said().count("index.snapshot_written") == 2


def test_a_disk_that_is_full_costs_a_line_in_the_log(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(writer: SnapshotWriter, name: str, length: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SnapshotWriter, "begin", full)
    running = Running(path, store_with(*SONGS)).begin()
    running.end()
    assert running.said() == ["index.snapshot_refused", "index.snapshot_failed"]
    assert list(path.parent.iterdir()) == []


def test_a_disk_that_hangs_does_not_keep_the_index_from_stopping(path: Path) -> None:
    running = Running(path, store_with(*SONGS)).begin()
    running.snapshots._file.write = lambda parts: Deferred()  # type: ignore[assignment, method-assign, return-value]
    running.end()
    running.index.clock.advance(snapshots.LAST_S)
    assert running.said()[-1] == "index.snapshot_failed"
    assert isinstance(running.index.clock, Clock)
