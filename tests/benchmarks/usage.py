"""What a process has used, as Linux counts it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from time import clock_gettime, perf_counter

from attrs import frozen

_CPUCLOCK_SCHED = 2
#: What clear_refs takes to forget the highest resident size so far.
_FORGET_PEAK = "5"


def cpu_s(pid: int) -> float:
    """User and system seconds of all its threads, ended ones too."""
    # What clock_getcpuclockid() makes of a process id on Linux; the times in /proc are only in hundredths.
    return clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)


def resident_bytes(pid: int) -> int:
    return _memory(pid, "VmRSS:")


def peak_bytes(pid: int) -> int:
    """The most that was resident since it began, or since `forget_peak`."""
    return _memory(pid, "VmHWM:")


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text(_FORGET_PEAK)


def _memory(pid: int, field: str) -> int:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


@frozen
class Spent:
    """:ivar cpu_s: of each process, in the order in which they were given."""

    wall_s: float
    cpu_s: tuple[float, ...]


def spent(pids: Sequence[int], work: Callable[[], object]) -> Spent:
    """What `work` takes, and what these processes use meanwhile."""
    before = [cpu_s(pid) for pid in pids]
    began = perf_counter()
    work()
    wall_s = perf_counter() - began
    return Spent(wall_s, tuple(cpu_s(pid) - used for pid, used in zip(pids, before, strict=True)))


def spent_by_command(pids: Sequence[int], command: Sequence[str]) -> Spent:
    """The same for a command that runs to its end: its own use comes last."""
    used: list[float] = []

    def work() -> None:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{command[0]} ended with {process.returncode}")
        used.append(usage.ru_utime + usage.ru_stime)

    took = spent(pids, work)
    return Spent(took.wall_s, (*took.cpu_s, *used))
