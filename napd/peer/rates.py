"""How fast something goes just now. Pure: the caller brings the time."""

from __future__ import annotations

from collections import deque

from attrs import define, field

#: Seconds over which a rate is taken.
WINDOW_S = 5.0
#: Seconds that are counted as one entry.
_GRAIN_S = 0.25


@define
class RateMeter:
    """Bytes per second over the last `WINDOW_S`; 0 when nothing has come for that long."""

    _entries: deque[tuple[float, int]] = field(factory=deque)
    _total: int = 0
    _since: float | None = None

    def add(self, size: int, now: float) -> None:
        if self._since is None:
            self._since = now
        self._total += size
        if self._entries and now - self._entries[-1][0] < _GRAIN_S:
            at, before = self._entries[-1]
            self._entries[-1] = (at, before + size)
        else:
            self._entries.append((now, size))
        self._drop_old(now)

    def per_s(self, now: float) -> float:
        self._drop_old(now)
        if self._since is None or not self._entries:
            return 0.0
        return self._total / min(WINDOW_S, max(now - self._since, 2 * _GRAIN_S))

    def reset(self) -> None:
        self._entries.clear()
        self._total, self._since = 0, None

    def _drop_old(self, now: float) -> None:
        while self._entries and now - self._entries[0][0] > WINDOW_S:
            self._total -= self._entries.popleft()[1]
        if not self._entries:
            self._since = None
