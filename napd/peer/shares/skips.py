"""What a share leaves out, for `share list`."""

from __future__ import annotations

from collections.abc import Iterator

#: Skipped files remembered by name.
MAX_SKIPS = 1000


class Skips:
    """What a share leaves out, and why; counted beyond `MAX_SKIPS`."""

    def __init__(self) -> None:
        self._kept: dict[bytes, str] = {}
        self._more = 0

    def add(self, path: bytes, reason: str) -> None:
        if path in self._kept or len(self._kept) < MAX_SKIPS:
            self._kept[path] = reason
        else:
            self._more += 1

    def discard(self, path: bytes) -> None:
        self._kept.pop(path, None)

    def __len__(self) -> int:
        return len(self._kept) + self._more

    def __iter__(self) -> Iterator[tuple[bytes, str]]:
        return iter(self._kept.items())
