"""Any file operation fails, once: nothing is corrupt, nothing is lost, and `queue retry` finishes it.

More of them: ``make crash``.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from napd.errors import ConfigurationError, DiskFailed, NapError, NoSpace
from napd.model import DownloadState
from napd.ops.database import open_database
from napd.peer.files.journal import SCHEMA
from tests.support import sqlite_files
from tests.support.crash_run import Source, check_files, finish, lived
from tests.support.file_log import Failing, FileLog, no_fault

FAULTS = int(os.environ.get("CRASH_FAULTS", "64"))
#: How an operation fails. A short write is one: half of it, and no reason given.
WAYS = {
    "no space": Failing(errno.ENOSPC),
    "quota": Failing(errno.EDQUOT),
    "input/output error": Failing(errno.EIO),
    "short write": Failing(errno.ENOSPC, short=True),
}

pytestmark = pytest.mark.skipif(not sqlite_files.available(), reason="this Python has SQLite built in")


class Once:
    """One operation fails."""

    def __init__(self, at: int, how: Failing) -> None:
        self.at = at
        self.how = how
        self.name: str | None = None
        self.seen = 0

    def __call__(self, number: int, name: str) -> Failing | None:
        self.seen += 1
        if self.seen == self.at:
            self.name = name
            return self.how
        return None


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("way", WAYS)
def test_any_operation_may_fail(way: str, part: int, crash_source: Source, in_memory: Path) -> None:
    rng = Random(f"{way} {part}")
    seed = rng.randrange(1000)
    whole = Once(0, WAYS[way])
    _live_with(whole, seed, crash_source, in_memory / "bob")
    hit: Counter[str] = Counter()
    for _ in range(max(1, FAULTS // 16)):
        fault = Once(rng.randrange(1, whole.seen), WAYS[way])
        try:
            _live_with(fault, seed, crash_source, in_memory / "bob")
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, operation {fault.at} ({fault.name}), {way}: {error}") from error
        assert fault.name is not None
        hit[fault.name] += 1
    print(f"seed {seed}: {whole.seen} operations, failed: {dict(hit)}")


def _live_with(fault: Once, seed: int, source: Source, root: Path) -> None:
    with lived(source, root, seed, fault) as (world, recording):
        _check_refusals(recording.refused, fault)
        for item in world.items:
            if item.state is DownloadState.FAILED:
                assert item.error is not None
                assert item.error.code in _codes(fault), item.error
        check_files(root, source.contents)
        recording.log.fault = no_fault
        # What the daemon says now is what it still says after a crash; the failed ones are tried again.
        before = world.snapshot()
        world.restart()
        after = {row.id: row for row in world.snapshot()}
        for row in before:
            assert after[row.id].content == row.content
            if row.state in (DownloadState.DONE, DownloadState.CANCELLED):
                assert after[row.id].state is row.state
        # A file may have its name and the journal not know: if the failed download is cancelled then, and wanted again,
        # it is fetched again. Its name is not taken away from it.
        finish(world, before, once=not str(fault.name).startswith("sqlite"))


def _codes(fault: Once) -> tuple[str, ...]:
    full = fault.how.number in (errno.ENOSPC, errno.EDQUOT)
    if fault.name is not None and fault.name.startswith("sqlite"):
        # SQLite calls most failures an I/O error, whatever the reason.
        return ("no_space", "disk")
    return ("no_space",) if full else ("disk",)


def _check_refusals(refused: list[NapError], fault: Once) -> None:
    for error in refused:
        assert isinstance(error, NoSpace | DiskFailed), error
        assert fault.name is not None


@pytest.mark.parametrize("way", WAYS)
def test_a_first_start_that_fails_is_refused_and_the_next_one_is_as_if_it_were_the_first(
    way: str, in_memory: Path
) -> None:
    for at in range(1, 200):
        root = in_memory / str(at)
        root.mkdir()
        fault = Once(at, WAYS[way])
        log = FileLog(str(root), fault)
        with log.recording():
            try:
                open_database(root / "queue.sqlite", SCHEMA).close()
            except (ConfigurationError, NoSpace):
                assert fault.name is not None
            log.fault = no_fault
            connection = open_database(root / "queue.sqlite", SCHEMA)
            assert connection.execute("SELECT count(*) FROM download").fetchone() == (0,)
            connection.close()
        if fault.name is None:
            assert at > 20
            return
    raise AssertionError("it does not come to an end")
