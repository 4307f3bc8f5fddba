"""What a run measures, how much of it, how often and where: the full job, unless it is told otherwise."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import asdict, frozen

from ..options import MIB, Options, count, size
from .place import is_in_memory

#: The parts, in the order in which they are run.
PARTS = (
    "nginx", "libtorrent", "wormhole", "disk", "sources", "shaped", "small", "memory", "scan", "resume",
)  # fmt: skip
#: Of the parts above, those that move one file from one peer to another, in turn with each other.
WHOLE_JOBS = ("nginx", "libtorrent", "wormhole")
#: How many times SIZE its place has to have room for: a file, what came of it, and as much again; and for daemons.
ROOM = 4
MORE_ROOM = 512 * MIB

#: See `Options`.
_QUICK = {"SIZE": "8MiB", "ROUNDS": "1", "FILES": "20", "MEMORY_SIZE": "16MiB", "RESUME_SIZE": "4GiB"}


@frozen
class Setting:
    """:ivar size: bytes of a whole job's file, and of the trees that are scanned.
    :ivar memory_size: bytes of the download from eight sources.
    :ivar resume_size: bytes of the partial download that is taken up.
    :ivar folder: None: a file system in memory is to be made, if there is room, and to be worked in.
    :ivar disk: where the parts `disk` and `memory` work.
    """

    size: int
    rounds: int
    files: int
    file_size: int
    memory_size: int
    resume_size: int
    only: tuple[str, ...]
    folder: Path | None
    disk: Path
    output: Path

    def document(self) -> dict[str, object]:
        """For the JSON: what one needs to know to compare two runs, and nothing of where they were."""
        shown = asdict(self)
        del shown["folder"], shown["disk"], shown["output"]
        return {**shown, "in_memory": self.in_memory}

    @property
    def place(self) -> Path:
        """Where to work."""
        return self.folder or self.disk

    @property
    def in_memory(self) -> bool:
        return is_in_memory(self.place)

    @property
    def room(self) -> int:
        """Bytes that its place should have."""
        return ROOM * self.size + MORE_ROOM


def read_setting(arguments: Sequence[str], environment: Mapping[str, str]) -> Setting:
    """Exits with status 2 and a message when something is not understood."""
    options = Options("tests.benchmarks.aims", __doc__, environment, _QUICK)
    options.add("size", size, "1GiB", "of the file of a whole job, and of the trees that are scanned")
    options.add("rounds", count, "5", "times that each thing is measured")
    options.add("files", count, "2000", "small files")
    options.add("file-size", size, "16KiB", "of each small file")
    options.add("memory-size", size, "10GiB", "of the download from eight sources")
    options.add("resume-size", size, "100GiB", "of the sparse partial download that is taken up")
    options.add_parts("only", PARTS)
    options.add_place("folder", None, "where to work (memory, else --disk)")
    options.add_place("disk", Path(tempfile.gettempdir()), "a folder on a disk, for what is to be synced")
    options.add_place("output", Path("bench-transfer.json"), "bench-transfer.json")
    return Setting(**options.read(arguments))


def setting_of_environment(arguments: Sequence[str]) -> Setting:
    return read_setting(arguments, os.environ)
