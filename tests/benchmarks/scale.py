"""How much a run moves: the full job, unless it is told otherwise."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import asdict, frozen

from .options import Options, count, size

#: The parts of a run, in the order in which they are run.
PARTS = ("transfer", "files", "scan", "status")


@frozen
class Scale:
    """:ivar size: bytes of the large transfer, and of the tree that is scanned.
    :ivar files: how many small files of `file_size` bytes.
    :ivar rounds: how often each thing is measured; what is compared takes turns.
    :ivar folder: where everything happens; its disk is what is written to.
    """

    size: int
    files: int
    file_size: int
    rounds: int
    parts: tuple[str, ...]
    folder: Path
    output: Path

    def document(self) -> dict[str, object]:
        """For bench.json: what one needs to know to compare two runs, and nothing of where they were."""
        shown = asdict(self)
        del shown["folder"], shown["output"]
        return shown


def read_scale(arguments: Sequence[str], environment: Mapping[str, str]) -> Scale:
    """Exits with status 2 and a message when something is not understood."""
    options = Options("tests.benchmarks", __doc__, environment, {})
    options.add("size", size, "1GiB", "of the large file, and of the tree that is scanned")
    options.add("files", count, "2000", "small files")
    options.add("file-size", size, "16KiB", "of each small file")
    options.add("rounds", count, "5", "times that each thing is measured")
    options.add_parts("parts", PARTS)
    options.add_place("folder", Path(tempfile.gettempdir()), "where to work; four SIZE")
    options.add_place("output", Path("bench.json"), "bench.json")
    return Scale(**options.read(arguments))


def scale_of_environment(arguments: Sequence[str]) -> Scale:
    return read_scale(arguments, os.environ)
