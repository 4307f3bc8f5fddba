"""Handshakes of many who come at once: so many in a time, one after the other, and the rest is for those who are in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: In so many seconds so many handshakes begin; one takes about half a millisecond in all.
WINDOW_S = 0.01
MOST_BEGUN = 12

Begin = Callable[[], None]


class Handshakes:
    """Shared by the streams of a thread."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._began = float("-inf")
        self._left = 0
        self._waiting: OrderedDict[Begin, None] = OrderedDict()
        self._timer: IDelayedCall | None = None

    def may_begin(self, later: Begin) -> bool:
        """Whether one may now; if not, `later` is called when it may."""
        now = self._reactor.seconds()
        if now - self._began >= WINDOW_S:
            self._began = now
            self._left = MOST_BEGUN
        if self._left and not self._waiting:
            self._left -= 1
            return True
        self._waiting[later] = None
        self._set_timer()
        return False

    def drop(self, later: Begin) -> None:
        """It will not begin."""
        self._waiting.pop(later, None)
        if not self._waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        if self._timer is None and self._waiting:
            left_s = self._began + WINDOW_S - self._reactor.seconds()
            self._timer = self._reactor.callLater(max(0.0, left_s), self._begin_more)

    def _begin_more(self) -> None:
        self._timer = None
        self._began = self._reactor.seconds()
        self._left = MOST_BEGUN
        try:
            while self._left and self._waiting:
                self._left -= 1
                later, _ = self._waiting.popitem(last=False)
                later()
        finally:
            self._set_timer()
