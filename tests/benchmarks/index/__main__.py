"""`make bench-index`: measure, print the table, write bench-index.json. Nothing passes or fails by time."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from tests.support.processes import ROOT, environment

from .. import machine, report
from ..aims.table import rows_document, rows_table
from ..progress import said
from .corpus import Corpus
from .parts import PARTS, Work
from .setting import Setting, setting_of_environment


def main() -> int:
    setting = setting_of_environment(sys.argv[1:])
    # Each peer is a connection here and there.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    taken, load = datetime.now(UTC), machine.load()
    written = report.document(machine.describe(), setting.document(), f"{taken:%Y-%m-%dT%H:%M:%SZ}", load, ())

    def write(work: Work) -> None:
        """What there is so far: a run takes long, and may be ended by anything."""
        rows = rows_document(work.outcome.rows)
        setting.output.write_text(report.to_json({**written, "corpus": work.corpus.figures, "rows": rows}))

    # Short: a control socket's path is limited to 107 bytes.
    with tempfile.TemporaryDirectory(prefix="nbi", dir=setting.folder) as folder:
        work = Work(setting, Path(folder), _corpus(setting, Path(folder)))
        try:
            for name in setting.only:
                PARTS[name](work)
                write(work)
        finally:
            write(work)
            figures = work.corpus.figures
            print("corpus: " + ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in figures.items()))
            print("aims are those of 10 million holdings\n")
            print(rows_table(work.outcome.rows))
            print("machine: " + ", ".join(f"{name} {value}" for name, value in written["machine"].items()))
            print(f"written: {setting.output}")
    return 0


def _corpus(setting: Setting, folder: Path) -> Corpus:
    """Made by a process of its own, whose memory is gone afterwards."""
    said(f"making up a community with {setting.holdings:,} holdings")
    place = folder / "corpus"
    place.mkdir()
    command = [
        sys.executable, "-m", "tests.benchmarks.index.corpus", str(place), str(setting.holdings),
        str(setting.newcomers),
    ]  # fmt: skip
    subprocess.run(command, check=True, cwd=ROOT, env=environment())
    return Corpus.read(place)


if __name__ == "__main__":
    sys.exit(main())
