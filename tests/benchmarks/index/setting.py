"""What a run measures and how much of it: by option, else by the environment, else a million holdings."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import asdict, frozen

from ..scale import count

#: The parts, in the order in which they are run. The second works with what the first has built.
PARTS = ("inside", "daemon", "idle", "naive", "uhub")

#: What `QUICK=1` takes for what is not said otherwise: that everything runs, not what it costs.
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
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.index", description=__doc__)
    defaults = _QUICK if environment.get("QUICK") else {}

    def add(name: str, kind: Callable[[str], object], default: str, meaning: str) -> None:
        variable = name.upper()
        text = environment.get(variable) or defaults.get(variable) or default
        parser.add_argument(f"--{name}", type=kind, default=text, help=f"{meaning} (${variable}; {default})")

    add("holdings", count, "1000000", "files of all peers together")
    add("newcomers", count, "200000", "files that are registered when all peers are there")
    add("rate", count, "20000", "files a second that are registered while searches go on")
    add("rounds", count, "3", "times that each search is made")
    add("seconds", count, "10", "that a mixture is searched for")
    add("peers", count, "10000", "idle ones")
    add("naive", count, "300000", "files of the naive way, at most")
    add("clients", count, "1000", "of the hub that broadcasts")
    add("only", _parts, ",".join(PARTS), "what to measure")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where to work; 1 KB a file")
    parser.add_argument("--output", type=Path, default=Path("bench-index.json"), help="bench-index.json")
    return Setting(**vars(parser.parse_args(arguments)))


def setting_of_environment(arguments: Sequence[str]) -> Setting:
    return read_setting(arguments, os.environ)


def _parts(text: str) -> tuple[str, ...]:
    chosen = tuple(text.split(","))
    unknown = [part for part in chosen if part not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(PARTS)}")
    return chosen
