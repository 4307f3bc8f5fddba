"""A `nappeer` whose disk reads have one bit wrong: what a lying or broken peer looks like.

Run as ``python -m tests.support.flipping_peer`` with twistd's arguments. One in `FLIP_ONE_IN` (an environment
variable; 1) of the chunks that it uploads is wrong.
"""

from __future__ import annotations

import os
import sys
from random import Random

from twisted.scripts.twistd import run

from napd.peer import tap
from napd.peer.files.disk import Disk


class FlippingDisk(Disk):
    one_in = int(os.environ.get("FLIP_ONE_IN", "1"))
    rng = Random(os.environ.get("FLIP_SEED", "1"))

    def read_cached(self, descriptor: int, buffer: memoryview, offset: int) -> bool:
        return False

    def read_into(self, descriptor: int, buffer: memoryview, offset: int) -> int:
        size = super().read_into(descriptor, buffer, offset)
        if size and self.rng.randrange(self.one_in) == 0:
            # Past the log, which takes `sys.stderr` over.
            os.write(2, b"flipped\n")
            buffer[size // 2] ^= 1
        return size


def main() -> None:
    tap.Disk = FlippingDisk  # type: ignore[misc]
    run()


if __name__ == "__main__":
    sys.exit(main())  # type: ignore[func-returns-value]
