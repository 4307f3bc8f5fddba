"""The addresses of one source, tried in turn and at most two at a time, until one leads to a source that admits us."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from ...errors import NapError, SourceFailed
from ..fetch.fetching import FetchSession

#: Seconds that an address has to itself before the next one is tried as well: one that is dead takes ten to say so.
HEAD_START_S = 1.0
#: Attempts that may be under way at a time.
MAX_ATTEMPTS = 2


class Dialling:
    """:param open: begins one attempt; cancelled when it is not wanted any more.
    :param failed: told of each attempt that came to nothing.
    """

    def __init__(
        self,
        clock: IReactorTime,
        addresses: Sequence[str],
        open: Callable[[str], Deferred[FetchSession]],
        failed: Callable[[str, NapError], None],
    ) -> None:
        self._clock = clock
        self._left = list(addresses)
        self._open = open
        self._failed = failed
        self._running: dict[str, Deferred[Any]] = {}
        self._timer: IDelayedCall | None = None
        self._over = False
        self._failure: NapError = SourceFailed("it has no address", code="unreachable")
        #: Fires with (address, session), or fails as the last attempt did.
        self.done: Deferred[tuple[str, FetchSession]] = Deferred(lambda _: self._let_go())

    def start(self) -> Deferred[tuple[str, FetchSession]]:
        self._next()
        return self.done

    def _next(self) -> None:
        """Begin the next attempt, if there may be one."""
        if self._over or len(self._running) >= MAX_ATTEMPTS:
            return
        if not self._left:
            if not self._running:
                self._over = True
                self.done.errback(self._failure)
            return
        address = self._left.pop(0)
        self._wait(HEAD_START_S if self._left else None)
        attempt = self._running[address] = self._open(address)
        attempt.addCallbacks(self._opened, self._came_to_nothing, callbackArgs=(address,), errbackArgs=(address,))

    def _opened(self, session: FetchSession, address: str) -> None:
        self._running.pop(address, None)
        if self._over:
            session.close()
            return
        self._let_go()
        self.done.callback((address, session))

    def _came_to_nothing(self, failure: Failure, address: str) -> None:
        self._running.pop(address, None)
        if self._over:
            return
        if not isinstance(failure.value, NapError):
            self.done.errback(failure)
            self._let_go()
            return
        self._failure = failure.value
        self._failed(address, failure.value)
        self._next()

    def _let_go(self) -> None:
        """Nothing else is tried."""
        self._over = True
        self._left.clear()
        self._wait(None)
        running, self._running = self._running, {}
        for attempt in running.values():
            attempt.addErrback(lambda _: None)
            attempt.cancel()

    def _wait(self, seconds: float | None) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None if seconds is None else self._clock.callLater(seconds, self._next)
