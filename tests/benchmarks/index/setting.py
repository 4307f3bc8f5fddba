"""What a run measures and how much of it: a million holdings, unless it is told otherwise."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import asdict, frozen

from ..options import Options, count

#: The parts, in the order in which they are run. The second works with what the first has built.
PARTS = ("inside", "daemon", "idle", "naive", "uhub")

#: See `Options`.
_QUICK = {
    "HOLDINGS": "6000", "NEWCOMERS": "2000", "ROUNDS": "1", "SECONDS": "1", "PEERS": "20", "NAIVE": "2000",
    "CLIENTS": "20",
}  # fmt: skip


@frozen
class Setting:
    """:ivar holdings: of all peers together.
    :ivar newcomers: holdings that are registered when all are there, in two halves: as fast as can be, and at `rate`.
    :ivar rate: holdings a second that are registered while searches go on.
    :ivar rounds: times that each search is made; :ivar seconds: that a mixture is searched for.
    :ivar peers: idle ones; :ivar naive: holdings of the naive way, at most; :ivar clients: of the hub.
    """

    holdings: int
    newcomers: int
    rate: int
    rounds: int
    seconds: int
    peers: int
    naive: int
    clients: int
    only: tuple[str, ...]
    folder: Path
    output: Path

    def document(self) -> dict[str, object]:
        """For the JSON: what one needs to know to compare two runs, and nothing of where they were."""
        shown = asdict(self)
        del shown["folder"], shown["output"]
        return shown


def read_setting(arguments: Sequence[str], environment: Mapping[str, str]) -> Setting:
    """Exits with status 2 and a message when something is not understood."""
    options = Options("tests.benchmarks.index", __doc__, environment, _QUICK)
    options.add("holdings", count, "1000000", "files of all peers together")
    options.add("newcomers", count, "200000", "files that are registered when all peers are there")
    options.add("rate", count, "20000", "files a second that are registered while searches go on")
    options.add("rounds", count, "3", "times that each search is made")
    options.add("seconds", count, "10", "that a mixture is searched for")
    options.add("peers", count, "10000", "idle ones")
    options.add("naive", count, "300000", "files of the naive way, at most")
    options.add("clients", count, "1000", "of the hub that broadcasts")
    options.add_parts("only", PARTS)
    options.add_place("folder", Path(tempfile.gettempdir()), "where to work; 1 KB a file")
    options.add_place("output", Path("bench-index.json"), "bench-index.json")
    return Setting(**options.read(arguments))


def setting_of_environment(arguments: Sequence[str]) -> Setting:
    return read_setting(arguments, os.environ)
