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
from ..aims.rows import Row
from ..aims.table import rows_document, rows_table
from .corpus import Corpus
from .parts import PARTS, Work
from .setting import Setting, setting_of_environment


def main() -> int:
    setting = setting_of_environment(sys.argv[1:])
    # Each peer is a connection here and there.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    taken, load = datetime.now(UTC), machine.load()
    rows: list[Row] = []
    figures: dict[str, int] = {}
    # Short: a control socket's path is limited to 107 bytes.
    with tempfile.TemporaryDirectory(prefix="nbi", dir=setting.folder) as folder:
        try:
            work = Work(setting, Path(folder), _corpus(setting, Path(folder)), _said)
            figures = work.corpus.figures
            for name in setting.only:
                rows += PARTS[name](work).rows
        finally:
            written = report.document(machine.describe(), setting.document(), f"{taken:%Y-%m-%dT%H:%M:%SZ}", load, ())
            document = {**written, "corpus": figures, "rows": rows_document(rows)}
            setting.output.write_text(report.to_json(document))
    print("corpus: " + ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in figures.items()))
    print("aims are those of 10 million holdings\n")
    print(rows_table(rows))
    print("machine: " + ", ".join(f"{name} {value}" for name, value in written["machine"].items()))
    print(f"written: {setting.output}")
    return 0


def _corpus(setting: Setting, folder: Path) -> Corpus:
    """Made by a process of its own, whose memory is gone afterwards."""
    _said(f"making up a community with {setting.holdings:,} holdings")
    place = folder / "corpus"
    place.mkdir()
    command = [
        sys.executable, "-m", "tests.benchmarks.index.corpus", str(place), str(setting.holdings),
        str(setting.newcomers),
    ]  # fmt: skip
    subprocess.run(command, check=True, cwd=ROOT, env=environment())
    return Corpus.read(place)


def _said(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
