"""Events: said once, then in the log, in `napctl events`, and remembered for `--since`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from attrs import frozen
from twisted.python.failure import Failure

from ..errors import LocalProtocolError, printable
from .catalogue import EVENTS

#: Events remembered for `napctl events --since`.
REMEMBERED = 10_000
#: Text in an event's field is cut to this many characters.
MAX_FIELD = 500
#: Items of a field that is a list.
MAX_ITEMS = 100
#: Characters of a traceback, from its end.
MAX_TRACEBACK = 8_000


_FIELDS = {event: frozenset(kind.fields) for event, kind in EVENTS.items()}


@frozen
class Event:
    """`id` grows by one per event, over restarts too; `time` is seconds since 1970."""

    id: int
    time: float
    level: str
    event: str
    message: str
    fields: dict[str, Any]

    def document(self) -> dict[str, Any]:
        """As `napctl events --json` prints it."""
        return {
            "schema": 1,
            "id": self.id,
            "time": rfc3339(self.time),
            "event": self.event,
            "level": self.level,
            "message": self.message,
            **self.fields,
        }


Heard = Callable[[Event], None]

#: What needs no look at it.
_PLAIN = frozenset((int, float, bool))


class Events:
    """Where a daemon says what happens.

    :param now: seconds since 1970.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        # Larger than any id of an earlier run, as long as a run emits under a million events a second.
        self._next_id = int(now() * 1_000_000)
        self._remembered: deque[Event] = deque(maxlen=REMEMBERED)
        self._hearers: list[Heard] = []

    def emit(self, event: str, message: str | None = None, /, **fields: Any) -> None:
        """Say that this happened: a name of the catalogue, a sentence, and its fields.

        Fields that are None stay absent. Text from outside is escaped and cut here.
        """
        kind = EVENTS.get(event)
        if kind is None or not fields.keys() <= _FIELDS[event]:
            raise LocalProtocolError(f"event {event} with {sorted(fields)} is not in the catalogue")
        kept = {}
        for name, value in fields.items():
            # Most are short text or a number; thousands a second may pass here.
            kind_of_value = type(value)
            if kind_of_value in _PLAIN or (kind_of_value is str and value.isprintable() and len(value) <= MAX_FIELD):
                kept[name] = value
            elif value is not None:
                # A traceback keeps its line ends; its lines are clean already.
                kept[name] = value if name == "traceback" else _clean(value)
        said = Event(
            self._next_id,
            self._now(),
            kind.level,
            event,
            printable(message, MAX_FIELD) if message else kind.meaning,
            kept,
        )
        self._next_id += 1
        self._remembered.append(said)
        for heard in list(self._hearers):
            heard(said)

    def fault(self, where: str, failure: Failure) -> None:
        """Report a bug of ours: the `Report` that `Background` takes."""
        self.emit(
            "daemon.fault",
            f"{where} failed: {failure.getErrorMessage()}",
            where=where,
            error=failure.getErrorMessage(),
            traceback=traceback_of(failure),
        )

    def listen(self, heard: Heard) -> Callable[[], None]:
        """Call `heard` for every event from now on; the returned function ends that."""
        self._hearers.append(heard)
        return lambda: self._hearers.remove(heard)

    def remembered(self, since: int | None = None, pattern: str | None = None) -> list[Event]:
        """Those after id `since` whose name matches the glob."""
        return [e for e in self._remembered if (since is None or e.id > since) and matches(e, pattern)]


def matches(event: Event, pattern: str | None) -> bool:
    return pattern is None or fnmatchcase(event.event, pattern)


def rfc3339(time: float) -> str:
    """Seconds since 1970 as RFC 3339 UTC with milliseconds."""
    second, microsecond = divmod(round(time * 1_000_000), 1_000_000)
    return f"{_second(second)}.{microsecond // 1000:03}Z"


@lru_cache(maxsize=16)
def _second(second: int) -> str:
    """Most times that are written are of the present second."""
    return datetime.fromtimestamp(second, UTC).isoformat().removesuffix("+00:00")


def traceback_of(failure: Failure) -> str:
    """The end of a failure's traceback: several lines, each of them printable."""
    lines = failure.getTraceback()[-MAX_TRACEBACK:].strip("\n").split("\n")
    return "\n".join(printable(line, MAX_FIELD) for line in lines)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value, MAX_FIELD)
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value[:MAX_ITEMS]]
    return value
