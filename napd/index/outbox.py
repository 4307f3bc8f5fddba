"""What a session is told, and what becomes of one that does not read: it is cut off at a cap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from attrs import define
from msgspec import Struct
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from ..errors import NapError, Unreachable
from ..wire.line import encode


class Link(Protocol):
    """The part of `napd.net.link.SecureLink` that a session uses."""

    transport: Any

    def say(self, message: Struct) -> None: ...

    def hang_up(self, last: Struct | None = None) -> None: ...

    def abort(self, why: NapError) -> None: ...


@define
class Unread:
    """Bytes that wait for others to read. :param cap: of one; `cap_in_all`: of all together."""

    cap: int
    cap_in_all: int
    in_all: int = 0


@implementer(IPushProducer)
class Outbox:
    """The writing side of a link.

    :param unread: of all outboxes.
    :param overflow: called once when more waits for the other end to read than may.
    """

    def __init__(self, link: Link, unread: Unread, overflow: Callable[[], None]) -> None:
        self._link = link
        self._all = unread
        self._overflow = overflow
        self._unread = 0
        self._full = False
        self._open = False

    def open(self) -> None:
        self._open = True
        self._link.transport.registerProducer(self, True)

    def say(self, message: Struct) -> None:
        if not self._open:
            return
        if self._full:
            size = len(encode(message))
            self._unread += size
            self._all.in_all += size
            if self._unread > self._all.cap or self._all.in_all > self._all.cap_in_all:
                self._overflow()
                return
        self._link.say(message)

    def hang_up(self, last: Struct | None) -> None:
        """End the link in good order; one that is not up yet, at once."""
        if self._open:
            self._close()
            self._link.hang_up(last)
        else:
            self._link.abort(Unreachable("the link ended before it was up"))

    def abort(self, why: NapError) -> None:
        if self._open:
            self._close()
        self._link.abort(why)

    def lost(self) -> None:
        """The link is gone."""
        self._open = False
        self._forget_unread()

    def _close(self) -> None:
        self._open = False
        # A transport does not end while something may still be produced for it.
        self._link.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        self._full = True

    def resumeProducing(self) -> None:
        self._full = False
        self._forget_unread()

    def _forget_unread(self) -> None:
        self._all.in_all -= self._unread
        self._unread = 0

    def stopProducing(self) -> None:
        """The link is ending; `lost` follows."""
