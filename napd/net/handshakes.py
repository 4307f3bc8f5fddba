"""Handshakes of many who come at once: half of the reactor's time, and the rest is for those who are in."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

#: Of so many seconds, handshakes may take so many. One takes about half a millisecond.
WINDOW_S = 0.01
SHARE_S = 0.005


class Handshakes:
    """Shared by the streams of a thread."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._began = float("-inf")
        self._left_s = 0.0

    def may_go_on(self) -> bool:
        """One that may not is asked again in the reactor's next turn."""
        now = self._reactor.seconds()
        if now - self._began >= WINDOW_S:
            self._began = now
            self._left_s = SHARE_S
        return self._left_s > 0

    def went_on_since(self, began: float) -> None:
        """By the reactor's clock."""
        self._left_s -= self._reactor.seconds() - began
