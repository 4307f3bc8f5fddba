"""The log of the catalogue: from any revision there was, its steps lead to the same set and digest."""

from __future__ import annotations

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napd.ops.database import open_database
from napd.peer.shares.catalogue import CatalogueLog
from napd.peer.shares.reader import HEADROOM_BYTES, Reader
from napd.peer.shares.schema import SCHEMA
from napd.wire.catalogue import Entry, catalogue_digest
from napd.wire.index import MAX_BATCH, Announce
from napd.wire.line import MAX_LINE_BYTES, encode

ENTRIES = [Entry(content=f"{number:064x}", size=number, folder="music", name=f"song {number}") for number in range(8)]


class Log:
    """A log in a database of its own, committed after each change."""

    def __init__(self, path: Path, kept: int = 1000) -> None:
        self.database = open_database(path, SCHEMA, synchronous="OFF")
        self.log = CatalogueLog(self.database, Random(5), kept)
        self.reader = Reader(path)
        self.rows: dict[str, list[int]] = {}

    def enter(self, entry: Entry) -> None:
        self.rows.setdefault(entry.name, []).append(self.log.enter(entry))
        self.log.save()

    def leave(self, entry: Entry) -> None:
        if self.rows.get(entry.name):
            self.log.leave(self.rows[entry.name].pop(), entry.size)
            self.log.save()

    def catch_up(self, after: int, copy: set[str], limit_bytes: int = MAX_LINE_BYTES) -> int:
        """Apply steps to a copy (of names), as an index does.

        Begin anew where the log does not reach back, and where the digest at the end is not the copy's: that is when
        the copy is at a revision that a list sent whole has just come by, and so cannot be told from that.
        """
        by_name = {entry.name: entry for entry in ENTRIES}
        whole = False
        while True:
            whole = whole or after == 0
            try:
                step = self.reader.step(after, limit_bytes)
            except LookupError:
                assert after > 0
                copy.clear()
                after = 0
                continue
            if step is None:
                break
            assert step.revision > after
            copy.difference_update(entry.name for entry in step.withdraw)
            copy.update(entry.name for entry in step.add)
            after = step.revision
            if step.digest not in (None, catalogue_digest(by_name[name] for name in copy)):
                assert not whole
                copy.clear()
                after = 0
        return after

    def close(self) -> None:
        self.reader.close()
        self.database.close()


@settings(max_examples=60, deadline=None)
@given(
    changes=st.lists(st.tuples(st.booleans(), st.sampled_from(ENTRIES)), max_size=60),
    kept=st.sampled_from([0, 1, 3, 1000]),
    limit_bytes=st.sampled_from([HEADROOM_BYTES + 1, HEADROOM_BYTES + 250, MAX_LINE_BYTES]),
)
def test_from_every_revision_the_steps_lead_to_the_same_set(
    changes: list[tuple[bool, Entry]], kept: int, limit_bytes: int
) -> None:
    with TemporaryDirectory() as directory:
        log = Log(Path(directory) / "shares.sqlite", kept)
        copies: dict[int, set[str]] = {0: set()}
        for enter, entry in changes:
            log.enter(entry) if enter else log.leave(entry)
            copies[log.log.position().revision] = {name for name, rows in log.rows.items() if rows}
        position = log.log.position()
        expected = copies[position.revision]
        assert position.listings == len(expected)
        assert position.bytes == sum(entry.size for entry in ENTRIES if entry.name in expected)
        for revision, copy in copies.items():
            assert log.catch_up(revision, copy, limit_bytes) == position.revision
            assert copy == expected
        log.close()


def test_a_list_sent_whole_goes_on_below_the_floor_but_not_over_a_prune(tmp_path: Path) -> None:
    log = Log(tmp_path / "shares.sqlite", kept=1)
    for entry in ENTRIES:
        log.enter(entry)
    for _ in range(3):
        log.leave(ENTRIES[7])
        log.enter(ENTRIES[7])
    for entry in ENTRIES[4:7]:
        log.leave(entry)
    one_by_one = HEADROOM_BYTES + 1
    first = log.reader.step(0, one_by_one)
    assert first is not None and first.digest is None
    second = log.reader.step(first.revision, one_by_one)
    assert second is not None and second.revision > first.revision
    # A copy as old, but of another run than this one's, is taken for this one's: the digest at the end tells.
    with pytest.raises(LookupError):
        Reader(tmp_path / "shares.sqlite").step(first.revision, one_by_one)
    for entry in ENTRIES[:3]:
        log.leave(entry)
    with pytest.raises(LookupError):
        log.reader.step(second.revision, one_by_one)
    log.close()


def test_a_revision_that_never_was_is_no_place_to_go_on_from(tmp_path: Path) -> None:
    log = Log(tmp_path / "shares.sqlite")
    with pytest.raises(LookupError):
        log.reader.step(1, MAX_LINE_BYTES)
    assert log.reader.step(0, MAX_LINE_BYTES) is None
    log.close()


def test_every_step_fits_in_a_line_and_a_batch(tmp_path: Path) -> None:
    log = Log(tmp_path / "shares.sqlite")
    long = "\x01" * 2047
    for number in range(30):
        log.log.enter(Entry(content=f"{number:064x}", size=1, folder=f"{number % 10}{long}", name="\ufffd" * 255))
    for number in range(2 * MAX_BATCH):
        log.log.enter(Entry(content=f"{number:064x}", size=1, folder="m", name="n"))
    log.log.save()
    after = count = 0
    while step := log.reader.step(after, MAX_LINE_BYTES):
        assert 0 < len(step.add) <= MAX_BATCH
        epoch = log.log.position().epoch
        encode(Announce(epoch, after, step.revision, tuple(step.add), tuple(step.withdraw), True, "0" * 64))
        count += len(step.add)
        after = step.revision
    assert count == 30 + 2 * MAX_BATCH
    log.close()


def test_the_epoch_is_made_with_the_database_and_stays(tmp_path: Path) -> None:
    log = Log(tmp_path / "shares.sqlite")
    log.enter(ENTRIES[1])
    position = log.log.position()
    assert msgspec.convert(position.epoch, str) == f"{Random(5).getrandbits(256):064x}"
    log.close()
    again = Log(tmp_path / "shares.sqlite")
    assert again.log.position() == position
    again.close()
