"""Requests of one link: so many may be open at the other end, the others wait here. Pure."""

from __future__ import annotations

from itertools import islice

from attrs import define, field

from ..wire.peer import MAX_OUTSTANDING, FromFetcher


@define
class Outstanding:
    """Requests by id, in the order of asking. What `ask` and `ended` return is to be said now."""

    limit: int = MAX_OUTSTANDING
    _said: set[int] = field(factory=set)
    _held: dict[int, FromFetcher] = field(factory=dict)

    def ask(self, number: int, message: FromFetcher) -> list[FromFetcher]:
        self._held[number] = message
        return self._next()

    def ended(self, number: int) -> list[FromFetcher]:
        """The other end has answered this one in full, or will not."""
        self._said.discard(number)
        return self._next()

    def withdraw(self, number: int) -> bool:
        """Whether it had not been said, and never will be."""
        return self._held.pop(number, None) is not None

    def clear(self) -> None:
        self._said.clear()
        self._held.clear()

    def _next(self) -> list[FromFetcher]:
        chosen = dict(islice(self._held.items(), max(0, self.limit - len(self._said))))
        for number in chosen:
            del self._held[number]
        self._said.update(chosen)
        return list(chosen.values())
