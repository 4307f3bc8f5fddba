"""What a session is told, and what becomes of one that does not read: it is cut off at a cap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from ..errors import NapError, Unreachable
from ..wire.line import encode

#: Seconds in which the last word has to be taken.
LAST_WORD_S = 5.0


class Link(Protocol):
    """The part of `napd.net.link.SecureLink` that a session uses."""

    transport: Any

    def say(self, message: Struct) -> None: ...

    def hang_up(self, last: Struct | None = None) -> None: ...

    def abort(self, why: NapError) -> None: ...


@implementer(IPushProducer)
class Outbox:
    """The writing side of a link.

    :param overflow: called once when more than `cap` bytes wait for the other end to read.
    """

    def __init__(self, clock: IReactorTime, link: Link, cap: int, overflow: Callable[[], None]) -> None:
        self._clock = clock
        self._link = link
        self._cap = cap
        self._overflow = overflow
        self._unread = 0
        self._full = False
        self._open = False
        self._cut: IDelayedCall | None = None

    def open(self) -> None:
        self._open = True
        self._link.transport.registerProducer(self, True)

    def say(self, message: Struct) -> None:
        if not self._open:
            return
        if self._full:
            self._unread += len(encode(message))
            if self._unread > self._cap:
                self._overflow()
                return
        self._link.say(message)

    def hang_up(self, last: Struct | None) -> None:
        """End the link in good order, or cut it when the other end does not take the last word."""
        if not self._open:
            self._link.abort(Unreachable("the link ended before it was up"))
            return
        self._close()
        self._cut = self._clock.callLater(LAST_WORD_S, self._link.abort, Unreachable("the last word was not read"))
        self._link.hang_up(last)

    def abort(self, why: NapError) -> None:
        if self._open:
            self._close()
        self._link.abort(why)

    def lost(self) -> None:
        """The link is gone."""
        self._open = False
        if self._cut is not None and self._cut.active():
            self._cut.cancel()

    def _close(self) -> None:
        self._open = False
        # A transport does not end while something may still be produced for it.
        self._link.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        self._full = True

    def resumeProducing(self) -> None:
        self._full = False
        self._unread = 0

    def stopProducing(self) -> None:
        """The link is ending; `lost` follows."""
