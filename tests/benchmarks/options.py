"""What a run measures and how much of it: by option, else by an environment variable of that name, else by default."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from napd.errors import Misuse
from napd.sizes import parse_size

MIB = 1 << 20


class Options:
    """:param quick: what `QUICK=1` takes for what is not said otherwise, by variable: everything runs, briefly."""

    def __init__(
        self, program: str, description: str | None, environment: Mapping[str, str], quick: Mapping[str, str]
    ) -> None:
        self._parser = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
        self._environment = environment
        self._quick = quick if environment.get("QUICK") else {}

    def add(self, name: str, kind: Callable[[str], object], default: str, meaning: str) -> None:
        variable = name.upper().replace("-", "_")
        text = self._environment.get(variable) or self._quick.get(variable) or default
        self._parser.add_argument(f"--{name}", type=kind, default=text, help=f"{meaning} (${variable}; {default})")

    def add_parts(self, name: str, parts: Sequence[str]) -> None:
        self.add(name, parts_among(parts), ",".join(parts), "what to measure")

    def add_place(self, name: str, default: Path | None, meaning: str) -> None:
        """Not from the environment, which has variables of such names for other purposes."""
        self._parser.add_argument(f"--{name}", type=Path, default=default, help=meaning)

    def read(self, arguments: Sequence[str]) -> dict[str, Any]:
        """By name. Exits with status 2 and a message when something is not understood."""
        return vars(self._parser.parse_args(arguments))


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


def parts_among(parts: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def chosen(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        unknown = [name for name in names if name not in parts]
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(parts)}")
        return names

    return chosen
