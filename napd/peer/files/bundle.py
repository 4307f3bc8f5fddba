"""Many small files on the disk together: written and synced side by side, then named, with one sync of their directory.

A file is made without a name where the file system can do that, so that a crash leaves nothing of it; elsewhere it is
an ordinary partial file. What blocks runs on disk threads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred

from ...content.digest import CHUNK_BYTES, chunk_digest, content_id, group_digest
from ...errors import DiskFailed
from ...model import PeerId
from ..item import Item
from .disk import Disk, FileIdentity
from .journal import Journal
from .names import numbered, saved_name
from .partial import PartialFile

#: Files of a bundle: each of them is open until it has its name.
MAX_FILES = 256
#: Parts of a bundle that are written and synced side by side: syncs that wait together are one for the file system.
PARTS = 16
#: Files that are not worth another part.
FEW_FILES = 8


@define(eq=False)
class Parcel:
    """One small content that has come, from this source, and what has become of it.

    `verified`: it is what its content id says. `path`: where it is now, under its final name.
    """

    item: Item
    data: bytes | memoryview
    source: PeerId
    verified: bool = False
    path: str | None = None
    identity: FileIdentity | None = None
    descriptor: int | None = None
    partial: PartialFile | None = None

    @property
    def may_be_longer(self) -> bool:
        """A whole chunk that is not the content may be the first of several."""
        return not self.verified and len(self.data) == CHUNK_BYTES


class Bundle:
    """Files that get their names together.

    :param run: runs a function on a disk thread.
    """

    def __init__(
        self, parcels: Sequence[Parcel], disk: Disk, journal: Journal, run: Callable[..., Deferred[Any]]
    ) -> None:
        self.parcels = parcels
        self._disk = disk
        self._journal = journal
        self._run = run
        self._directories: dict[str, int] = {}
        self._opening = threading.Lock()
        # What threads are at; nothing is closed under them, should nobody wait for them any more.
        self._at_work: set[object] = set()

    async def land(
        self, wanted: Callable[[Item], bool], before: Callable[[], Awaitable[None]] | None = None
    ) -> list[Parcel]:
        """Check, write, sync and journal all of them, then give them their names. Returns those that have one.

        :param wanted: asked before they get their names; nothing is left of those that are not.
        :param before: waited for before they get their names: the bundle before this one has ended.
        :raises NapError: some may have their names; their journalled identity finds them, as after a crash.
        """
        try:
            parts = min(PARTS, -(-len(self.parcels) // FEW_FILES))
            await _all_of([self._at_work_with(self._write, self.parcels[part::parts]) for part in range(parts)])
            good = [parcel for parcel in self.parcels if parcel.verified]
            if good:
                await self._journal.all_sealed([(parcel.item, _identity(parcel)) for parcel in good])
            if before is not None:
                await before()
            named = [parcel for parcel in good if wanted(parcel.item)]
            if named and not await self._at_work_with(self._publish, named):
                # What can be made without a name here cannot be given one: once more, as partial files.
                again = [parcel for parcel in named if parcel.path is None]
                await self._at_work_with(self._write_again, again)
                await self._journal.all_sealed([(parcel.item, _identity(parcel)) for parcel in again])
                await self._at_work_with(self._publish, named)
            return named
        finally:
            if self._directories:
                await self._run(self._close)

    def _at_work_with(self, work: Callable[[Sequence[Parcel]], object], parcels: Sequence[Parcel]) -> Deferred[Any]:
        mark = object()
        self._at_work.add(mark)

        def act() -> object:
            try:
                return work(parcels)
            finally:
                self._at_work.discard(mark)

        return self._run(act)

    # --- On disk threads -------------------------------------------------------------------------

    def _directory(self, path: str) -> int:
        with self._opening:
            if path not in self._directories:
                self._directories[path] = self._disk.open_directory(path)
            return self._directories[path]

    def _write(self, parcels: Sequence[Parcel]) -> None:
        good = [parcel for parcel in parcels if _is_content(parcel)]
        for parcel in good:
            self._write_one(parcel)
        descriptors = [_descriptor(parcel) for parcel in good]
        for descriptor in descriptors:
            self._disk.begin_sync(descriptor)
        for descriptor in descriptors:
            self._disk.sync_data(descriptor)
        for parcel in good:
            parcel.verified = True

    def _write_one(self, parcel: Parcel) -> None:
        descriptor = None
        if parcel.partial is None:
            descriptor = self._disk.create_nameless(self._directory(parcel.item.directory))
        if descriptor is None:
            parcel.partial = PartialFile(self._disk, parcel.item.directory, parcel.item.transfer)
            descriptor = self._disk.create(parcel.partial.path)
            # An earlier run may have left more in it.
            self._disk.truncate(descriptor, 0)
        parcel.descriptor = descriptor
        self._disk.write_at(descriptor, parcel.data, 0)
        parcel.identity = self._disk.identity(descriptor)

    def _write_again(self, parcels: Sequence[Parcel]) -> None:
        for parcel in parcels:
            self._close_file(parcel)
            parcel.partial = PartialFile(self._disk, parcel.item.directory, parcel.item.transfer)
        self._write(parcels)

    def _publish(self, parcels: Sequence[Parcel]) -> bool:
        """False if some of them cannot be given their names as they are."""
        for parcel in parcels:
            parcel.path = parcel.path or self._name(parcel)
        if not all(parcel.path for parcel in parcels):
            return False
        for directory in self._directories:
            self._disk.sync_directory(directory)
        for parcel in parcels:
            if parcel.partial is not None or not parcel.item.new:
                # The other name of the file, or what an earlier run had begun.
                PartialFile(self._disk, parcel.item.directory, parcel.item.transfer).drop()
        self._let_go()
        return True

    def _name(self, parcel: Parcel) -> str | None:
        item = parcel.item
        for candidate in numbered(saved_name(item.name)):
            path = os.path.join(item.directory, candidate)
            if parcel.partial is not None:
                named = self._disk.publish(parcel.partial.path, path)
            else:
                given = self._disk.give_name(_descriptor(parcel), self._directories[item.directory], candidate)
                if given is None:
                    return None
                named = given
            if named:
                return path
        raise DiskFailed(f"every name like {item.name!r} is taken in {item.directory}")

    def _close(self) -> None:
        if not self._at_work:
            self._let_go()

    def _let_go(self) -> None:
        for parcel in self.parcels:
            self._close_file(parcel)
        while self._directories:
            self._disk.close(self._directories.popitem()[1])

    def _close_file(self, parcel: Parcel) -> None:
        if parcel.descriptor is not None:
            self._disk.close(parcel.descriptor)
            parcel.descriptor = None


def _is_content(parcel: Parcel) -> bool:
    data = parcel.data
    groups = [group_digest(chunk_digest(data))] if data else []
    return content_id(len(data), groups) == parcel.item.content


def _descriptor(parcel: Parcel) -> int:
    if parcel.descriptor is None:
        raise DiskFailed(f"the file of transfer {parcel.item.transfer} is not open")
    return parcel.descriptor


def _identity(parcel: Parcel) -> FileIdentity:
    if parcel.identity is None:
        raise DiskFailed(f"the file of transfer {parcel.item.transfer} was not written")
    return parcel.identity


async def _all_of(works: Sequence[Deferred[Any]]) -> None:
    """Wait until each of these has ended, since they use the same files; raises what the first that failed did."""
    first: Exception | None = None
    for work in works:
        try:
            await work
        except Exception as error:
            first = first or error
    if first is not None:
        raise first
