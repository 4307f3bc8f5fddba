"""Small contents read ahead for one link: several opened, checked, read and closed in one go on a disk thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ...errors import NapError
from ...model import ContentId
from ..files.disk import Disk

#: Files that are read in one go, and bytes of these at most, but for the first. Two such handfuls are kept for a link.
MAX_FILES = 32
MAX_BYTES = 1 << 20
#: Seconds after which what was read is too old to be sent.
MAX_AGE_S = 1.0


class Readable(Protocol):
    """A listing of at most one chunk."""

    @property
    def size(self) -> int: ...
    def open(self) -> int:
        """:raises LookupError: it is another file now. :raises OSError: it cannot be opened."""


@define(eq=False)
class _Handful:
    """What is read in one go. `data` stays empty if the threads would not take it on."""

    begun: float
    data: dict[ContentId, memoryview | None] = field(factory=dict)
    ready: bool = False
    waiting: list[Deferred[None]] = field(factory=list)

    def came(self, data: Any) -> None:
        self.data = data if isinstance(data, dict) else {}
        self.ready = True
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            one.callback(None)

    async def take(self, content: ContentId) -> memoryview | None:
        if not self.ready:
            came: Deferred[None] = Deferred(self.waiting.remove)
            self.waiting.append(came)
            await came
        return self.data.pop(content, None)


class ReadAhead:
    """One link's. :param run: runs a function on a disk thread."""

    def __init__(self, clock: IReactorTime, disk: Disk, run: Callable[..., Deferred[Any]]) -> None:
        self._clock = clock
        self._disk = disk
        self._run = run
        self._coming: dict[ContentId, _Handful] = {}

    async def take(
        self, content: ContentId, file: Readable, others: Iterable[tuple[ContentId, Readable]]
    ) -> memoryview | None:
        """All bytes of this content; None if it is not to be had any more.

        :param others: which are likely to be asked for next, in order; looked at only as far as they are read.
        """
        handful = self._coming.pop(content, None)
        if handful is None or self._clock.seconds() - handful.begun > MAX_AGE_S:
            self._coming.clear()
            following = iter(others)
            handful = self._begin(content, file, following)
            self._coming.pop(content)
        elif len(self._coming) < MAX_FILES // 2:
            following = ((other, its) for other, its in others if other not in self._coming)
            if (first := next(following, None)) is not None:
                self._begin(*first, following)
        return await handful.take(content)

    def _begin(self, content: ContentId, file: Readable, others: Iterable[tuple[ContentId, Readable]]) -> _Handful:
        files = {content: file}
        size = file.size
        for other, its in others:
            size += its.size
            if size > MAX_BYTES:
                break
            files[other] = its
            if len(files) == MAX_FILES:
                break
        handful = _Handful(self._clock.seconds())
        self._coming.update(dict.fromkeys(files, handful))
        self._run(self._read, files).addBoth(handful.came)
        return handful

    def _read(self, files: dict[ContentId, Readable]) -> dict[ContentId, memoryview | None]:
        """On a disk thread."""
        return {content: self._read_one(file) for content, file in files.items()}

    def _read_one(self, file: Readable) -> memoryview | None:
        try:
            descriptor = file.open()
        except (OSError, LookupError):
            return None
        data = memoryview(bytearray(file.size))
        try:
            size = self._disk.read_into(descriptor, data, 0)
        except NapError:
            return None
        finally:
            os.close(descriptor)
        return data if size == file.size else None
