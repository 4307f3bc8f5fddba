"""What happened in a run, a short line each: for people who look for a bug, and for a digest that tells runs apart."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import Any

from attrs import define, field

from napd.ops.events import Event

#: Lines that are kept for a failure; older ones count in the digest only.
KEPT_LINES = 5_000
#: Fields of events that name things by long ids; their beginnings are enough to tell them apart.
_CUT = 12


@define(eq=False, repr=False)
class Trace:
    """`names`: what ids stand for, so that lines say `ada` and not her key."""

    names: dict[str, str] = field(factory=dict)
    lines: deque[str] = field(factory=lambda: deque(maxlen=KEPT_LINES))
    _digest: Any = field(factory=hashlib.sha256)

    def note(self, at: float, who: str, what: str) -> None:
        line = f"{at:10.4f} {who:8} {what}"
        self.lines.append(line)
        self._digest.update(line.encode() + b"\n")

    def event(self, at: float, who: str, event: Event) -> None:
        fields = " ".join(f"{name}={self._short(value)}" for name, value in event.fields.items())
        self.note(at, who, f"{event.event} {fields}")

    def digest(self) -> str:
        return str(self._digest.hexdigest())

    def tail(self, lines: int) -> str:
        return "\n".join(list(self.lines)[-lines:])

    def _short(self, value: object) -> str:
        if isinstance(value, str):
            named = self.names.get(value)
            return named if named is not None else value if " " in value else value[:_CUT]
        return str(value)
