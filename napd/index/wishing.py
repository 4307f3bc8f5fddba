"""Searches that stand: each session's wishes, told what matches of all that is announced."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ..wire import index as wire
from .items import Asker
from .query import Query


class Wisher(Protocol):
    """A session that has wishes."""

    @property
    def asker(self) -> Asker: ...

    def tell_wished(self, message: wire.Wished) -> None: ...


class Wishing:
    """Wishes by whose they are and the number that he gave them; nothing of them outlives the session."""

    def __init__(self) -> None:
        self._wishes: dict[Wisher, dict[int, Query]] = {}

    def held_by(self, wisher: Wisher) -> int:
        return len(self._wishes.get(wisher, ()))

    def hold(self, wisher: Wisher, number: int, query: Query) -> None:
        """One of the same number is replaced."""
        self._wishes.setdefault(wisher, {})[number] = query

    def drop(self, wisher: Wisher, numbers: Iterable[int]) -> None:
        mine = self._wishes.get(wisher, {})
        for number in numbers:
            mine.pop(number, None)
        if not mine:
            self._wishes.pop(wisher, None)

    def leave(self, wisher: Wisher) -> None:
        """The session is over."""
        self._wishes.pop(wisher, None)

    def __len__(self) -> int:
        return sum(len(wishes) for wishes in self._wishes.values())
