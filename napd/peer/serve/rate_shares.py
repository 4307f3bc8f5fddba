"""A limited rate, shared block by block among users: by their weights, and nobody waits for long."""

from __future__ import annotations

from collections import deque

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ...net.pacing import Pacer

#: Seconds that a block waits at most for others with more weight: a transfer that moves is not taken for a stall.
PATIENCE_S = 3.0
#: Users between two blocks, or gone, whose shares are remembered before it is looked whether that is of use.
MAX_REMEMBERED = 64


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
    """In front of a pacer, which is asked for one block at a time."""

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
        """Whose block is next is decided when the pacer lets one through: who has just sent has asked again by then."""
        if self._paying:
            return
        self._paying = True
        while any(user.blocks for user in self._users.values()):
            may = self._pacer.spend(0)
            if not may.called:
                may.addCallback(self._paid)
                return
            self._move_one()
        self._paying = False

    def _paid(self, _: None) -> None:
        self._paying = False
        self._move_one()
        self._pay()

    def _move_one(self) -> None:
        block = self._next()
        if block is not None:
            self._pacer.delay_after(block.size)
            block.moved.callback(None)

    def _next(self) -> _Block | None:
        waiting = [user for user in self._users.values() if user.blocks]
        if not waiting:
            return None
        if len(self._users) > len(waiting) + MAX_REMEMBERED:
            # Whose start is not ahead of the present one would begin level with it in any case.
            self._users = {name: user for name, user in self._users.items() if user.blocks or user.start > self._start}
        user = min(waiting, key=lambda user: user.blocks[0].since)
        if self._clock.seconds() - user.blocks[0].since < PATIENCE_S:
            user = min(waiting, key=lambda user: user.start)
        block = user.blocks.popleft()
        self._start = max(self._start, user.start)
        user.start += block.size / user.weight
        return block


def _leave(user: _User, block: _Block) -> None:
    """Nobody waits for this block any more."""
    if block in user.blocks:
        user.blocks.remove(block)
