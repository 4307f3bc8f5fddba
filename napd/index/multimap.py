"""Numbers to a few numbers each, in little memory: most keys have a single value, which costs no container."""

from __future__ import annotations

from collections.abc import Collection, Iterator


class Multimap:
    """Each key has a set of values; a key without any is not there."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[int, int | set[int]] = {}

    def add(self, key: int, value: int) -> bool:
        """Whether it was not there yet."""
        have = self._values.get(key)
        if have is None:
            self._values[key] = value
        elif isinstance(have, set):
            if value in have:
                return False
            have.add(value)
        elif have == value:
            return False
        else:
            self._values[key] = {have, value}
        return True

    def discard(self, key: int, value: int) -> bool:
        """Whether it was there."""
        have = self._values.get(key)
        if isinstance(have, set):
            if value not in have:
                return False
            have.discard(value)
            if len(have) == 1:
                self._values[key] = have.pop()
            return True
        if have is None or have != value:
            return False
        del self._values[key]
        return True

    def of(self, key: int) -> Collection[int]:
        """The values, not to be kept or changed."""
        have = self._values.get(key)
        if isinstance(have, set):
            return have
        return () if have is None else (have,)

    def count(self, key: int) -> int:
        have = self._values.get(key)
        if isinstance(have, set):
            return len(have)
        return 0 if have is None else 1

    def __iter__(self) -> Iterator[int]:
        return iter(self._values)

    def __contains__(self, key: int) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)
