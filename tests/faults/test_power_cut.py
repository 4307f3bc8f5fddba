"""A power cut at any file operation: the queue is as it was told last, and every file is whole.

More of them: ``make crash``.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from random import Random

import pytest

from tests.support import sqlite_files
from tests.support.crash_run import (
    Recording,
    Seen,
    Snapshot,
    Source,
    World,
    check_files,
    check_taken_up,
    finish,
    record,
    without_hard_links,
)
from tests.support.file_log import Mark
from tests.support.power import Chance, Medium, RememberedDisk

SEEDS = int(os.environ.get("CRASH_SEEDS", "4"))
CUTS = int(os.environ.get("CRASH_CUTS", "60"))

pytestmark = pytest.mark.skipif(not sqlite_files.available(), reason="this Python has SQLite built in")


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_power_cut_anywhere_loses_nothing_that_was_told(
    seed: int, crash_source: Source, in_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if seed % 2:
        without_hard_links(monkeypatch)
    source = crash_source
    recording = record(source, in_memory / "bob", seed)
    steps = [at for at, entry in enumerate(recording.log.entries) if not isinstance(entry, Mark)]
    end = recording.log.entries.index(Mark(None))
    possible = [at for at in steps if at < end]
    rng = Random(seed)
    cuts = sorted(rng.sample(possible, min(CUTS, len(possible))))
    medium = Medium(str(recording.root), recording.names, recording.log.directories)
    fed = 0
    for cut in cuts:
        for entry in recording.log.entries[fed:cut]:
            medium.feed(entry)
        fed = cut
        kind = rng.choice(("drop", "keep", "torn", "torn"))
        try:
            _cut(recording, medium, cut, Chance(kind, Random(f"{seed} {cut}")), source)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, cut before entry {cut}, unsynced: {kind}: {error}") from error


def _cut(recording: Recording, medium: Medium, cut: int, chance: Chance, source: Source) -> None:
    shutil.rmtree(recording.root)
    made = medium.leave(chance)
    check_files(recording.root, source.contents)
    before, after = _told(recording, cut)
    world = World(source, recording.root, rate=None, disk=RememberedDisk(made, recording.log.identities))
    try:
        check_taken_up(world.snapshot(), before, after)
        finish(world, before)
    finally:
        world.end()


def _told(recording: Recording, cut: int) -> tuple[Snapshot, Snapshot | None]:
    """What was seen last before the cut while nothing was being changed, and after the change that was under way."""
    entries = recording.log.entries
    before: Snapshot = ()
    changing = False
    for entry in entries[:cut]:
        if isinstance(entry, Mark) and isinstance(entry.what, Seen):
            changing = entry.what.command
            if not changing:
                before = entry.what.snapshot
    if not changing:
        return before, None
    for entry in entries[cut:]:
        if isinstance(entry, Mark) and isinstance(entry.what, Seen) and not entry.what.command:
            return before, entry.what.snapshot
    raise AssertionError("a command had no end")
