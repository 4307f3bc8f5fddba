"""Many small files: each hashed, stored under its name and journalled; in memory, and where syncing has a price."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from ..scale import Scale
from ..small_files import SmallFiles
from .rows import Outcome, at_least
from .setting import Setting


def small(setting: Setting, folder: Path, said: Callable[[str], None]) -> Outcome:
    outcome = Outcome()
    what = f"{setting.files:,} files of {setting.file_size / 1024:,.0f} KiB"
    _measure(setting, folder, outcome, said, what)
    outcome.rows[0].aim = at_least(5000)
    with tempfile.TemporaryDirectory(prefix="nb", dir=setting.disk) as disk:
        _measure(setting, Path(disk), outcome, said, f"{what}, on a disk")
    return outcome


def _measure(setting: Setting, folder: Path, outcome: Outcome, said: Callable[[str], None], name: str) -> None:
    scale = Scale(
        size=setting.size,
        files=setting.files,
        file_size=setting.file_size,
        rounds=setting.rounds,
        parts=(),
        folder=folder,
        output=setting.output,
    )
    part = SmallFiles(scale, folder, said)
    part.time.title = name
    part.run()
    outcome.row(name, "files/s").figure.samples[:] = part.napd.samples
    outcome.sections += part.sections
