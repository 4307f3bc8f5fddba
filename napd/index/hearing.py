"""What one session says, at a pace at which others are heard, too.

A session that says a little is heard at once. Of one that says much at once, the rest waits for the session's turns, a
little in each, and nothing more is read meanwhile: the kernel keeps it, and then the other end has to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from attrs import define
from twisted.internet.interfaces import IReactorTime

from .turns import Turns

#: Seconds for which a session is heard at once, or in a turn; the next time at once is so much later at least.
HEARD_S = 0.001
AGAIN_S = 0.01
#: Lines that are heard in that time, at most; a kilobyte counts as one more.
MOST_HEARD = 100


class Link(Protocol):
    """The part of `napd.net.link.SecureLink` that this uses."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


@define(eq=False)
class Hearing:
    """:param understand: is given each line, in order. It may call `stop`."""

    _clock: IReactorTime
    _turns: Turns
    _link: Link
    _understand: Callable[[bytes], None]
    _began: float = float("-inf")
    _left: float = 0.0
    _paused: bool = False
    #: Not more than what a link has read by the time that it is paused; None for the many who say little.
    _waiting: deque[bytes] | None = None

    def hear(self, line: bytes) -> None:
        if self._waiting is not None:
            self._waiting.append(line)
        elif self._is_heard_at_once(self._clock.seconds()):
            self._left -= _cost(line)
            self._understand(line)
        else:
            self._waiting = deque([line])
            self._link.pause_reading()
            self._turns.hear(self, self._hear_on)

    def pause(self) -> None:
        """Read no more until `resume`; what is read already is heard."""
        self._paused = True
        self._link.pause_reading()

    def resume(self) -> None:
        self._paused = False
        self._read_if_all_is_heard()

    def stop(self) -> None:
        """Whatever waits is not heard any more, and all that comes is read: a good end is one that both see."""
        self._waiting = None
        self._turns.drop(self)
        self.resume()

    def _is_heard_at_once(self, now: float) -> bool:
        if now - self._began >= AGAIN_S:
            self._began = now
            self._left = MOST_HEARD
        return self._left > 0 and now - self._began < HEARD_S

    def _hear_on(self) -> bool:
        """Whether there is more."""
        until = self._clock.seconds() + HEARD_S
        left: float = MOST_HEARD
        while self._waiting and left > 0 and self._clock.seconds() < until:
            line = self._waiting.popleft()
            left -= _cost(line)
            self._understand(line)
        if self._waiting:
            return True
        if self._waiting is not None:
            self._waiting = None
            self._read_if_all_is_heard()
        return False

    def _read_if_all_is_heard(self) -> None:
        if self._waiting is None and not self._paused:
            self._link.resume_reading()


def _cost(line: bytes) -> float:
    return 1 + len(line) / 1024
