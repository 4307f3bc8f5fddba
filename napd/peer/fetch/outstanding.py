"""Requests of one link: so many may be open at the other end, the others wait here. Pure."""

from __future__ import annotations

from itertools import chain, islice

from attrs import define, field

from ...wire.peer import LEAST_URGENT, MAX_OUTSTANDING, FromFetcher, Get


@define
class Outstanding:
    """Requests by id, the most urgent first, then in the order of asking.

    What `ask` and `ended` return is to be said now. Questions about manifests go before all bulk that is not urgent:
    without the answers nothing can be asked for.
    """

    limit: int = MAX_OUTSTANDING
    _said: set[int] = field(factory=set)
    _held: tuple[dict[int, FromFetcher], ...] = field(factory=lambda: tuple({} for _ in range(LEAST_URGENT + 1)))

    def ask(self, number: int, message: FromFetcher) -> list[FromFetcher]:
        self._held[message.priority if isinstance(message, Get) else 0][number] = message
        return self._next()

    def ended(self, number: int) -> list[FromFetcher]:
        """The other end has answered this one in full, or will not."""
        self._said.discard(number)
        return self._next()

    def withdraw(self, number: int) -> bool:
        """Whether it had not been said, and never will be."""
        return any(line.pop(number, None) is not None for line in self._held)

    def clear(self) -> None:
        self._said.clear()
        for line in self._held:
            line.clear()

    def _next(self) -> list[FromFetcher]:
        room = max(0, self.limit - len(self._said))
        chosen = dict(islice(chain.from_iterable(line.items() for line in self._held), room))
        for number in chosen:
            self.withdraw(number)
        self._said.update(chosen)
        return list(chosen.values())
