"""What a run is doing, on standard error: so that one sees it is alive."""

from __future__ import annotations

import sys
from time import monotonic

from attrs import define, field

#: Seconds between two lines about the same thing.
EVERY_S = 5.0


def said(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


@define
class Progress:
    """Of something that takes long: how much of it is done, now and then."""

    _what: str
    _total: int
    _said_at: float = field(factory=monotonic)

    def at(self, done: int) -> None:
        if monotonic() - self._said_at >= EVERY_S:
            self._said_at = monotonic()
            said(f"  {self._what}: {done:,} of {self._total:,}")
