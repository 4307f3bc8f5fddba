"""What a download has so far: its manifest, which chunks are verified, and the bytes on the disk.

Three states of a chunk, never mixed up: *verified* (checked and written), *flushed* (synced), and journalled. The
journal is told of a chunk only after the sync, so it says only what is so. Methods run on the reactor's thread and do
their work on disk threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from ...content.digest import CHUNK_BYTES, GROUP_CHUNKS, chunk_bytes, chunk_digest, content_id
from ...content.manifest import Manifest, manifest_of
from ...errors import IntegrityFailure, LocalProtocolError
from ..item import Item
from ..picker import Picker
from .disk import Disk, FileIdentity
from .flushed import FlushedChunks
from .journal import Journal, Kept
from .names import saved_name
from .partial import PartialFile
from .recovery import recover
from .writes import Writes

#: Chunks ahead of the next missing one whose digests should be known.
DIGESTS_AHEAD = 128

EMPTY_CONTENT = content_id(0, [])


class WrongSize(Exception):
    """A whole chunk that is not the content: it may be the first of several."""


class Received:
    """One queue item's bytes.

    :param run: runs a function on a disk thread.
    """

    def __init__(self, item: Item, journal: Journal, disk: Disk, run: Callable[..., Deferred[Any]]) -> None:
        self._item = item
        self._journal = journal
        self._run = run
        self._partial = PartialFile(disk, item.directory, item.transfer)
        self._writes = Writes(self._partial, run)
        self._manifest: Manifest | None = None
        self._picker: Picker | None = None
        self._kept_groups: set[int] = set()
        self._known_groups = range(0)
        self._candidates: list[int] = []
        self._flushed = FlushedChunks()
        self._unflushed: set[int] = set()
        self._flushing = 0
        self._sealed: FileIdentity | None = None
        self._writing = 0
        self._written: list[Deferred[None]] = []

    # --- Taking up -------------------------------------------------------------------------------

    async def take_up(self) -> str | None:
        """Believe the journal, hash what the disk holds beyond it. Returns a path if the file was published before."""
        if self._item.new:
            # The journal and the disk hold nothing of it yet; its file is made with the first chunk.
            self._item.new = False
            if self._item.content == EMPTY_CONTENT:
                self._use(manifest_of(0, b""))
            return None
        kept = await self._journal.kept(self._item.id)
        if kept.sealed is not None:
            path = await self._run(self._published, kept.sealed)
            if path is not None:
                return str(path)
        self._item.sealed = False
        length = await self._run(self._partial.open)
        if self._item.content == EMPTY_CONTENT:
            self._use(manifest_of(0, b""))
        elif kept.outline is not None:
            await self._believe(kept, length)
        else:
            self._item.bytes_done = 0
            if kept.sealed is not None and 0 < length <= CHUNK_BYTES:
                await self._take_up_sealed(kept.sealed, length)
        return None

    async def _believe(self, kept: Kept, length: int) -> None:
        """What the journal says is flushed, as far as the file reaches; `rehash` then looks at what else it holds."""
        found = await self._run(recover, self._partial, self._item.content, kept, length, self._item.sequential)
        self._use(Manifest(found.outline), found.picker)
        self._flushed, self._kept_groups = kept.flushed, set(kept.groups)
        self._item.bytes_done = found.bytes_done
        if found.void:
            # Before anything is written: the next run would take it for what the journal tells of.
            await self._journal.flushed(self._item, self._flushed, self._item.bytes_done)
        for chunk in found.candidates:
            # Nobody is asked for it before it was hashed.
            self.picker.claim(self, chunk)
        self._candidates = found.candidates
        missing = self.picker.next_missing()
        if missing is not None and self.keeps_digests(missing // GROUP_CHUNKS):
            await self.load_digests(missing // GROUP_CHUNKS)

    async def _take_up_sealed(self, identity: FileIdentity, length: int) -> None:
        """A content of one chunk was complete but for its name; no manifest of it was written down."""
        manifest = await self._run(self._sealed_manifest, identity, length)
        if manifest is not None:
            self._use(manifest)
            self._sealed = identity
            self.picker.verified(0)

    def _sealed_manifest(self, identity: FileIdentity, length: int) -> Manifest | None:
        """On a disk thread."""
        if not self._partial.is_still(identity):
            return None
        manifest = manifest_of(length, chunk_digest(self._partial.read_chunk(0, length)))
        return manifest if manifest.outline.content == self._item.content else None

    def _published(self, identity: FileIdentity) -> str | None:
        """On a disk thread: where the finished file is, if a crash came after it got its name.

        Device and inode find it; but an inode is used again, so its bytes have to prove it.
        """
        path = self._partial.published(saved_name(self._item.name), identity)
        if path is None or self._partial.disk.content_of(path) != self._item.content:
            return None
        # The crash may have come before its name was there for good.
        self._partial.sync_names()
        self._partial.drop()
        return path

    async def rehash(self, good: Callable[[int], None]) -> None:
        """Hash what the disk holds beyond the journal. Sources may be asked for the rest meanwhile.

        :param good: told each chunk that is right.
        :raises DiskFailed: it cannot be read.
        """
        while self._candidates:
            chunk = self._candidates.pop(0)
            group = chunk // GROUP_CHUNKS
            if self.keeps_digests(group):
                await self.load_digests(group)
            if self.manifest.has_group(group) and await self._run(self._is_on_disk, chunk):
                self._unflushed.add(chunk)
                good(chunk)
            else:
                self.picker.release(self, chunk)

    @property
    def rehashing(self) -> bool:
        """Whether there is something to `rehash`."""
        return bool(self._candidates)

    def end_rehash(self) -> None:
        """After the chunk that is being hashed; the next run finds the others again."""
        self._candidates.clear()

    def _is_on_disk(self, chunk: int) -> bool:
        """On a disk thread."""
        return self.manifest.accepts(chunk, self._partial.read_chunk(chunk, self.size))

    @property
    def path(self) -> str:
        """Of the partial file."""
        return self._partial.path

    # --- What is known ---------------------------------------------------------------------------

    @property
    def has_outline(self) -> bool:
        return self._manifest is not None

    @property
    def manifest(self) -> Manifest:
        if self._manifest is None:
            raise LocalProtocolError("the manifest is not known yet")
        return self._manifest

    @property
    def picker(self) -> Picker:
        if self._picker is None:
            raise LocalProtocolError("the manifest is not known yet")
        return self._picker

    @property
    def size(self) -> int:
        return self.manifest.outline.size

    @property
    def complete(self) -> bool:
        """Every chunk is verified; not all need to be flushed."""
        return self._picker is not None and self._picker.done

    @property
    def unflushed(self) -> int:
        """Chunks that are verified but not flushed."""
        return len(self._unflushed)

    @property
    def writing(self) -> bool:
        """Whether chunks are being checked now, of which there may be more in a moment."""
        return self._writing > 0 or self.rehashing

    @property
    def unjournalled(self) -> int:
        """Chunks that a crash would cost now."""
        return self._writing + len(self._unflushed) + self._flushing

    def learn(self, manifest: Manifest) -> Deferred[None]:
        """The outline is verified, and perhaps some groups; fires when that is journalled."""
        self._use(manifest)
        for number, digests in manifest.known_groups():
            self._journal.group(self._item, number, digests).addErrback(_told_with_the_outline)
        return self._journal.outline(self._item, manifest.outline.group_digests)

    def learn_group(self, number: int, digests: bytes) -> Deferred[None]:
        """:raises IntegrityFailure: if these are not the group's."""
        self.manifest.add_group(number, digests)
        return self._journal.group(self._item, number, digests)

    def keeps_digests(self, group: int) -> bool:
        """Whether an earlier run learnt this group's digests, and this one has not loaded them yet."""
        return group in self._kept_groups

    async def load_digests(self, group: int) -> None:
        """:raises DiskFailed: the journal cannot be read."""
        digests = await self._journal.digests(self._item.id, group)
        self._kept_groups.discard(group)
        try:
            if digests is not None:
                self.manifest.add_group(group, digests)
        except IntegrityFailure:
            # The database was damaged. A source knows better.
            return

    def _use(self, manifest: Manifest, picker: Picker | None = None) -> None:
        self._manifest = manifest
        self._picker = picker or Picker(manifest.outline.chunks, sequential=self._item.sequential)
        self._item.size = manifest.outline.size
        self._partial.expect(manifest.outline.size)

    def digests_known_below(self) -> tuple[int, int | None]:
        """Chunks up to which digests are known from the next missing one on, and the group to ask for soon, if any."""
        first = self.picker.next_missing()
        if first is None:
            return self.picker.chunks, None
        start = group = first // GROUP_CHUNKS
        if self._known_groups.start <= group <= self._known_groups.stop:
            # There may be thousands, and this is asked for each chunk.
            start, group = self._known_groups.start, self._known_groups.stop
        while self.manifest.has_group(group):
            group += 1
        self._known_groups = range(start, group)
        below = min(group * GROUP_CHUNKS, self.picker.chunks)
        wanted = group < self.manifest.outline.groups and below < first + DIGESTS_AHEAD
        return below, group if wanted else None

    # --- Bytes -----------------------------------------------------------------------------------

    async def store(self, chunk: int, data: bytes | memoryview) -> bool:
        """Check and write one chunk; False if it is not what its digest says.

        :raises NoSpace, DiskFailed: it could not be written.
        """
        if not self.manifest.accepts(chunk, data):
            return False
        self._writing += 1
        try:
            await self._writes.write(chunk, data)
            # Before `_wrote`: who waits for the writes to end flushes at once.
            self._unflushed.add(chunk)
        finally:
            self._wrote()
        return True

    async def store_only_chunk(self, data: bytes | memoryview) -> bool:
        """Bytes that should be a whole content of one chunk: they prove themselves, without a manifest from anybody.

        :raises WrongSize: a full chunk that is not the content.
        """
        self._writing += 1
        try:
            proved = await self._run(self._prove_and_write, data)
            if proved is None:
                return False
            # Not claimed as flushed: one chunk is fetched again more cheaply than its manifest is written down.
            manifest, self._sealed = proved
            self._use(manifest)
        finally:
            self._wrote()
        return True

    def _prove_and_write(self, data: bytes | memoryview) -> tuple[Manifest, FileIdentity] | None:
        """On a disk thread. Being complete with its only chunk, the file is sealed at once."""
        manifest = manifest_of(len(data), chunk_digest(data))
        if manifest.outline.content != self._item.content:
            if len(data) == CHUNK_BYTES:
                raise WrongSize
            return None
        self._partial.open()
        self._partial.write_chunk(0, data)
        return manifest, self._partial.seal(len(data), lasting=False)

    def _wrote(self) -> None:
        self._writing -= 1
        if not self._writing:
            waiting, self._written = self._written, []
            for one in waiting:
                one.callback(None)

    async def flush(self) -> None:
        """Sync what is written, then journal it; what is written meanwhile belongs to the next flush.

        :raises NoSpace, DiskFailed: nothing since the last good flush counts; it is fetched again.
        """
        if not self._unflushed:
            return
        chunks, self._unflushed = self._unflushed, set()
        self._flushing = len(chunks)
        try:
            await self._run(self._partial.flush)
            done = self._note_flushed(chunks)
            await self._journal.flushed(self._item, self._flushed, done)
        finally:
            self._flushing = 0
        self._item.bytes_done = done

    def _note_flushed(self, chunks: set[int]) -> int:
        """Returns the bytes that are done once this is journalled; not before may it be told."""
        done = self._item.bytes_done
        for chunk in chunks:
            # At the end a chunk may have come twice.
            if chunk not in self._flushed:
                self._flushed.add(chunk)
                done += chunk_bytes(self.size, chunk)
        # What was not saved of it at a kill is at least what has been found on the disk since.
        self._item.bytes_received = max(self._item.bytes_received, done)
        return done

    async def publish(self) -> str:
        """The complete file is synced and gets its final name, and its partial data goes. Returns the absolute path."""
        await self._writes_ended()
        if self._sealed is not None:
            identity, done = self._sealed, self._item.bytes_done
        else:
            identity = await self._run(self._seal)
            chunks, self._unflushed = self._unflushed, set()
            done = self._note_flushed(chunks)
        await self._journal.sealed(self._item, self._flushed, done, identity)
        self._item.bytes_done = done
        path = await self._run(self._publish, identity)
        return str(path)

    def _seal(self) -> FileIdentity:
        """On a disk thread."""
        self._partial.open()
        return self._partial.seal(self.size)

    def _publish(self, identity: FileIdentity) -> str:
        """On a disk thread."""
        path = self._partial.publish(saved_name(self._item.name), identity)
        self._partial.drop()
        return path

    async def _writes_ended(self) -> None:
        """The file must not be closed under a thread that writes."""
        if self._writing:
            ended: Deferred[None] = Deferred()
            self._written.append(ended)
            await ended

    async def close(self, *, keep: bool = True) -> None:
        """Flush what can be flushed and close the file; or remove it. Waits for writes that are under way."""
        await self._writes_ended()
        try:
            if keep:
                await self.flush()
        finally:
            await self._run(self._partial.close if keep else self._partial.remove)


def _told_with_the_outline(_: object) -> None:
    """The journal commits in order and fails as a whole: the next flush meets the same fault and reports it."""
