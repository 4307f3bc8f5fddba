"""A `nappeer` whose disk reads have one bit wrong in every chunk it uploads: what a lying or broken peer looks like.

Run as ``python -m tests.support.flipping_peer`` with twistd's arguments.
"""

from __future__ import annotations

import sys

from twisted.scripts.twistd import run

from napd.peer import tap
from napd.peer.disk import Disk


class FlippingDisk(Disk):
    def read_at(self, descriptor: int, size: int, offset: int) -> bytes:
        data = bytearray(super().read_at(descriptor, size, offset))
        if data:
            data[len(data) // 2] ^= 1
        return bytes(data)


def main() -> None:
    tap.Disk = FlippingDisk  # type: ignore[misc]
    run()


if __name__ == "__main__":
    sys.exit(main())  # type: ignore[func-returns-value]
