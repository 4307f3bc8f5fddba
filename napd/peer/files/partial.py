"""A download's bytes on the disk: the partial file, and how it becomes the finished one.

Partial files live in ``.napd/`` inside the target directory, on the same file system, named by the transfer. They are
the only files this daemon ever deletes. Everything here blocks and runs on a disk thread.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice

from attrs import define, field

from ...content.digest import CHUNK_BYTES, chunk_bytes, chunk_count
from ...errors import DiskFailed, NapError
from .disk import Disk, FileIdentity
from .flushed import FlushedChunks
from .names import numbered

PARTIAL_DIRECTORY = ".napd"
#: Files from this size on have room set aside.
SET_ASIDE_BYTES = 8 * CHUNK_BYTES
#: Chunks that are hashed again after a crash at most: what may have been written but not journalled, twice over.
MAX_REHASH_CHUNKS = 128
#: Parts of a partial file that hold data, looked at when it is taken up: some microseconds each.
MAX_DATA_RANGES = 1 << 16


@define
class PartialFile:
    """One download's partial file. Open it before use, close it after; both may be called twice."""

    disk: Disk
    directory: str
    transfer: str
    _descriptor: int | None = field(default=None)
    _sync_failed: bool = field(default=False)
    _named: bool = field(default=False)
    _expected: int = field(default=0)
    _opening: threading.Lock = field(factory=threading.Lock)

    @property
    def path(self) -> str:
        return os.path.join(self.directory, PARTIAL_DIRECTORY, f"{self.transfer}.part")

    def open(self) -> int:
        """Returns how long the file is: whatever was believed of what lies beyond is void.

        :raises NoSpace, DiskFailed: and nothing is open then.
        """
        return self.disk.size(self.make_sure_it_is_open())

    def make_sure_it_is_open(self) -> int:
        """Its descriptor.

        :raises NoSpace, DiskFailed: and nothing is open then.
        """
        if self._descriptor is None:
            with self._opening:
                if self._descriptor is None:
                    self._descriptor = self.disk.create(self.path)
        return self._descriptor

    def expect(self, size: int) -> None:
        """It will have so many bytes: room is set aside with the first chunk, if that is worth it."""
        self._expected = size if size >= SET_ASIDE_BYTES else 0

    def close(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            self.disk.close(descriptor)

    def write_chunk(self, chunk: int, data: bytes | memoryview) -> None:
        descriptor = self._open_descriptor()
        if self._expected:
            self.disk.set_aside(descriptor, self._expected)
            self._expected = 0
        self.disk.write_at(descriptor, data, chunk * CHUNK_BYTES)

    def flush(self) -> None:
        """What was written before this call is on the disk after it, and can be found there.

        After a failure nothing written since the last good flush may be believed; it is not tried again, because the
        kernel reports lost writes once and then calls them written.
        """
        self._sync(self.disk.sync_data)
        self._sync_name()

    def _sync(self, how: Callable[[int], None]) -> None:
        descriptor = self._open_descriptor()
        if self._sync_failed:
            raise DiskFailed(f"the partial file of transfer {self.transfer} could not be synced before")
        self._sync_failed = True
        how(descriptor)
        self._sync_failed = False

    def _sync_name(self) -> None:
        """Once per opening: a file whose name is lost in a power cut is lost with all its bytes."""
        if not self._named:
            self.disk.sync_directory(os.path.dirname(self.path))
            self.disk.sync_directory(self.directory)
            self._named = True

    def read_chunk(self, chunk: int, size: int) -> bytes:
        return self.disk.read_at(self._open_descriptor(), chunk_bytes(size, chunk), chunk * CHUNK_BYTES)

    def chunks_with_data(self, size: int) -> Iterator[range]:
        """Runs of chunks, in order, that are wholly written as far as the file system tells; yet to be hashed.

        A file of ever so many pieces is not looked through to its end: what is not found is fetched.
        """
        for start, end in islice(self.disk.data_ranges(self._open_descriptor(), size), MAX_DATA_RANGES):
            # The last chunk is shorter, so it may be whole where the range does not end with one.
            whole = chunk_count(size) if end >= size else end // CHUNK_BYTES
            yield range(-(-start // CHUNK_BYTES), whole)

    def forget_cached(self) -> None:
        """What is read from now on comes from the disk: memory may hold what a failed sync never brought there."""
        self.disk.forget_cached(self._open_descriptor())

    def seal(self, size: int, *, lasting: bool = True) -> FileIdentity:
        """Cut to its size and synced: complete, but for its final name.

        :param lasting: whether a power cut before that must not cost its bytes.
        """
        descriptor = self._open_descriptor()
        self.disk.truncate(descriptor, size)
        self._sync(self.disk.sync)
        if lasting:
            self._sync_name()
        return self.disk.identity(descriptor)

    def is_still(self, identity: FileIdentity) -> bool:
        """Whether the partial file is the one that was sealed as this."""
        return self.disk.identity(self._open_descriptor()) == identity

    def published(self, name: str, identity: FileIdentity) -> str | None:
        """Where this very file is already, if it got its name before a crash."""
        for candidate in numbered(name):
            target = os.path.join(self.directory, candidate)
            found = self.disk.identity_at(target)
            if found is None:
                return None
            if found == identity:
                return target
        return None

    def publish(self, name: str, identity: FileIdentity) -> str:
        """Give the sealed file its name, or the next free one numbered from it. Returns the absolute path.

        What is already there under a candidate name and *is* this file counts: it was published before a crash.
        """
        for candidate in numbered(name):
            target = os.path.join(self.directory, candidate)
            if self.disk.identity_at(target) == identity or (
                self.disk.identity_at(target) is None and self.disk.publish(self.path, target)
            ):
                self.disk.sync_directory(self.directory)
                return target
        raise DiskFailed(f"every name like {name!r} is taken in {self.directory}")

    def sync_names(self) -> None:
        """What has its final name has it for good."""
        self.disk.sync_directory(self.directory)

    def remove(self) -> None:
        """The partial data is gone, and its directory if nothing else is in it."""
        self.close()
        self.disk.remove(self.path)
        self.disk.remove_empty_directory(os.path.dirname(self.path))

    def drop(self) -> None:
        """Remove it if that is possible: the file is published, and what is left goes at the next start."""
        try:
            self.remove()
        except NapError:
            return

    def _open_descriptor(self) -> int:
        if self._descriptor is None:
            raise DiskFailed(f"the partial file of transfer {self.transfer} is not open")
        return self._descriptor


def left_over(disk: Disk, directory: str) -> list[str]:
    """Transfers, of whomever, that have partial data for this directory."""
    names = disk.names_in(os.path.join(directory, PARTIAL_DIRECTORY))
    return [name.removesuffix(".part") for name in names if name.endswith(".part")]


def settle_removals(disk: Disk, directories: Iterable[str]) -> None:
    """Partial data that was removed from these stays removed, as far as can be seen to."""
    for directory in directories:
        for path in (os.path.join(directory, PARTIAL_DIRECTORY), directory):
            try:
                disk.sync_directory(path)
            except NapError:
                # Not there any more, most often.
                continue


def rehash_candidates(partial: PartialFile, size: int, known: FlushedChunks) -> list[int]:
    """After a crash: chunks that hold data on the disk but are not journalled, at most `MAX_REHASH_CHUNKS`."""
    partial.forget_cached()
    runs = partial.chunks_with_data(size)
    return list(islice(chain.from_iterable(map(known.missing, runs)), MAX_REHASH_CHUNKS))
