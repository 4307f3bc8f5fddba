"""What a source gives while it owes us something. Pure: the caller brings the time.

Time in which nothing was owed, in which it made us wait in its queue, or in which our own limit kept us from reading
says nothing about a source and is not counted.
"""

from __future__ import annotations

from attrs import define

#: Busy seconds after which what was measured counts for half.
HALF_LIFE_S = 1.0
#: No step counts for more than this: a clock that jumps is ours (a late reactor), not the source's.
LONGEST_STEP_S = 1.0
#: There is no figure before so much has come in so many busy seconds: a small file measures the round trip, and what a
#: limiter or a buffer lets through at once measures nothing.
LEAST_BYTES = 256 * 1024
LEAST_S = 0.5
#: Either of these alone will do: a fast source needs no time, and one that gives next to nothing is measured, too.
MANY_BYTES = 16 << 20
MANY_S = 1.5
#: A source that gives less than this part of what the best gives crawls; it has recovered at twice as much.
CRAWL = 0.1
#: Below this the clock says more than the source.
_SHORTEST_S = 0.001


@define
class Throughput:
    """Bytes over busy seconds, the latest counting most. `bytes` and `busy_s` are over the whole time."""

    bytes: int = 0
    busy_s: float = 0.0
    _recent_bytes: float = 0.0
    _recent_s: float = 0.0
    _as_of: float = 0.0

    def note(self, size: int, now: float, *, busy: bool) -> None:
        """So many bytes have come; `busy`: something was owed since the last call."""
        elapsed = min(max(0.0, now - self._as_of), LONGEST_STEP_S)
        self._as_of = now
        if busy and elapsed:
            fade = 0.5 ** (elapsed / HALF_LIFE_S)
            self._recent_bytes *= fade
            self._recent_s = self._recent_s * fade + elapsed
            self.busy_s += elapsed
        self._recent_bytes += size
        self.bytes += size

    def skip(self, now: float) -> None:
        """What happened since the last call does not count."""
        self._as_of = now

    def per_s(self) -> float | None:
        """Bytes per busy second; None while there is too little to tell."""
        if not enough(self.bytes, self.busy_s):
            return None
        return self._recent_bytes / max(self._recent_s, _SHORTEST_S)


def enough(size: int, busy_s: float) -> bool:
    """Whether so much in so many busy seconds tells a pace."""
    return size >= MANY_BYTES or busy_s >= MANY_S or (size >= LEAST_BYTES and busy_s >= LEAST_S)


def crawls(pace: float | None, best: float, *, before: bool) -> bool:
    """Whether one that gives this is far slower than the best. `before`: whether it was until now."""
    return pace is not None and pace < best * (2 * CRAWL if before else CRAWL)
