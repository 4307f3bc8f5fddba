"""Work for the reactor's next turn, of many streams: one call of the reactor's for all of it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

Work = Callable[[], None]


class NextTurn:
    """Each piece of work is done once, however often it is asked for."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._asked: dict[Work, bool] = {}
        self._call: IDelayedCall | None = None

    def add(self, work: Work) -> None:
        self._asked[work] = True
        self._set_call()

    def drop(self, work: Work) -> None:
        """It need not be done."""
        self._asked.pop(work, None)
        if not self._asked and self._call is not None:
            self._call.cancel()
            self._call = None

    def _set_call(self) -> None:
        if self._call is None and self._asked:
            self._call = self._reactor.callLater(0, self._do)

    def _do(self) -> None:
        """What is asked for meanwhile is for the turn after, and so is the rest if something fails."""
        self._call = None
        try:
            for work in list(self._asked):
                if self._asked.pop(work, False):
                    work()
        finally:
            self._set_call()
