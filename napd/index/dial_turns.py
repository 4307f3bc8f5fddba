"""Whose address is dialled next: peers in turn, so that one with dead addresses does not make others wait."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from itertools import count

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

    def may_be_dialled(self) -> bool:
        return bool(self.waiting) and self.under_way < MOST_PER_PEER


#: A peer that may be dialled: what comes first in its order, when it asked, a number of its own for ties, and itself.
_Ready = tuple[int, int, int, _Peer]


class DialTurns:
    """At most `most` dials at once. Peers that had the fewest come first, then those that have waited longest."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way = 0
        self._given = 0
        self._giving = False
        self._asked = 0
        self._peers: dict[PeerId, _Peer] = {}
        #: Heaps. What is there of a peer is void when it cannot be dialled any more, or waits for something else.
        self._fewest: list[_Ready] = []
        self._oldest: list[_Ready] = []
        self._numbers = count()

    def begin(self, peer: PeerId) -> Deferred[None]:
        """Fires when this peer may be dialled; `end` has to follow. May be cancelled until then."""
        known = self._peers.setdefault(peer, _Peer())
        self._asked += 1
        turn: Deferred[None] = Deferred(lambda _: self._leave(peer, turn))
        known.waiting.append((self._asked, turn))
        self._note(known)
        self._give()
        return turn

    def end(self, peer: PeerId) -> None:
        """A dial that was begun is over."""
        self._under_way -= 1
        known = self._peers[peer]
        known.under_way -= 1
        self._note(known)
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
                self._note(found)
                turn.callback(None)
        finally:
            self._giving = False

    def _next(self) -> _Peer | None:
        heap = self._oldest if self._given % OLDEST_EVERY == OLDEST_EVERY - 1 else self._fewest
        while heap:
            _, asked, _, peer = heappop(heap)
            if peer.may_be_dialled() and peer.waiting[0][0] == asked:
                return peer
        return None

    def _note(self, peer: _Peer) -> None:
        """It may be ready now, or at another place than before."""
        if peer.may_be_dialled():
            asked, _ = peer.waiting[0]
            number = next(self._numbers)
            heappush(self._fewest, (peer.had, asked, number, peer))
            heappush(self._oldest, (0, asked, number, peer))

    def _leave(self, peer: PeerId, turn: Deferred[None]) -> None:
        known = self._peers[peer]
        known.waiting = deque(entry for entry in known.waiting if entry[1] is not turn)
        self._note(known)
        self._forget_idle(peer)

    def _forget_idle(self, peer: PeerId) -> None:
        known = self._peers[peer]
        if not known.waiting and not known.under_way:
            del self._peers[peer]
