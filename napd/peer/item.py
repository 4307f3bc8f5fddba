"""One download, as the queue and its journal know it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

from attrs import define, frozen

from ..model import ContentId, DownloadState, Priority
from ..wire.documents import Problem

_RUNNABLE = frozenset({DownloadState.QUEUED, DownloadState.ACTIVE})


@define(eq=False)
class Item:
    """One download as the queue sees it; changed only through `peer.queue`, but for the figures at the end.

    `transfer` names it in the logs of both ends and its partial file; `directory` is where it will be saved.
    Times are seconds since 1970.
    """

    id: int
    content: ContentId
    transfer: str
    name: str
    size: int | None
    directory: str
    priority: Priority
    place: int
    added: float
    state: DownloadState = DownloadState.QUEUED
    path: str | None = None
    error: Problem | None = None
    finished: float | None = None
    #: Flushed and journalled bytes.
    bytes_done: int = 0
    #: Payload bytes from the wire, over all runs.
    bytes_received: int = 0
    #: Its chunks are asked for in order, as somebody reads it while it comes.
    sequential: bool = False
    #: It has never run, so neither the journal nor the disk holds anything of it.
    new: bool = False
    #: As the daemon started, its file was complete and perhaps under its name; the run that looks settles that.
    sealed: bool = False
    #: Neither the journal nor the disk holds anything of it that is worth to be taken up.
    bare: bool = False

    @property
    def key(self) -> tuple[int, int, int]:
        return self.priority.rank, self.place, self.id

    @property
    def complete(self) -> bool:
        """All its bytes are on the disk; only the name is missing, if that."""
        return self.sealed or (bool(self.size) and self.bytes_done == self.size)

    @property
    def runnable(self) -> bool:
        return self.state in _RUNNABLE


#: What commands change of an item.
COMMANDED = (
    "state",
    "priority",
    "place",
    "name",
    "directory",
    "path",
    "error",
    "finished",
    "bytes_done",
    "sequential",
)
commanded = attrgetter(*COMMANDED)


@frozen
class Remembered:
    """Items as they were, so that a change which cannot be journalled can be taken back."""

    items: dict[int, tuple[Any, ...]]

    @classmethod
    def of(cls, items: Iterable[Item]) -> Remembered:
        return cls({item.id: commanded(item) for item in items})
