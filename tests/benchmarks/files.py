"""What is moved and scanned: files of random bytes, made once, in the page cache when they are used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from time import sleep

MIB = 1 << 20
#: Sizes of a tree's files, in turn, until it is as large as asked for: songs, pictures, a film now and then.
TREE_SIZES = (4 * MIB, 9 * MIB, 2 * MIB, 400_000, 64 * MIB)
#: Seconds after which a file is no longer so young that it is hashed twice.
SETTLED_S = 3.0


def random_file(path: Path, size: int, rng: Random) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        left = size
        while left:
            block = rng.randbytes(min(left, MIB))
            file.write(block)
            left -= len(block)
        file.flush()
        os.fsync(file.fileno())


def random_tree(folder: Path, size: int, rng: Random) -> int:
    """Returns how many files it has."""
    count = 0
    for count, length in enumerate(_lengths(size), 1):
        random_file(folder / f"folder {count // 20:03}" / f"file {count:05}.bin", length, rng)
    return count


def small_files(folder: Path, count: int, size: int, rng: Random) -> None:
    for number in range(count):
        path = folder / f"leaflet {number:05}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(size))


def warm(folder: Path) -> None:
    """Read everything once, and let it settle."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                while file.read(MIB):
                    pass
    sleep(SETTLED_S)


def _lengths(size: int) -> Iterator[int]:
    turn = 0
    while size:
        length = min(size, TREE_SIZES[turn % len(TREE_SIZES)])
        yield length
        size -= length
        turn += 1
