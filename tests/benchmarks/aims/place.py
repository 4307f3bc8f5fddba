"""Where a run works: a file system in memory of its own, which nobody else sees and which goes when it ends.

What is shared must not lie below /dev, so /dev/shm will not do; a private mount name space (`unshare`) needs no rights
on most systems, and leaves nothing behind.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

_MOUNT = 'mount -t tmpfs -o "size=$1,mode=0700" tmpfs "$2" && shift 2 && exec "$@"'


def run_in_memory(room: int, arguments: Sequence[str]) -> int | None:
    """Run the benchmark again in such a place; its exit status, or None if there is none to be had here."""
    if _available_bytes() < room:
        return None
    with tempfile.TemporaryDirectory(prefix="nm") as folder:

        def run(*command: str) -> int:
            rights = [] if os.geteuid() == 0 else ["--map-root-user"]
            mount = ["sh", "-c", _MOUNT, "sh", str(room), folder]
            return subprocess.run(["unshare", "--mount", *rights, *mount, *command], check=False).returncode

        try:
            if run("true"):
                return None
        except OSError:
            return None
        return run(sys.executable, "-m", "tests.benchmarks.aims", *arguments, "--folder", folder)


def is_in_memory(folder: Path) -> bool:
    """By the mount that it lies in."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    above = {str(path) for path in (folder.resolve(), *folder.resolve().parents)}
    # The last one mounted at the longest path that leads to the folder.
    kinds = {point: kind for _, point, kind, *_ in mounts if point in above}
    return kinds[max(kinds, key=len)] == "tmpfs"


def _available_bytes() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
