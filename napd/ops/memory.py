"""What this process and those that it has started hold of the machine's memory."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def resident_bytes() -> int | None:
    """Memory that is really taken, None where the system does not tell."""
    try:
        pages = _pages("self")
    except (OSError, ValueError, IndexError):
        return None
    for child in _children():
        # It may have ended meanwhile.
        with suppress(OSError, ValueError, IndexError):
            pages += _pages(child)
    return pages * os.sysconf("SC_PAGESIZE")


def _pages(process: str) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1])


def _children() -> list[str]:
    """Of the main thread, which starts them."""
    try:
        return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    except OSError:
        return []
