"""Takes what is due to be hashed, has it read in a thread, and enters what came of it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

from twisted.internet.interfaces import IReactorTime

from ...content.digest import MAX_CONTENT_BYTES
from ...errors import NapError
from ...ops.threads import Worker
from .bell import Bell
from .books import Books
from .hashing import Changed, Failed, Outcome, Work, hash_batch

#: Files up to this size have a thread of their own, so that no large one keeps them waiting.
SMALL_BYTES = 16 << 20
SMALL = (0, SMALL_BYTES)
LARGE = (SMALL_BYTES + 1, MAX_CONTENT_BYTES)

#: Seconds between looks for work when no bell rings, and before the next try when the books cannot be written.
IDLE_S = 60.0
RETRY_S = 5.0
#: Nobody waits shorter than that: time stamps and timers differ by some ticks.
LEAST_WAIT_S = 0.02


class Hasher:
    """One thread's work, and that of those that help it.

    :param sizes: of the files that are its own, from and up to.
    :param batch: files taken at once.
    :param strands: chunks or files read at a time.
    :param heard: told what could not be hashed: changed or gone, or failed.
    :param unreadable: told of each recording whose headers could not be understood, and why.
    :param trouble: told when the books could not be written.
    """

    def __init__(
        self,
        *,
        clock: IReactorTime,
        now: Callable[[], float],
        worker: Worker,
        books: Books,
        sizes: tuple[int, int],
        batch: int,
        strands: int,
        heard: Callable[[Changed | Failed], None],
        unreadable: Callable[[Work, str], None],
        trouble: Callable[[NapError], None],
    ) -> None:
        self._now = now
        self._worker = worker
        self._books = books
        self._sizes = sizes
        self._batch = batch
        self._strands = strands
        self._heard = heard
        self._unreadable = unreadable
        self._trouble = trouble
        self._stopped = Event()
        self._bell = Bell(clock)

    def wake(self) -> None:
        """There may be more to do."""
        self._bell.ring()

    def stop(self) -> None:
        """End soon: what is being read is left at the next chunk, what was read is kept."""
        self._stopped.set()
        self._bell.ring()

    async def run(self) -> None:
        while not self._stopped.is_set():
            try:
                wait_s = await self._turn()
            except NapError as error:
                self._trouble(error)
                wait_s = RETRY_S
            if wait_s is not None and not self._stopped.is_set():
                await self._bell.wait(wait_s)

    async def _turn(self) -> float | None:
        """Hash some. Returns how long there is nothing to do, None if there may be more right now."""
        ledger = self._books.ledger
        works = await self._books.run(ledger.work, self._sizes, self._batch, self._now())
        if not works:
            due = await self._books.run(ledger.next_due, self._sizes)
            return IDLE_S if due is None else min(IDLE_S, max(LEAST_WAIT_S, due - self._now()))
        outcomes: list[Outcome] = await self._worker.run(hash_batch, works, self._now, self._stopped, self._strands)
        await self._books.run(ledger.store, outcomes, self._now())
        for outcome in outcomes:
            if isinstance(outcome, (Changed, Failed)):
                self._heard(outcome)
            elif outcome.told is not None and outcome.told.trouble is not None:
                self._unreadable(outcome.work, outcome.told.trouble)
        return None
