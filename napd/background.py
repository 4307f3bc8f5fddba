"""The one way to start work without awaiting it: named, its failure reported, stoppable as a whole."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

#: Told the name of the work and how it failed: a bug, since work handles the failures it expects.
Report = Callable[[str, Failure], None]


class Background:
    """Coroutines that run beside the caller, until they end or `stop` is called."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._running: set[Deferred[Any]] = set()
        self._stopped = False

    def start(self, name: str, work: Coroutine[Deferred[Any], Any, Any]) -> Deferred[None]:
        """Run it now, up to its first wait. The Deferred fires when it has ended, and never fails.

        Cancelling the Deferred cancels the work. After `stop` nothing is started any more.
        """
        if self._stopped:
            work.close()
            done: Deferred[None] = Deferred()
            done.callback(None)
            return done
        running = Deferred.fromCoroutine(work)
        self._running.add(running)

        def ended(result: Any) -> None:
            self._running.discard(running)
            if isinstance(result, Failure) and not result.check(CancelledError, GeneratorExit):
                self._report(name, result)

        running.addBoth(ended)
        return running

    async def stop(self) -> None:
        """Cancel everything that runs and wait until it has ended."""
        self._stopped = True
        for running in list(self._running):
            running.cancel()
        for running in list(self._running):
            await _ended(running)


def _ended(running: Deferred[Any]) -> Deferred[None]:
    done: Deferred[None] = Deferred()

    def fire(result: Any) -> Any:
        done.callback(None)
        return result

    running.addBoth(fire)
    return done
