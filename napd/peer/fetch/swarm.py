"""What those have who fetch the same content, as they tell it: which chunks a source has, and which are rare. Pure.

Chunks are bits of whole numbers, one for each group, the group's first in the lowest bit: a group of 1,024 is dealt
with at once.
"""

from __future__ import annotations

from collections.abc import Hashable

from attrs import define, field

#: Knuth's multiplier for numbers modulo 2^64 that look like chance.
_MULTIPLIER = 6364136223846793005
_MASK = (1 << 64) - 1


def lowest(bits: int) -> int:
    """The number of the lowest bit that is set."""
    return (bits & -bits).bit_length() - 1


@define
class Swarm:
    """Which chunks each source that has only parts has, and how many of them have each.

    :param seed: of its chance; another for each download, so that those who fetch the same from one source begin with
        different chunks, and then have something to give to each other.
    """

    seed: int
    _told: dict[Hashable, dict[int, int]] = field(init=False, factory=dict)
    #: By group: the chunks that at least one has, at least two, and so on.
    _levels: dict[int, list[int]] = field(init=False, factory=dict)

    def __bool__(self) -> bool:
        return bool(self._told)

    def join(self, source: Hashable) -> None:
        """It has parts, none known yet."""
        self._told.setdefault(source, {})

    def tell(self, source: Hashable, group: int, bits: int) -> int:
        """What the source has of a group now; returns what is new of that."""
        told = self._told.setdefault(source, {})
        before = told.get(group, 0)
        told[group] = bits
        self._add(group, bits & ~before)
        self._take(group, before & ~bits)
        return bits & ~before

    def leave(self, source: Hashable) -> None:
        for group, bits in self._told.pop(source, {}).items():
            self._take(group, bits)

    def of(self, source: Hashable, group: int) -> int:
        """What the source has of a group; of one that has not joined, nothing."""
        return self._told.get(source, {}).get(group, 0)

    def count(self, source: Hashable) -> int:
        """How many chunks the source has."""
        return sum(bits.bit_count() for bits in self._told.get(source, {}).values())

    def choose(self, group: int, candidates: int) -> tuple[int, int]:
        """One of those candidates that the fewest have, by chance; and all of them."""
        rarest = candidates
        for level in self._levels.get(group, ()):
            if rare := candidates & ~level:
                rarest = rare
                break
        self.seed = (self.seed * _MULTIPLIER + 1) & _MASK
        start = (self.seed >> 33) % rarest.bit_length()
        ahead = rarest >> start
        return (start + lowest(ahead) if ahead else lowest(rarest)), rarest

    def _add(self, group: int, bits: int) -> None:
        levels = self._levels.setdefault(group, [])
        for number, level in enumerate(levels):
            levels[number], bits = level | bits, level & bits
        if bits:
            levels.append(bits)

    def _take(self, group: int, bits: int) -> None:
        levels = self._levels.get(group, [])
        for number in reversed(range(len(levels))):
            gone = levels[number] & bits
            levels[number] ^= gone
            bits ^= gone
        while levels and not levels[-1]:
            levels.pop()
        if not levels:
            self._levels.pop(group, None)
