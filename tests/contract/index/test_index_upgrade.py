"""A database of version 1, as its release wrote it, becomes one of today with everything that was in it."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

import pytest
from twisted.internet import reactor

from napd.index.store.interface import Account, Change, Counts, Lapsed, NameTaken, Position, Step
from napd.index.store.sqlite.schema import scripts
from napd.index.store.sqlite.store import PAGE_BYTES, SqliteStore
from napd.model import EVERYONE, PeerId
from napd.ops.database import open_database
from napd.ops.events import Events
from napd.wire.catalogue import CatalogueDigest, Entry, catalogue_digest, entry_digest
from tests.support.index_script import entry
from tests.support.processes import ROOT

EPOCH = "e" * 64
#: What three accounts hold; ids are given in this order. One content has two names, one entry two holders.
HELD: Mapping[str, Sequence[Entry]] = {
    "ann": [
        entry("Music/Album/a.mp3", duration_s=266.6284, bitrate_kbps=320),
        entry("Music/Album/b.mp3", duration_s=0.0),
        entry("Müsic/🎉/c.mkv", seed="film", size=1 << 46, width=1920, height=1080, duration_s=5400.0),
    ],
    "bob": [
        entry("Music/Album/a.mp3", duration_s=266.6284, bitrate_kbps=320),
        entry("films/same.mkv", seed="film", size=1 << 46),
        entry("secret/for some", audience=("staff", "@account-1")),
    ],
    "eve": [],
}
#: Given to items and contents that have been swept away since.
SWEPT = 7


class VersionOne:
    """Writes as version 1 did."""

    def __init__(self, path: Path) -> None:
        self.connection = open_database(path, scripts()[:1], synchronous="OFF")
        self._contents: dict[str, int] = {}
        self._items: dict[bytes, int] = {}
        self._changes = 0

    def account(self, number: int, user: str) -> None:
        self.connection.execute(
            "INSERT INTO account VALUES (?, ?, ?, ?, ?, 1.5, 2.5)",
            (number, f"account-{number}", user, user[0] * 52, 10 + number),
        )
        self.connection.execute("UPDATE clock SET session = ?", (10 + number,))

    def announce(self, account: int, entries: Sequence[Entry]) -> None:
        ids = array("I", sorted({self._item(one) for one in entries}))
        self._changes += 1
        row = (bytes.fromhex(EPOCH), 5 + account, bytes.fromhex(catalogue_digest(entries)))
        self.connection.execute(
            "INSERT INTO catalogue VALUES (?, ?, ?, ?, ?, ?)", (account, *row, len(ids), ids.tobytes())
        )
        self.connection.execute(
            "INSERT INTO change VALUES (?, ?, ?, ?, ?, ?, ?)", (self._changes, account, *row, ids.tobytes(), b"")
        )
        self.connection.execute("UPDATE clock SET change = ?", (self._changes,))

    def sweep_something(self) -> None:
        """The newest item and content are gone; their numbers are not given again."""
        for number in range(SWEPT):
            self._item(entry(f"gone/{number}"))
        newest = len(self._items) - SWEPT
        self.connection.execute("DELETE FROM item WHERE id > ?", (newest,))
        self.connection.execute("DELETE FROM content WHERE number NOT IN (SELECT content FROM item)")

    def _item(self, one: Entry) -> int:
        digest = entry_digest(one)
        if digest not in self._items:
            if one.content not in self._contents:
                made = self.connection.execute("INSERT INTO content (hash) VALUES (?)", (bytes.fromhex(one.content),))
                self._contents[one.content] = made.lastrowid or 0
            media = one.media
            audience = None if one.audience == (EVERYONE,) else json.dumps(one.audience)
            made = self.connection.execute(
                "INSERT INTO item (digest, content, size, folder, name, audience, duration_s, bitrate_kbps, width, "
                "height) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (digest, self._contents[one.content], one.size, one.folder, one.name, audience, media.duration_s,
                 media.bitrate_kbps, media.width, media.height),
            )  # fmt: skip
            self._items[digest] = made.lastrowid or 0
        return self._items[digest]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "index.db"
    version_one = VersionOne(path)
    for number, (user, entries) in enumerate(HELD.items(), 1):
        version_one.account(number, user)
        if entries:
            version_one.announce(number, entries)
    version_one.sweep_something()
    version_one.connection.close()
    return path


def open_store(path: Path, events: Events | None = None) -> SqliteStore:
    return SqliteStore.open(reactor, path, lambda: "account-4", Random(1), events)


def as_kept(one: Entry) -> Entry:
    """Durations are kept to the millisecond, which is what an entry's digest has of them."""
    duration_s = one.media.duration_s
    return entry_with(one, None if duration_s is None else round(duration_s, 3))


def entry_with(one: Entry, duration_s: float | None) -> Entry:
    media = type(one.media)(duration_s, one.media.bitrate_kbps, one.media.width, one.media.height)
    return Entry(one.content, one.size, one.folder, one.name, one.audience, media)


async def test_everything_is_there_after_the_upgrade(old: Path) -> None:
    events = Events(lambda: 1.0)
    store = open_store(old, events)
    assert [event.fields for event in events.remembered()] == [{"from_version": 1, "to_version": len(scripts())}]

    assert await store.counts() == Counts(accounts=3, items=5, contents=4, listings=6)
    items = {item.id: item for item in await store.items_after(0, 100)}
    assert list(items) == [1, 2, 3, 4, 5]
    assert items[3].content == items[4].content
    for number, entries in enumerate(HELD.values(), 1):
        held = await store.items(await store.holdings(number))
        assert {item.entry for item in held} == {as_kept(one) for one in entries}
        assert catalogue_digest(item.entry for item in held) == catalogue_digest(entries)
        if entries:
            lapsed = Lapsed(number, 10 + number)
            assert lapsed in await store.unseen(3.0, 10)
        position = Position(EPOCH, 5 + number, catalogue_digest(entries)) if entries else Position()
        opened = await store.open_session(number, position, 9.0)
        assert (opened.session, opened.position) == (13 + number, position)
        assert [items[item].entry for item in opened.share] == [item.entry for item in held]

    assert await store.changes_since(0, 10) == [
        Change(1, 1, Position(EPOCH, 6, catalogue_digest(HELD["ann"])), array("I", [1, 2, 3]), array("I")),
        Change(2, 2, Position(EPOCH, 7, catalogue_digest(HELD["bob"])), array("I", [1, 4, 5]), array("I")),
    ]
    with sqlite3.connect(old) as looking:
        assert looking.execute("PRAGMA page_size").fetchone() == (PAGE_BYTES,)
        assert looking.execute("PRAGMA freelist_count").fetchone() == (0,)
    looking.close()
    assert await store.account_for("bob", PeerId("b" * 52), 9.0) == Account(2, "account-2", "bob", PeerId("b" * 52))
    with pytest.raises(NameTaken):
        await store.account_for("bob", PeerId("x" * 52), 9.0)
    await store.stop()


async def test_an_upgraded_catalogue_goes_on(old: Path) -> None:
    store = open_store(old)
    position = Position(EPOCH, 7, catalogue_digest(HELD["bob"]))
    opened = await store.open_session(2, position, 9.0)
    # One that ann has, one that is new with a content that is there, and away with one that is nobody else's.
    b, new, gone = HELD["ann"][1], entry("new/name.mkv", seed="film", size=1 << 46), HELD["bob"][2]
    applied = await store.apply(Step(2, opened.session, EPOCH, 7, 8, [b, new], [gone]), 100)
    # No number is given twice.
    assert [(item.id, item.content) for item in applied.added] == [(2, 2), (5 + SWEPT + 1, 3)]
    assert (applied.change, list(applied.withdrawn)) == (3, [5])
    digest = CatalogueDigest(position.digest)
    digest.add_all([entry_digest(b), entry_digest(new)])
    digest.remove_all([entry_digest(gone)])
    assert applied.position == Position(EPOCH, 8, digest.hex())

    assert list((await store.sweep(0)).removed) == [5]
    assert await store.counts() == Counts(accounts=3, items=5, contents=3, listings=7)
    again = await store.apply(Step(2, opened.session, EPOCH, 8, 9, [gone]), 100)
    assert [(item.id, item.content) for item in again.added] == [(5 + SWEPT + 2, 4 + SWEPT + 1)]
    await store.stop()


async def test_the_backup_is_what_was_there(old: Path) -> None:
    store = open_store(old)
    await store.stop()
    with sqlite3.connect(f"{old}.v1.bak") as backup:
        assert backup.execute("PRAGMA user_version").fetchone() == (1,)
        assert backup.execute("SELECT count(*), sum(size) FROM item").fetchone() == (5, 2 * (1 << 46) + 3000)
    backup.close()


#: Upgrades a database and is killed when it has come to so many values that SQL alone cannot make.
KILLED = """
import os, signal, sys
from pathlib import Path
from napd.index.store.sqlite.schema import FUNCTIONS, scripts
from napd.ops.database import open_database
left = int(sys.argv[2])
def counted(function):
    def call(value):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(value)
    return call
open_database(Path(sys.argv[1]), scripts(), functions={name: counted(one) for name, one in FUNCTIONS.items()})
"""


def rows_of(path: Path) -> Iterator[object]:
    with sqlite3.connect(path) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            yield table, connection.execute(f"SELECT * FROM {table}").fetchall()
        yield connection.execute("PRAGMA integrity_check").fetchall()
    connection.close()


def crash(path: Path, values: int) -> None:
    before = list(rows_of(path))
    crashed = subprocess.run([sys.executable, "-c", KILLED, str(path), str(values)], cwd=ROOT, timeout=30)
    assert crashed.returncode == -signal.SIGKILL
    assert list(rows_of(path)) == before
    assert path.with_name("index.db.v1.bak").exists()


@pytest.mark.parametrize("values", [0, 3, 7])
async def test_a_crash_in_the_middle_leaves_version_one_whole(old: Path, values: int) -> None:
    crash(old, values)
    store = open_store(old)
    assert await store.counts() == Counts(accounts=3, items=5, contents=4, listings=6)
    await store.stop()
