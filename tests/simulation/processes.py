"""What a process has besides its memory: threads that take time, and descriptors that the kernel closes for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred

from napd.errors import DiskFailed
from napd.peer.files.disk import Disk
from tests.simulation.clock import ProcessClock


@define(eq=False, repr=False)
class SlowWork:
    """Stands for threads: work is done, and told, some time later; in order if there is one thread only."""

    clock: ProcessClock
    chance: Random
    in_order: bool = False
    _free_at: float = 0.0
    _pending: dict[int, Callable[[], object]] = field(factory=dict)
    _next: int = 0

    def run(self, work: Callable[..., Any], /, *args: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self._next += 1
        number = self._next
        self._pending[number] = lambda: work(*args)

        def act() -> None:
            del self._pending[number]
            try:
                result = work(*args)
            except Exception as error:
                if not done.called:
                    done.errback(error)
            else:
                if not done.called:
                    done.callback(result)

        self.clock.callLater(self._delay(), act)
        return done

    def die(self) -> None:
        """Some of what was under way is done, and nobody hears of it."""
        works = list(self._pending.values())
        self._pending.clear()
        for work in works[: self.chance.randrange(len(works) + 1)]:
            try:
                work()
            except Exception:
                # It would not have been heard of either.
                continue

    def _delay(self) -> float:
        delay = self.chance.expovariate(500)
        if self.chance.random() < 0.002:
            delay += self.chance.uniform(0.1, 2.0)
        if not self.in_order:
            return delay
        now = self.clock.seconds()
        self._free_at = max(self._free_at, now) + delay
        return self._free_at - now


class UnsyncedDisk(Disk):
    """Real files; a machine does not lose its power here, so nothing needs to reach the platter."""

    def sync_data(self, descriptor: int) -> None:
        os.fstat(descriptor)

    def sync(self, descriptor: int) -> None:
        os.fstat(descriptor)

    def sync_directory(self, path: str) -> None:
        if not os.path.isdir(path):
            raise DiskFailed(f"{path}: there is no such directory")

    def begin_sync(self, descriptor: int) -> None:
        os.fstat(descriptor)


def descriptors_in(directory: Path) -> dict[int, str]:
    """Open descriptors of files in there, deleted ones among them, by the path they were opened under."""
    found = {}
    inside = f"{directory}{os.sep}"
    for name in os.listdir("/proc/self/fd"):
        try:
            path = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if path.startswith(inside):
            found[int(name)] = path
    return found


def close_descriptors_in(directory: Path) -> None:
    """What a kernel does for a process that is gone."""
    for descriptor in descriptors_in(directory):
        os.close(descriptor)
