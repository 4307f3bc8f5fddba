"""A `nappeer` whose disk reads have one bit wrong in every chunk it uploads: what a lying or broken peer looks like.

Run as ``python -m tests.support.flipping_peer`` with twistd's arguments.
"""

from __future__ import annotations

import sys

from twisted.scripts.twistd import run

from napd.peer import tap
from napd.peer.disk import Disk


class FlippingDisk(Disk):
    def read_into(self, descriptor: int, buffer: memoryview, offset: int) -> int:
        size = super().read_into(descriptor, buffer, offset)
        if size:
            buffer[size // 2] ^= 1
        return size


def main() -> None:
    tap.Disk = FlippingDisk  # type: ignore[misc]
    run()


if __name__ == "__main__":
    sys.exit(main())  # type: ignore[func-returns-value]
