"""Whose turn it is: what costs something is done in small pieces, and the reactor gets its turn in between.

Sessions take turns, one piece each. Requests, what is heard of those who say much, and changes do too, where several of
them wait: who searches waits for one piece of what is heard and for one piece of a change, however many peers announce.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: A piece of work. Whether there is more of it: then it is called again at its owner's next turn.
Work = Callable[[], object]


class Turns:
    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._requests, self._heard, self._changes = rounds = _Round(), _Round(), _Round()
        #: The first that has something is served next, and then comes behind the others.
        self._rounds = deque(rounds)
        self._next: IDelayedCall | None = None

    def waiting(self, owner: Hashable) -> int:
        """Requests of this one."""
        return self._requests.waiting(owner)

    def add(self, owner: Hashable, work: Work) -> None:
        """A request that costs something, of the one who made it."""
        self._requests.add(owner, work)
        self._schedule()

    def hear(self, owner: Hashable, work: Work) -> None:
        """To understand something of what this one has said."""
        self._heard.add(owner, work)
        self._schedule()

    def change(self, owner: Hashable) -> Deferred[None]:
        """Fires when this one may change what is known, some milliseconds' worth of it: at once if nobody waits."""
        turn: Deferred[None] = Deferred()
        if self._next is None:
            turn.callback(None)
        else:
            self._changes.add(owner, lambda: turn.callback(None))
        self._schedule()
        return turn

    def drop(self, owner: Hashable) -> None:
        """What this one has requested, or said, need not be done. Changes are never given up so."""
        self._requests.drop(owner)
        self._heard.drop(owner)

    def stop(self) -> None:
        for some in self._rounds:
            some.clear()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _schedule(self) -> None:
        if self._next is None:
            self._next = self._clock.callLater(0, self._serve)

    def _serve(self) -> None:
        self._next = None
        served = next(filter(None, self._rounds), None)
        if served is None:
            return
        self._rounds.remove(served)
        self._rounds.append(served)
        owner, work = served.take()
        # Whatever is asked for now has to wait: this turn is taken.
        self._schedule()
        if work():
            served.go_on(owner, work)


class _Round:
    """Work by whose it is, in the order of their next turns."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[Hashable, deque[Work]] = OrderedDict()

    def waiting(self, owner: Hashable) -> int:
        return len(self._waiting.get(owner, ()))

    def add(self, owner: Hashable, work: Work) -> None:
        self._waiting.setdefault(owner, deque()).append(work)

    def go_on(self, owner: Hashable, work: Work) -> None:
        """It comes before what else this one waits for."""
        self._waiting.setdefault(owner, deque()).appendleft(work)

    def drop(self, owner: Hashable) -> None:
        self._waiting.pop(owner, None)

    def clear(self) -> None:
        self._waiting.clear()

    def take(self) -> tuple[Hashable, Work]:
        """There must be some."""
        owner, queue = self._waiting.popitem(last=False)
        work = queue.popleft()
        if queue:
            # Behind all the others.
            self._waiting[owner] = queue
        return owner, work

    def __len__(self) -> int:
        return len(self._waiting)
