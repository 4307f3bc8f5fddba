"""Wishes on their way to the index: all of them again after each login, as many as it holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ..errors import LocalProtocolError, Misuse, NapError, printable
from ..wire import index as wire
from ..wire.control import SearchParams
from .interface import Wisher


class WishSession(Protocol):
    """What is needed of a session; implemented by `discovery.session`."""

    welcome: wire.Welcome | None

    def new_id(self) -> int: ...
    def wish(self, wish: wire.Wish) -> None: ...
    def unwish(self, wishes: Iterable[int]) -> None: ...


class StandingWishes:
    """By the wisher's numbers, which outlive sessions; on the wire each has a number of the session."""

    def __init__(self) -> None:
        self.wisher: Wisher | None = None
        self._wishes: dict[int, SearchParams] = {}
        self._session: WishSession | None = None
        self._numbers: dict[int, int] = {}
        self._by_number: dict[int, int] = {}

    def add(self, wish: int, query: SearchParams) -> bool:
        """Whether the index holds it now."""
        self._wishes[wish] = query
        return self._say(wish)

    def drop(self, wishes: Iterable[int]) -> None:
        numbers = []
        for wish in wishes:
            self._wishes.pop(wish, None)
            if (number := self._numbers.pop(wish, None)) is not None:
                del self._by_number[number]
                numbers.append(number)
        if self._session is not None and numbers:
            self._session.unwish(numbers)

    # --- The session -----------------------------------------------------------------------------

    def opened(self, session: WishSession, limits: wire.Limits) -> None:
        self._session = session
        for wish in self._wishes:
            self._say(wish)
        if self.wisher is not None:
            self.wisher.wishes_open(frozenset(self._numbers), limits.searches_per_s)

    def closed(self) -> None:
        if self._session is not None:
            self._session = None
            self._numbers.clear()
            self._by_number.clear()
            if self.wisher is not None:
                self.wisher.wishes_closed()

    def told(self, message: wire.Wished) -> None:
        wish = self._by_number.get(message.wish)
        if wish is None or self.wisher is None:
            return
        if message.reason is not None:
            self._refused(message.wish, Misuse(printable(message.reason)))
        elif message.results or message.more:
            self.wisher.wish_met(wish, message.results, message.more)

    def error_heard(self, error: wire.Error) -> None:
        """An error that is no request's: it may be about a wish."""
        if error.id is not None and error.id in self._by_number:
            message = printable(error.message)
            refused = Misuse(message) if error.code == "usage" else NapError(message, code=printable(error.code, 40))
            self._refused(error.id, refused)

    def _refused(self, number: int, why: NapError) -> None:
        wish = self._by_number.pop(number)
        del self._numbers[wish]
        if self.wisher is not None:
            self.wisher.wish_refused(wish, why)

    def _say(self, wish: int) -> bool:
        session = self._session
        if session is None or session.welcome is None or len(self._numbers) >= session.welcome.limits.wishes:
            return False
        query, number = self._wishes[wish], session.new_id()
        self._numbers[wish] = number
        self._by_number[number] = wish
        message = wire.Wish(
            wish=number,
            query=query.query,
            ext=query.ext,
            type=query.type,
            min_size=query.min_size,
            max_size=query.max_size,
            min_bitrate=query.min_bitrate,
            user=query.user,
        )
        try:
            session.wish(message)
        except LocalProtocolError:
            del self._numbers[wish], self._by_number[number]
            return False
        return True
