"""Partial sharing: what a running download has already, served to others that fetch the same content.

Only of contents that are offered to everyone, as the index says. Served is what is *verified*: checked and written. It
need not be flushed: it is read back through the same cache that it was written to, the other end checks it again, and
after a sync that fails the download ends, and with it this.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ...background import Background
from ...content.digest import GROUP_CHUNKS
from ...discovery.interface import Discovery
from ...errors import NapError
from ...model import EVERYONE, ContentId
from ..files.disk import Disk
from ..files.received import Received
from ..item import Item
from .uploads import Library, Shared

#: Seconds from the first verified chunk until the index is told: what is done by then is not worth telling.
TELL_S = 0.5
#: A finished download is served on for so long: those who wait for its last chunks would else have to fetch them from
#: where it has them from, each for himself.
LINGER_S = 60.0


@define(eq=False)
class Parts:
    """What one download has of its content, as a listing (`uploads.Shared`).

    Opened once, with a descriptor of its own that is good for the finished file too: publishing only changes its name.
    """

    _item: Item
    _received: Received
    _disk: Disk
    #: The index has been told.
    told: bool = False
    finished: bool = False
    timer: IDelayedCall | None = None
    _descriptor: int | None = None
    _lock: threading.Lock = field(factory=threading.Lock)
    _watchers: list[Callable[[int | None], None]] = field(factory=list)
    _over: bool = False

    @property
    def content(self) -> ContentId:
        return self._item.content

    @property
    def name(self) -> str:
        return self._item.name

    @property
    def size(self) -> int:
        return self._received.size

    @property
    def audience(self) -> Sequence[str]:
        return (EVERYONE,)

    @property
    def ready(self) -> bool:
        """It can be served."""
        return self._descriptor is not None and not self._over

    # --- What is there ---------------------------------------------------------------------------

    def has(self, chunk: int) -> bool:
        return not self._over and self._received.picker.is_verified(chunk)

    def bits(self, group: int) -> int:
        """The chunks of a group that are there: the first is the lowest bit."""
        first = group * GROUP_CHUNKS
        return self._received.picker.verified_bits(first, first + GROUP_CHUNKS)

    def groups(self) -> range:
        return range(self._received.manifest.outline.groups)

    def outline(self) -> tuple[int, bytes]:
        outline = self._received.manifest.outline
        return outline.size, outline.group_digests

    async def group(self, group: int) -> bytes:
        """:raises LookupError: it has not learnt these digests yet. :raises DiskFailed: they cannot be read."""
        if self._received.keeps_digests(group):
            await self._received.load_digests(group)
        return self._received.manifest.group(group)

    def watch(self, told: Callable[[int | None], None]) -> Callable[[], None]:
        """Call `told` with the number of each chunk that comes, and with None when it is over; the result ends that."""
        self._watchers.append(told)
        return lambda: self._watchers.remove(told) if told in self._watchers else None

    def stored(self, chunk: int) -> None:
        for told in list(self._watchers):
            told(chunk)

    # --- The file, on a disk thread --------------------------------------------------------------

    def begin(self) -> None:
        """Open it. :raises NapError: it cannot be."""
        descriptor = self._disk.open_to_read(self._received.path)
        with self._lock:
            if self._over and descriptor is not None:
                self._disk.close(descriptor)
            else:
                self._descriptor = descriptor

    def open(self) -> int:
        """A descriptor for one upload. :raises LookupError: it is over."""
        with self._lock:
            if self._descriptor is None:
                raise LookupError(self.content)
            return self._disk.duplicate(self._descriptor)

    def close(self) -> None:
        with self._lock:
            if self._descriptor is not None:
                descriptor, self._descriptor = self._descriptor, None
                self._disk.close(descriptor)

    def end(self) -> None:
        """On the reactor's thread: from here on nothing of it is served. `close` follows."""
        self._over = True
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        watchers, self._watchers = self._watchers, []
        for told in watchers:
            told(None)


class PartialSharing:
    """All of them; told by the downloads as they run.

    :param run: runs a function on a disk thread.
    """

    def __init__(
        self,
        *,
        clock: IReactorTime,
        discovery: Discovery,
        disk: Disk,
        run: Callable[..., Deferred[Any]],
        background: Background,
    ) -> None:
        self._clock = clock
        self._discovery = discovery
        self._disk = disk
        self._run = run
        self._background = background
        self._parts: dict[ContentId, Parts] = {}

    # --- For downloads ---------------------------------------------------------------------------

    def offer(self, item: Item, received: Received) -> None:
        """This download runs, and its content is for everyone: serve what it has, once it has something."""
        picker = received.picker
        if item.content in self._parts or picker.chunks < 2 or picker.left == picker.chunks:
            return
        parts = self._parts[item.content] = Parts(item, received, self._disk)
        self._background.start("opening parts", self._open(parts))

    async def _open(self, parts: Parts) -> None:
        try:
            await self._run(parts.begin)
        except NapError:
            # It is not served then; the download meets the same fault, or has ended.
            pass
        if self._parts.get(parts.content) is not parts:
            return
        if not parts.ready:
            self._end(parts)
        elif not parts.finished:
            parts.timer = self._clock.callLater(TELL_S, self._tell, parts)

    def _tell(self, parts: Parts) -> None:
        parts.told = True
        self._discovery.offer_parts([parts.content])

    def stored(self, content: ContentId, chunk: int) -> None:
        """One more chunk is verified."""
        parts = self._parts.get(content)
        if parts is not None:
            parts.stored(chunk)

    def finished(self, content: ContentId) -> None:
        """All of it is there. It is served on for a while, and then, outside of any share, no more."""
        parts = self._parts.get(content)
        if parts is not None and not parts.finished:
            parts.finished = True
            if parts.timer is not None and parts.timer.active():
                parts.timer.cancel()
            parts.timer = self._clock.callLater(LINGER_S, self._end, parts)

    def until_over(self, content: ContentId, over: Callable[[], None]) -> bool:
        """Whether any of it is served; then `over` is called when none is any more."""
        parts = self._parts.get(content)
        if parts is not None:
            parts.watch(lambda chunk: over() if chunk is None else None)
        return parts is not None

    def withdraw(self, content: ContentId) -> None:
        """The download ended otherwise, or its content is not for everyone any more."""
        parts = self._parts.get(content)
        if parts is not None:
            self._end(parts)

    def _end(self, parts: Parts) -> None:
        """Open descriptors of uploads stay open: a chunk that is being sent is sent to its end."""
        del self._parts[parts.content]
        parts.end()
        if parts.told:
            self._discovery.withdraw_parts([parts.content])
        self._run(parts.close).addErrback(lambda _: None)

    def stop(self) -> None:
        """Before the disk threads do."""
        for parts in list(self._parts.values()):
            self._end(parts)

    # --- For uploads -----------------------------------------------------------------------------

    def find(self, content: ContentId) -> Parts | None:
        parts = self._parts.get(content)
        return parts if parts is not None and parts.ready else None


@define
class SharesAndParts:
    """A `Library` of what is shared and, where that has nothing, of what is being fetched."""

    _shares: Library
    _parts: PartialSharing

    def find(self, content: ContentId) -> Sequence[Shared]:
        found = self._shares.find(content)
        parts = self._parts.find(content)
        return found if parts is None else [*found, parts]

    async def outline(self, content: ContentId) -> tuple[int, bytes]:
        parts = self._parts.find(content)
        return await self._shares.outline(content) if parts is None else parts.outline()

    async def group(self, content: ContentId, group: int) -> bytes:
        parts = self._parts.find(content)
        if parts is not None:
            try:
                return await parts.group(group)
            except LookupError:
                pass
        return await self._shares.group(content, group)
