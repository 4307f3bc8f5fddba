"""A share seen for the first time, beside `b3sum` over the same tree: one large file, many small ones, a mixture."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

from ..files import MIB, random_file, random_tree, small_files, warm
from ..scan import scanned_s
from ..usage import spent_by_command
from .rows import Outcome, at_least
from .setting import Setting
from .tools import absent_programs


def scan(setting: Setting, folder: Path, said: Callable[[str], None]) -> Outcome:
    outcome = Outcome()
    trees: dict[str, Callable[[Path], int]] = {
        f"one file of {setting.size / MIB:,.0f} MiB": lambda tree: _one_file(tree, setting.size),
        f"{setting.size / MIB:,.0f} MiB of files from 0.4 to 64 MiB": lambda tree: random_tree(
            tree, setting.size, Random(4)
        ),
        f"{setting.files:,} files of {setting.file_size / 1024:,.0f} KiB": lambda tree: _small(tree, setting),
    }
    absent = absent_programs("b3sum")
    for number, (name, make) in enumerate(trees.items()):
        row = outcome.row(f"share scan, against b3sum: {name}", "×", at_least(0.9))
        row.skipped = absent
        if absent is None:
            tree = folder / f"tree{number}"
            files = make(tree)
            paths = [os.fspath(path) for path in tree.rglob("*") if path.is_file()]
            warm(tree)
            times = outcome.section(f"Share scan: {name}")
            b3sum = times.figure("b3sum", "s")
            napd = times.figure("napd, to the last file listed", "s", b3sum)
            for turn in range(setting.rounds):
                said(f"scan of {name}, round {turn + 1} of {setting.rounds}")
                # It is given the names: it need not look for them.
                b3sum.add(spent_by_command([], ["b3sum", *paths]).wall_s)
                napd.add(scanned_s(folder, tree, files, number * setting.rounds + turn))
                row.add(b3sum.samples[-1] / napd.samples[-1])
    return outcome


def _one_file(tree: Path, size: int) -> int:
    random_file(tree / "large.bin", size, Random(1))
    return 1


def _small(tree: Path, setting: Setting) -> int:
    small_files(tree, setting.files, setting.file_size, Random(3))
    return setting.files
