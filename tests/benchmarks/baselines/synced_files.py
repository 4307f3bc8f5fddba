"""Small files kept as safely as a download's, one by one: written, synced, renamed, directory synced.

``synced_files SOURCE TARGET``, both directories.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .copying import create, keep, write_all
from .turns import say, wait_for_end, wait_for_go


def main(source: str, target: str) -> None:
    say("ready")
    wait_for_go()
    directory = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    for path in sorted(Path(source).iterdir()):
        final = os.path.join(target, path.name)
        descriptor = create(f"{final}.part")
        write_all(descriptor, path.read_bytes())
        keep(descriptor, synced=True)
        os.rename(f"{final}.part", final)
        os.fsync(directory)
    os.close(directory)
    say("done")
    wait_for_end()


if __name__ == "__main__":
    main(*sys.argv[1:])
