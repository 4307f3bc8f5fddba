"""Several downloads at work with one source: the more urgent one goes first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from attrs import define, field


class Worker(Protocol):
    """What works with a source for one download: `peer.fetch.lane`. The smaller `rank`, the more urgent."""

    @property
    def rank(self) -> int: ...
    @property
    def presses(self) -> bool:
        """It could take all that the source gives: less urgent ones give way."""

    @property
    def waits(self) -> bool: ...
    def give_way(self) -> None:
        """A more urgent one wants the source: take back what has not begun to come."""

    def go_on(self) -> None:
        """The more urgent one is satisfied."""


@define(eq=False)
class Workers:
    """Those of one source. What is told to one may end others."""

    _workers: list[Worker] = field(factory=list)

    def __iter__(self) -> Iterator[Worker]:
        return iter(list(self._workers))

    @property
    def served(self) -> int:
        """How many the source does not make wait in its queue."""
        return sum(not worker.waits for worker in self._workers)

    def add(self, worker: Worker) -> None:
        self._workers.append(worker)

    def remove(self, worker: Worker) -> None:
        self._workers.remove(worker)
        self.let_others_go_on(worker)

    def is_held_back(self, worker: Worker) -> bool:
        """A more urgent one takes all that the source gives."""
        return any(other.presses and other.rank < worker.rank for other in self._workers)

    def press(self, worker: Worker) -> None:
        """What is less urgent gives way, while this one presses; also when it has only now become so."""
        for other in self:
            if worker.presses and other.rank > worker.rank:
                other.give_way()

    def let_others_go_on(self, worker: Worker) -> None:
        """This one presses no more."""
        for other in self:
            if other.rank > worker.rank:
                other.go_on()
