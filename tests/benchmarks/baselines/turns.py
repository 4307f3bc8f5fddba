"""How a baseline and the benchmark take turns: ``ready``, wait for a line, work, ``done``, wait for the end of stdin.

The process lives until its figures are read.
"""

from __future__ import annotations

import sys


def say(word: object) -> None:
    print(word, flush=True)


def wait_for_go() -> None:
    if not sys.stdin.readline():
        raise SystemExit("not told to go")


def wait_for_end() -> None:
    sys.stdin.read()
