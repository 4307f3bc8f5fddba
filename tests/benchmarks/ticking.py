"""A daemon with a clock in it: ``python -m tests.benchmarks.ticking FILE TWISTD-ARGUMENTS``.

It is `twistd` with one more timed call, every 10 ms, which writes down how late the reactor came to it. A reactor that
is held up misses several: each of them counts, with its own lateness. Nothing of the daemon is changed.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.interfaces import IReactorTime
from twisted.scripts.twistd import run

EVERY_S = 0.01
_ONE = struct.Struct("dd")

reactor: Any = global_reactor


class Ticks:
    """On the reactor's thread. :param path: of pairs of doubles: when a tick was due (monotonic), how late it was."""

    def __init__(self, path: str, clock: IReactorTime, now: Callable[[], float]) -> None:
        self._clock = clock
        self._now = now
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def begin(self) -> None:
        self._due = self._now()
        self._tick()

    def _tick(self) -> None:
        now = self._now()
        while self._due <= now:
            os.write(self._file, _ONE.pack(self._due, now - self._due))
            self._due += EVERY_S
        self._clock.callLater(self._due - now, self._tick)


def late_ms(path: Path, since: float, until: float) -> list[float]:
    """How late each tick was that was due between these two moments of the monotonic clock."""
    both = array("d", path.read_bytes())
    return [late * 1000 for due, late in zip(both[::2], both[1::2], strict=True) if since <= due <= until]


if __name__ == "__main__":
    _, file, *arguments = sys.argv
    reactor.callWhenRunning(Ticks(file, reactor, time.monotonic).begin)
    sys.argv = ["twistd", *arguments]
    run()
