"""`make bench`: measure, print the table, write bench.json. Nothing passes or fails by time."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from . import machine, report
from .figures import Section
from .progress import said
from .scale import Scale, scale_of_environment
from .scan import Scan
from .small_files import SmallFiles
from .status import Status
from .transfer import Transfer


class Part(Protocol):
    """One part of a run: `sections` are filled by `run`, which works in its own empty folder."""

    @property
    def sections(self) -> list[Section]: ...
    def run(self) -> None: ...


_PARTS: dict[str, Callable[[Scale, Path, Callable[[str], None]], Part]] = {
    "transfer": Transfer,
    "files": SmallFiles,
    "scan": Scan,
    "status": Status,
}


def main() -> int:
    scale = scale_of_environment(sys.argv[1:])
    taken, load = datetime.now(UTC), machine.load()
    sections = run(scale)
    written = report.document(machine.describe(), scale.document(), f"{taken:%Y-%m-%dT%H:%M:%SZ}", load, sections)
    scale.output.write_text(report.to_json(written))
    print(report.table(sections))
    print("machine: " + ", ".join(f"{name} {value}" for name, value in written["machine"].items()))
    print(f"written: {scale.output}")
    return 0


def run(scale: Scale) -> list[Section]:
    sections: list[Section] = []
    for name in scale.parts:
        # Short: a control socket's path is limited to 107 bytes.
        with tempfile.TemporaryDirectory(prefix="nb", dir=scale.folder) as folder:
            part = _PARTS[name](scale, Path(folder), said)
            part.run()
            sections += part.sections
    return sections


if __name__ == "__main__":
    sys.exit(main())
