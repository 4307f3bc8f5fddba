"""A store that answers steps when a test says so."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred

from napd.index.store.interface import Applied, Step
from napd.index.store.memory import MemoryStore


class SlowStore(MemoryStore):
    """Answers steps when it is told to; what they come to is decided in their order, at once."""

    def __init__(self) -> None:
        super().__init__(lambda: f"account-{len(self._accounts)}")
        self.unanswered: deque[tuple[Deferred[Applied], Deferred[Applied]]] = deque()
        self.slow = True

    def apply(self, step: Step, most: int) -> Deferred[Applied]:
        applied = super().apply(step, most)
        if not self.slow:
            return applied
        answer: Deferred[Applied] = Deferred()
        self.unanswered.append((applied, answer))
        return answer

    def answer(self, count: int = 1) -> None:
        for _ in range(count):
            applied, answer = self.unanswered.popleft()
            applied.chainDeferred(answer)
