"""Words of three scripts, some of them very common: Zipf's law, its head flattened as that of file names is."""

from __future__ import annotations

from random import Random

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

#: Ranks that are about as common as the first.
HEAD = 10


@frozen
class Script:
    """:ivar part: of all names. :ivar syllables: what its words are made of, so many of them."""

    name: str
    part: float
    syllables: tuple[str, ...]
    least: int
    most: int


def _pairs(first: str, second: str) -> tuple[str, ...]:
    return tuple(one + other for one in first for other in second)


SCRIPTS = (
    Script("Latin", 0.75, _pairs("bcdfghklmnprstvwz", "aeiouéöü"), 2, 4),
    Script("Cyrillic", 0.13, _pairs("бвгдзклмнпрстхшй", "аеиоуыя"), 2, 4),
    Script("Han", 0.12, tuple(chr(point) for point in range(0x4E00, 0x4E00 + 1500)), 1, 3),
)


@frozen
class Vocabulary:
    """The commonest word first."""

    words: list[str]
    _up_to: NDArray[np.float64]

    def draw(self, rng: np.random.Generator, rows: int, columns: int) -> NDArray[np.int64]:
        """Places of words."""
        return np.searchsorted(self._up_to, rng.random((rows, columns))).astype(np.int64)


def words_of(script: Script, items: int) -> Vocabulary:
    """So many words as so many names have: it grows with the root of their number."""
    random = Random(script.name)
    wanted = max(100, int(150 * items**0.5 * script.part))
    words: dict[str, None] = {}
    most = script.most
    while len(words) < wanted:
        for _ in range(wanted):
            words["".join(random.choices(script.syllables, k=random.randint(script.least, most)))] = None
        most += 1
    chosen = list(words)[:wanted]
    weights = np.cumsum(1 / (np.arange(wanted) + HEAD))
    return Vocabulary(chosen, weights / weights[-1])
