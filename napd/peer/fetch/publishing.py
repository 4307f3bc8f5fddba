"""Which downloads get their names now: a command does not meet one between its name and the journal's word of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from ..item import Item

#: Seconds that a command waits for a file to get its name. A slower disk is not waited for: the command acts, and the
#: file stays.
SETTLE_S = 20.0


class Publishing:
    """By the ids of downloads. Between `begin` and `ended` one of them may have its name at any moment."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._stilled: Counter[int] = Counter()
        self._waiting: dict[int, list[Deferred[None]]] = {}

    def may_begin(self, item: Item) -> bool:
        return item.runnable and not self._stilled[item.id]

    def begin(self, item: Item) -> bool:
        """Whether it may have its name; if so, `ended` has to follow."""
        if not self.may_begin(item):
            return False
        self._waiting.setdefault(item.id, [])
        return True

    def ended(self, item: Item) -> None:
        for waiting in self._waiting.pop(item.id, ()):
            if not waiting.called:
                waiting.callback(None)

    @contextmanager
    def stilled(self, items: Sequence[Item]) -> Iterator[None]:
        """None of these begins meanwhile."""
        ids = [item.id for item in items]
        self._stilled.update(ids)
        try:
            yield
        finally:
            self._stilled.subtract(ids)
            for number in ids:
                if self._stilled[number] <= 0:
                    del self._stilled[number]

    async def settled(self, items: Iterable[Item]) -> None:
        """Returns when none of these is between its name and its end, or after `SETTLE_S`."""
        for item in items:
            if item.id in self._waiting:
                ended: Deferred[None] = Deferred()
                self._waiting[item.id].append(ended)
                ended.addTimeout(SETTLE_S, self._clock)
                try:
                    await ended
                except DeferredTimeout:
                    return
