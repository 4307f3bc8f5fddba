"""The serving end's answers to `get_have`: which chunks are there, now and as they come."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ...content.digest import GROUP_CHUNKS
from ...wire import peer as wire
from .outlet import Outlet
from .partial_sharing import Parts
from .uploads import Shared

#: Seconds between two rounds of news on one link; chunks that come meanwhile are told together.
SPACING_S = 0.25
#: Lines in one round: a content of terabytes has very many groups.
ROUND_LINES = 64


@define(eq=False)
class _Told:
    """Who asked what, and which groups there is news of, in the order of their coming; `gone`: it is over."""

    id: int
    parts: Parts
    news: dict[int, None] = field(factory=dict)
    gone: bool = False
    forget: Callable[[], None] = lambda: None

    @property
    def due(self) -> bool:
        return self.gone or bool(self.news)


class HaveAnswers:
    """One link's questions what is there. Whether the asker may know is decided before they come here.

    :param start: starts work that ends with the link.
    """

    def __init__(
        self,
        clock: IReactorTime,
        outlet: Outlet,
        start: Callable[[str, Coroutine[Deferred[Any], Any, None]], None],
    ) -> None:
        self._clock = clock
        self._outlet = outlet
        self._start = start
        self._told: dict[int, _Told] = {}
        self._telling = False

    def __len__(self) -> int:
        return len(self._told)

    def ask(self, request: wire.GetHave, shared: Shared) -> None:
        """Of what is there as a whole that is said, once."""
        if not isinstance(shared, Parts):
            self._outlet.say(wire.Have(request.id, whole=True))
            return
        if len(self._told) >= wire.MAX_HAVES:
            text = f"over {wire.MAX_HAVES} contents are watched"
            self._outlet.say(wire.Error("limit", text, request.id))
            return
        self.cancel(request.id)
        told = self._told[request.id] = _Told(request.id, shared)
        told.news = dict.fromkeys(group for group in shared.groups() if shared.bits(group))
        told.forget = shared.watch(lambda chunk: self._news(told, chunk))
        self._tell()

    def cancel(self, number: int) -> None:
        told = self._told.pop(number, None)
        if told is not None:
            told.forget()

    def forget(self) -> None:
        for number in list(self._told):
            self.cancel(number)

    def _news(self, told: _Told, chunk: int | None) -> None:
        if chunk is None:
            told.gone = True
        else:
            told.news[chunk // GROUP_CHUNKS] = None
        self._tell()

    def _tell(self) -> None:
        if not self._telling:
            self._telling = True
            self._start("telling what is there", self._tell_all())

    async def _tell_all(self) -> None:
        """Round by round, as long as there is news and the other end takes it."""
        try:
            while any(told.due for told in self._told.values()) and self._outlet.link is not None:
                await self._outlet.between_chunks()
                self._tell_round()
                if self._outlet.link is not None:
                    await self._outlet.drained(self._outlet.link)
                await deferLater(self._clock, SPACING_S)
        finally:
            self._telling = False

    def _tell_round(self) -> None:
        left = ROUND_LINES
        for told in list(self._told.values()):
            if told.gone:
                self.cancel(told.id)
                self._outlet.say(wire.Gone(told.id))
                continue
            while told.news and left:
                left -= 1
                group = next(iter(told.news))
                del told.news[group]
                self._outlet.say(wire.Have(told.id, group, _bytes(told.parts.bits(group))))


def _bytes(bits: int) -> bytes:
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")
