"""Reading a download while it comes: its verified bytes, in order, for `napctl cat`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from ...errors import DiskFailed, IntegrityFailure, Misuse, NapError
from ...model import DownloadState
from ..files.disk import Disk
from ..files.partial import PartialFile
from ..item import Item
from .downloads import Downloads

#: Bytes that are read and said at once.
PIECE_BYTES = 256 * 1024


class Reading:
    """One reader of one download, from an offset to the end.

    The descriptor of the partial file is good for the finished one too: publishing only changes its name.

    :param run: runs a function on a disk thread.
    """

    def __init__(
        self, downloads: Downloads, disk: Disk, run: Callable[..., Deferred[Any]], item: Item, offset: int
    ) -> None:
        self._downloads = downloads
        self._disk = disk
        self._run = run
        self._item = item
        self._at = offset
        self._descriptor: int | None = None
        self._changed: Deferred[None] | None = None
        self._over = False
        self._forget = downloads.watch_bytes(item, self._look)

    async def next(self) -> bytes:
        """The next verified bytes, at most `PIECE_BYTES`, once they are here; empty at the end, and after `stop`.

        :raises NapError: there is nothing more to wait for: the download failed or was cancelled, its file is not the
            content any more, or the offset lies behind its end.
        """
        while not self._over:
            # Begun before looking: what changes while the file is being opened is not missed.
            changed = self._change()
            item = self._item
            if item.state in (DownloadState.FAILED, DownloadState.CANCELLED):
                raise _given_up(item)
            there = self._downloads.verified(item, self._at)
            if there is not None and self._at > there.size:
                raise Misuse(f"download {item.id} has {there.size} bytes, none from {self._at} on")
            if there is not None and self._at == there.size:
                return b""
            if there is not None and there.end > self._at and await self._open():
                return await self._read(min(there.end - self._at, PIECE_BYTES))
            await changed
        return b""

    def stop(self) -> None:
        """The reader has gone: `next` has no more bytes."""
        self._over = True
        self._look()

    async def close(self) -> None:
        self._over = True
        self._forget()
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            await self._run(self._disk.close, descriptor)

    async def _open(self) -> bool:
        """Whether there is a file to read from; between its two names there may be none for a moment."""
        if self._descriptor is not None:
            return True
        item = self._item
        if item.state is not DownloadState.DONE:
            partial = PartialFile(self._disk, item.directory, item.transfer)
            self._descriptor = await self._run(self._disk.open_to_read, partial.path)
        elif item.path is not None:
            self._descriptor = await self._run(self._open_finished, item.path)
        return self._descriptor is not None

    def _open_finished(self, path: str) -> int:
        """On a disk thread. Anybody may have changed the file since: it has to prove itself again."""
        descriptor = self._disk.open_to_read(path)
        if descriptor is None:
            raise DiskFailed(f"the file of download {self._item.id} is gone", "napctl get fetches it again")
        if self._disk.content_of_descriptor(descriptor) != self._item.content:
            self._disk.close(descriptor)
            raise IntegrityFailure(f"{path} is not what was downloaded any more", "Move it away, then: napctl get")
        return descriptor

    async def _read(self, most: int) -> bytes:
        if self._descriptor is None:
            return b""
        data: bytes = await self._run(self._disk.read_at, self._descriptor, most, self._at)
        if not data:
            raise DiskFailed(f"the file of download {self._item.id} has become shorter", "napctl queue retry")
        self._at += len(data)
        return data

    def _change(self) -> Deferred[None]:
        self._changed = Deferred()
        return self._changed

    def _look(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.callback(None)


def _given_up(item: Item) -> NapError:
    if item.error is not None:
        return NapError(f"download {item.id} failed: {item.error.message}", "napctl queue retry", item.error.code)
    return NapError(f"download {item.id} was cancelled", "napctl queue retry")
