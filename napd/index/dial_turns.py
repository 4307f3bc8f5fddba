"""Whose address is dialled next: peers in turn, so that one with dead addresses does not make others wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import Deferred

from ..model import PeerId

#: Of one peer's addresses so many are dialled at a time: it may have named many that hang.
MOST_PER_PEER = 2
#: One free place of so many goes to whoever has waited longest, however many come anew.
OLDEST_EVERY = 4


@define(eq=False)
class _Peer:
    """`had`: dials that were begun for it since it was last quite idle."""

    had: int = 0
    under_way: int = 0
    waiting: deque[tuple[int, Deferred[None]]] = field(factory=deque)


class DialTurns:
    """At most `most` dials at once. Peers that had the fewest come first, then those that have waited longest."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way = 0
        self._given = 0
        self._giving = False
        self._asked = 0
        self._peers: dict[PeerId, _Peer] = {}

    def begin(self, peer: PeerId) -> Deferred[None]:
        """Fires when this peer may be dialled; `end` has to follow. May be cancelled until then."""
        known = self._peers.setdefault(peer, _Peer())
        self._asked += 1
        turn: Deferred[None] = Deferred(lambda _: self._leave(peer, turn))
        known.waiting.append((self._asked, turn))
        self._give()
        return turn

    def end(self, peer: PeerId) -> None:
        """A dial that was begun is over."""
        self._under_way -= 1
        self._peers[peer].under_way -= 1
        self._forget_idle(peer)
        self._give()

    def _give(self) -> None:
        """Whoever hears of its turn may be done at once; that is seen to here, and not deeper and deeper."""
        if self._giving:
            return
        self._giving = True
        try:
            while self._under_way < self._most and (found := self._next()) is not None:
                self._given += 1
                self._under_way += 1
                found.had += 1
                found.under_way += 1
                _, turn = found.waiting.popleft()
                turn.callback(None)
        finally:
            self._giving = False

    def _next(self) -> _Peer | None:
        ready = [peer for peer in self._peers.values() if peer.waiting and peer.under_way < MOST_PER_PEER]
        order: Callable[[_Peer], tuple[int, int]] = _fewest
        if self._given % OLDEST_EVERY == OLDEST_EVERY - 1:
            order = _oldest
        return min(ready, key=order, default=None)

    def _leave(self, peer: PeerId, turn: Deferred[None]) -> None:
        known = self._peers[peer]
        known.waiting = deque(entry for entry in known.waiting if entry[1] is not turn)
        self._forget_idle(peer)

    def _forget_idle(self, peer: PeerId) -> None:
        known = self._peers[peer]
        if not known.waiting and not known.under_way:
            del self._peers[peer]


def _fewest(peer: _Peer) -> tuple[int, int]:
    return peer.had, peer.waiting[0][0]


def _oldest(peer: _Peer) -> tuple[int, int]:
    return 0, peer.waiting[0][0]
