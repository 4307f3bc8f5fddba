"""How bytes are moved and kept, the same in all copies."""

from __future__ import annotations

import os

#: Bytes read or written at once. File systems write whole aligned blocks at a third of the price of odd ones.
BLOCK_BYTES = 1 << 20


def create(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def keep(descriptor: int, *, synced: bool) -> None:
    """The file is complete."""
    if synced:
        os.fsync(descriptor)
    os.close(descriptor)
