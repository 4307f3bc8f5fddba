"""How many chunks a source may be asked for at a time: enough to never idle, and little to take back when it fails."""

from __future__ import annotations

import math

from attrs import define

from ...content.digest import CHUNK_BYTES

#: Chunks asked of a source of unknown pace at once to begin with, and of any at most.
FIRST_WINDOW = 2
LAST_WINDOW = 16
#: Seconds of work that a source is asked for ahead.
AHEAD_S = 1.5


@define
class Window:
    """As much as the source gives in `AHEAD_S`, found by one more with each chunk. Paces are in bytes per second."""

    chunks: int = FIRST_WINDOW

    @classmethod
    def of(cls, pace: float | None) -> Window:
        return cls() if pace is None else cls(max(FIRST_WINDOW, _enough(pace)))

    def widen(self, pace: float | None) -> None:
        """A chunk has come."""
        self.chunks = max(FIRST_WINDOW, min(self.chunks + 1, LAST_WINDOW if pace is None else _enough(pace)))


def _enough(pace: float) -> int:
    """Chunks that keep a source of this pace busy."""
    return min(LAST_WINDOW, math.ceil(pace * AHEAD_S / CHUNK_BYTES) + 1)
