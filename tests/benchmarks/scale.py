"""How much a run moves: by option, else by an environment variable of the same name, else the full job."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from attrs import asdict, frozen

from napd.errors import Misuse
from napd.sizes import parse_size

MIB = 1 << 20
#: The parts of a run, in the order in which they are run.
PARTS = ("transfer", "files", "scan", "status")

T = TypeVar("T")


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
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)

    def add(name: str, kind: Callable[[str], T], default: str, meaning: str) -> None:
        variable = name.upper().replace("-", "_")
        text = environment.get(variable) or default
        parser.add_argument(f"--{name}", type=kind, default=text, help=f"{meaning} (${variable}; {default})")

    add("size", size, "1GiB", "of the large file, and of the tree that is scanned")
    add("files", count, "2000", "small files")
    add("file-size", size, "16KiB", "of each small file")
    add("rounds", count, "5", "times that each thing is measured")
    add("parts", _parts, ",".join(PARTS), "what to measure")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where to work; four SIZE")
    parser.add_argument("--output", type=Path, default=Path("bench.json"), help="bench.json")
    return Scale(**vars(parser.parse_args(arguments)))


def scale_of_environment(arguments: Sequence[str]) -> Scale:
    return read_scale(arguments, os.environ)


def size(text: str) -> int:
    try:
        bytes_ = parse_size(text)
    except Misuse as error:
        raise argparse.ArgumentTypeError(f"{error.message}: {error.hint}") from error
    if bytes_ < 1:
        raise argparse.ArgumentTypeError("at least a byte")
    return bytes_


def count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _parts(text: str) -> tuple[str, ...]:
    chosen = tuple(text.split(","))
    unknown = [part for part in chosen if part not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(PARTS)}")
    return chosen
