"""Recordings that were hashed before anybody looked into their headers: read in the background, little by little."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from threading import Event

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from ...errors import NapError
from ...ops.threads import Worker
from .bell import Bell
from .books import Books
from .hashing import Work
from .identity import Identity
from .media import Told, read_media
from .opening import about_file, open_file

#: Files looked into at once, and seconds between that: each is a change of the catalogue that others have to be told.
BATCH = 50
BATCH_S = 0.1
#: Seconds before those are tried again whose share was away or whose file was another.
AGAIN_S = 900.0


@frozen
class Described:
    """What the headers of a file say that was hashed long ago."""

    work: Work
    told: Told


def describe_batch(works: Sequence[Work], stopped: Event) -> list[Described]:
    """What can be said of these files; those that are gone, or others by now, are left out."""
    described = []
    for work in works:
        if stopped.is_set():
            break
        told = _describe(work)
        if told is not None:
            described.append(Described(work, told))
    return described


def _describe(work: Work) -> Told | None:
    try:
        descriptor = open_file(work.directory, work.path)
        try:
            if Identity.of(os.fstat(descriptor)) != work.identity:
                return None
            told = read_media(descriptor, work.path, work.identity.size)
            return told if Identity.of(os.fstat(descriptor)) == work.identity else None
        finally:
            os.close(descriptor)
    except OSError as error:
        about_file(error)
        return None


class Describer:
    """Ends when there is nothing left of the time before headers were read.

    :param unreadable: told of each file whose headers could not be understood, and why.
    :param trouble: told when the books could not be written.
    """

    def __init__(
        self,
        *,
        clock: IReactorTime,
        worker: Worker,
        books: Books,
        unreadable: Callable[[Work, str], None],
        trouble: Callable[[NapError], None],
    ) -> None:
        self._worker = worker
        self._books = books
        self._unreadable = unreadable
        self._trouble = trouble
        self._stopped = Event()
        self._bell = Bell(clock)

    def stop(self) -> None:
        self._stopped.set()
        self._bell.ring()

    async def run(self) -> None:
        after = 0
        while not self._stopped.is_set():
            try:
                wait_s, after = await self._turn(after)
            except NapError as error:
                self._trouble(error)
                wait_s = AGAIN_S
            if wait_s is None:
                return
            if not self._stopped.is_set():
                await self._bell.wait(wait_s)

    async def _turn(self, after: int) -> tuple[float | None, int]:
        """Describe some, from the hash with this number on. Returns how long to wait and where to go on."""
        ledger = self._books.ledger
        works, last = await self._books.run(ledger.undescribed, after, BATCH)
        if last is None:
            return (AGAIN_S, 0) if after else (None, 0)
        described: list[Described] = await self._worker.run(describe_batch, works, self._stopped)
        await self._books.run(ledger.describe, [(one.work.hash, one.told.media) for one in described])
        for one in described:
            if one.told.trouble is not None:
                self._unreadable(one.work, one.told.trouble)
        return (BATCH_S if works else 0.0), last
