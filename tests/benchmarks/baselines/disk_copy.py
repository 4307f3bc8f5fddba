"""One process: read a file, write it to another, sync it. ``disk_copy SOURCE TARGET``."""

from __future__ import annotations

import os
import sys

from .copying import BLOCK_BYTES, create, keep, write_all
from .turns import say, wait_for_end, wait_for_go


def main(source: str, target: str) -> None:
    say("ready")
    wait_for_go()
    buffer = memoryview(bytearray(BLOCK_BYTES))
    reading = os.open(source, os.O_RDONLY)
    writing = create(target)
    while size := os.readv(reading, [buffer]):
        write_all(writing, buffer[:size])
    keep(writing, synced=True)
    os.close(reading)
    say("done")
    wait_for_end()


if __name__ == "__main__":
    main(*sys.argv[1:])
