"""A limited rate, shared block by block among users: by their weights, and nobody waits for long."""

from __future__ import annotations

from collections import deque

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ..net.pacing import Pacer

#: Seconds that a block waits at most for others with more weight: a transfer that moves is not taken for a stall.
PATIENCE_S = 3.0


@define(eq=False)
class _Block:
    size: int
    since: float
    moved: Deferred[None]


@define(eq=False)
class _User:
    """`start`: how much has been sent when its next block begins, over its weight; as in start-time fair queueing."""

    weight: float
    start: float
    blocks: deque[_Block] = field(factory=deque)


class RateShares:
    """In front of a pacer, which gets one block at a time."""

    def __init__(self, clock: IReactorTime, pacer: Pacer) -> None:
        self._clock = clock
        self._pacer = pacer
        self._users: dict[str, _User] = {}
        self._start = 0.0
        self._paying = False

    def spend(self, user: str, weight: float, size: int) -> Deferred[None] | None:
        """None: so many bytes may be moved now. Otherwise fires when they may."""
        if self._pacer.rate is None and not self._paying:
            return None
        known = self._users.get(user)
        if known is None:
            known = self._users[user] = _User(weight, self._start)
        elif not known.blocks:
            known.start = max(known.start, self._start)
        known.weight = weight
        block = _Block(size, self._clock.seconds(), Deferred(lambda _: _leave(known, block)))
        known.blocks.append(block)
        self._pay()
        return block.moved

    def _pay(self) -> None:
        """Hand blocks to the pacer, as long as it lets them through at once."""
        if self._paying:
            return
        self._paying = True
        while (block := self._next()) is not None:
            paid = self._pacer.spend(block.size)
            if not paid.called:
                paid.addCallback(self._paid, block)
                return
            _moved(block)
        self._paying = False

    def _paid(self, _: None, block: _Block) -> None:
        self._paying = False
        _moved(block)
        self._pay()

    def _next(self) -> _Block | None:
        waiting = [user for user in self._users.values() if user.blocks]
        if not waiting:
            # Who asks next begins level with whoever was served last; what was before is settled.
            self._users = {name: user for name, user in self._users.items() if user.start > self._start}
            return None
        user = min(waiting, key=lambda user: user.blocks[0].since)
        if self._clock.seconds() - user.blocks[0].since < PATIENCE_S:
            user = min(waiting, key=lambda user: user.start)
        block = user.blocks.popleft()
        self._start = max(self._start, user.start)
        user.start += block.size / user.weight
        return block


def _moved(block: _Block) -> None:
    if not block.moved.called:
        block.moved.callback(None)


def _leave(user: _User, block: _Block) -> None:
    """Nobody waits for this block any more; if the pacer has it already, it is paid for all the same."""
    if block in user.blocks:
        user.blocks.remove(block)
