"""`make bench-transfer`: measure, print the table, write bench-transfer.json. Nothing passes or fails by time."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from .. import machine, report
from ..progress import said
from .place import run_in_memory
from .resume import resume
from .rows import Outcome
from .scan import scan
from .setting import WHOLE_JOBS, Setting, setting_of_environment
from .several import four_sources, memory, shaped_sources
from .small import small
from .table import rows_document, rows_table
from .whole_job import in_memory, on_disk

Part = Callable[[Setting, Path, Callable[[str], None]], Outcome]

_PARTS: dict[str, Part] = {
    **dict.fromkeys(WHOLE_JOBS, in_memory),
    "disk": on_disk,
    "sources": four_sources,
    "shaped": shaped_sources,
    "small": small,
    "memory": memory,
    "scan": scan,
    "resume": resume,
}
#: These write so much, or are about writing, that memory will not do.
_ON_DISK = ("disk", "memory")


def main() -> int:
    setting = setting_of_environment(sys.argv[1:])
    if setting.folder is None:
        status = run_in_memory(setting.room, sys.argv[1:])
        if status is not None:
            return status
        said("there is no place in memory to work in: everything happens on the disk")
    taken, load = datetime.now(UTC), machine.load()
    whole = Outcome()
    try:
        for outcome in _outcomes(setting):
            whole.rows += outcome.rows
            whole.sections += outcome.sections
    finally:
        written = report.document(
            machine.describe(), setting.document(), f"{taken:%Y-%m-%dT%H:%M:%SZ}", load, whole.sections
        )
        setting.output.write_text(report.to_json({**written, "rows": rows_document(whole.rows)}))
    print(report.table(whole.sections))
    print(rows_table(whole.rows))
    print("machine: " + ", ".join(f"{name} {value}" for name, value in written["machine"].items()))
    print(f"written: {setting.output}")
    return 0


def _outcomes(setting: Setting) -> Iterator[Outcome]:
    done: list[Part] = []
    for name in setting.only:
        part = _PARTS[name]
        # The whole jobs are one part: they take turns.
        if part not in done:
            done.append(part)
            where = setting.disk if name in _ON_DISK else setting.place
            # Short: a control socket's path is limited to 107 bytes.
            with tempfile.TemporaryDirectory(prefix="nb", dir=where) as folder:
                yield part(setting, Path(folder), said)


if __name__ == "__main__":
    sys.exit(main())
