"""Hashing alone: BLAKE3 of every 1 MiB of every file below a directory, in one thread. ``hashing DIRECTORY``."""

from __future__ import annotations

import os
import sys

from napd.content.digest import CHUNK_BYTES, chunk_digest

from .turns import say, wait_for_end, wait_for_go


def main(directory: str) -> None:
    say("ready")
    wait_for_go()
    buffer = memoryview(bytearray(CHUNK_BYTES))
    for folder, _, names in os.walk(directory):
        for name in names:
            descriptor = os.open(os.path.join(folder, name), os.O_RDONLY)
            while size := os.readv(descriptor, [buffer]):
                chunk_digest(buffer[:size])
            os.close(descriptor)
    say("done")
    wait_for_end()


if __name__ == "__main__":
    main(*sys.argv[1:])
