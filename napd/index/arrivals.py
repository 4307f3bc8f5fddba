"""How often connections come from one address: each costs a handshake, whatever becomes of it."""

from __future__ import annotations

from collections import OrderedDict

from twisted.internet.interfaces import IReactorTime

from .limits import Allowance

#: Addresses that are remembered, those that came last.
MOST_REMEMBERED = 10_000


class Arrivals:
    """:param at_once: connections that may come at once; `per_s`: in the long run, a second."""

    def __init__(self, clock: IReactorTime, at_once: float, per_s: float) -> None:
        self._clock = clock
        self._at_once = at_once
        self._per_s = per_s
        self._from: OrderedDict[str, Allowance] = OrderedDict()

    def one_more(self, origin: str) -> bool:
        """Whether it may come."""
        allowance = self._from.get(origin)
        if allowance is None:
            allowance = self._from[origin] = Allowance.of(self._clock, self._per_s, self._at_once)
            if len(self._from) > MOST_REMEMBERED:
                self._from.popitem(last=False)
        else:
            self._from.move_to_end(origin)
        return allowance.take()
