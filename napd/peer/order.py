"""The order in which downloads run: (priority, place); and what it is after some are moved. Pure."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Iterator, Sequence

from attrs import define, field

from .item import Item

#: The words of `queue move`.
MOVES = ("top", "up", "down", "bottom")


@define
class Order:
    """Items by their keys, which must not change while they are in it; iterating gives their ids."""

    _keys: list[tuple[int, int, int]] = field(factory=list)

    def __iter__(self) -> Iterator[int]:
        return (number for _, _, number in self._keys)

    def position(self, item: Item) -> int:
        """From 1, of one that is in it."""
        return bisect_left(self._keys, item.key) + 1

    def insert(self, item: Item) -> None:
        insort(self._keys, item.key)

    def remove(self, item: Item) -> None:
        """If it is in it."""
        at = bisect_left(self._keys, item.key)
        if at < len(self._keys) and self._keys[at] == item.key:
            del self._keys[at]


def is_move(to: str) -> bool:
    return to in MOVES or (to.isascii() and to.isdigit() and len(to) < 10 and int(to) > 0)


def moved(line: Sequence[Item], chosen: Collection[int], to: str) -> list[tuple[Item, int]]:
    """Which of those in line, all of one priority, get another place, and which, so that the chosen are moved there.

    :param chosen: ids; they keep their order among each other. :param to: one of `MOVES`, or a position from 1.
    """
    places = _strictly_growing(item.place for item in line)
    if to in ("up", "down"):
        after = _shifted(line, chosen, -1 if to == "up" else 1)
    else:
        block = [item for item in line if item.id in chosen]
        rest = [item for item in line if item.id not in chosen]
        at = {"top": 0, "bottom": len(rest)}.get(to)
        at = min(int(to) - 1, len(rest)) if at is None else at
        after = rest[:at] + block + rest[at:]
    return [(item, place) for item, place in zip(after, places, strict=True) if item.place != place]


def _strictly_growing(places: Iterable[int]) -> list[int]:
    """Two whose change was taken back (`Queue.take_back`) may share a place; a move tells them apart."""
    grown: list[int] = []
    for place in places:
        grown.append(max(place, grown[-1] + 1) if grown else place)
    return grown


def _shifted(line: Sequence[Item], chosen: Collection[int], step: int) -> list[Item]:
    """The chosen each one place up or down; a block at the edge stays where it is."""
    after = list(line) if step < 0 else list(reversed(line))
    for at in range(1, len(after)):
        if after[at].id in chosen and after[at - 1].id not in chosen:
            after[at - 1], after[at] = after[at], after[at - 1]
    return after if step < 0 else list(reversed(after))
