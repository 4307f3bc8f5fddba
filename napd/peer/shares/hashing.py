"""Reads files and makes their chunk digests, a bounded part at a time. For threads.

With the last part of a recording goes what its headers tell.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from threading import Event, Thread

from attrs import frozen

from ...content.digest import CHUNK_BYTES, DIGEST_BYTES, chunk_bytes, chunk_count, chunk_digest
from .identity import Identity, settles_at
from .media import Told, read_media
from .opening import GONE, about_file, open_file

#: Chunks hashed before anybody else has a turn, and before they are kept: 256 MiB is a second or two on a slow disk.
PART_CHUNKS = 256
#: Seconds after which a batch of small files ends, so that they are announced as they come.
BATCH_S = 0.1


@frozen
class Work:
    """A part of a file to be hashed. `expected`: what the digests were when the file was too young to be trusted."""

    hash: int
    share: int
    directory: bytes
    path: bytes
    identity: Identity
    first: int
    count: int
    expected: bytes | None


@frozen
class Hashed:
    """Digests of the part, or of its beginning. Chunks before number `doubtful` were read before `settles_at`.

    :ivar told: with the digests of the last chunk of a recording, what its headers say.
    """

    work: Work
    digests: bytes
    doubtful: int
    settles_at: float
    told: Told | None = None


@frozen
class Changed:
    """The file is another one now, or gone. `vain`: bytes had been read."""

    work: Work
    vain: bool


@frozen
class Failed:
    """It cannot be read."""

    work: Work
    reason: str


Outcome = Hashed | Changed | Failed


def hash_batch(works: Sequence[Work], now: Callable[[], float], stopped: Event, strands: int = 1) -> list[Outcome]:
    """As many as `BATCH_S` allows, at least one.

    :param strands: how many are read at a time, or parts of one if there is one alone.
    """
    if len(works) == 1:
        return [hash_part(works[0], now, stopped, strands)]
    until = now() + BATCH_S
    outcomes: list[Outcome] = []
    left = iter(works)

    def strand() -> None:
        for work in left:
            outcomes.append(hash_part(work, now, stopped))
            if now() >= until or stopped.is_set():
                return

    _in_strands(strand, min(strands, len(works)))
    return outcomes


def hash_part(work: Work, now: Callable[[], float], stopped: Event, strands: int = 1) -> Outcome:
    """Open, check that it is the file that was seen, read, check again.

    :param stopped: once it is set, the digests so far are what is returned.
    :param strands: chunks that are read at a time.
    """
    vain = False
    try:
        descriptor = open_file(work.directory, work.path)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or Identity.of(status) != work.identity:
                return Changed(work, vain)
            trusted_from = settles_at(status, now())
            digests, doubtful = _read(descriptor, work, trusted_from, now, stopped, strands)
            vain = work.count > 0
            told = read_media(descriptor, work.path, status.st_size) if _concludes(work, digests) else None
            if digests is None or Identity.of(os.fstat(descriptor)) != work.identity:
                return Changed(work, vain)
            return Hashed(work, digests, doubtful, trusted_from, told)
        finally:
            os.close(descriptor)
    except OSError as error:
        if about_file(error).errno in GONE:
            return Changed(work, vain)
        return Failed(work, error.strerror or str(error))


def _concludes(work: Work, digests: bytes | None) -> bool:
    """Whether these are the last of the file's digests, and not a second look at what is known."""
    if digests is None or work.expected is not None:
        return False
    return work.first + len(digests) // DIGEST_BYTES == chunk_count(work.identity.size)


def _read(
    descriptor: int, work: Work, trusted_from: float, now: Callable[[], float], stopped: Event, strands: int
) -> tuple[bytes | None, int]:
    """The joined digests, None if the file is shorter than it was; and how many leading chunks are doubtful."""
    size = work.identity.size
    offset = work.first * CHUNK_BYTES
    length = min(work.count * CHUNK_BYTES, size - offset)
    if length > CHUNK_BYTES:
        os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_SEQUENTIAL)
    left = iter(range(work.first, work.first + work.count))
    digests: dict[int, bytes] = {}
    early: list[int] = []
    beyond: list[int] = []

    def strand() -> None:
        buffer = memoryview(bytearray(min(CHUNK_BYTES, length)))
        for chunk in left:
            if stopped.is_set() or beyond:
                return
            if now() < trusted_from:
                early.append(chunk)
            wanted = buffer[: chunk_bytes(size, chunk)]
            if not _fill(descriptor, wanted, chunk * CHUNK_BYTES):
                beyond.append(chunk)
                return
            digests[chunk] = chunk_digest(wanted)

    _in_strands(strand, min(strands, work.count))
    end = work.first
    # When it is stopped, one strand may have left out what another has gone beyond.
    while end in digests:
        end += 1
    doubtful = max((chunk + 1 for chunk in early if chunk < end), default=0)
    return None if beyond else b"".join(digests[chunk] for chunk in range(work.first, end)), doubtful


def _in_strands(work: Callable[[], None], strands: int) -> None:
    """Run it in so many threads, this one among them; what one of them raises is raised when all have ended."""
    errors: list[BaseException] = []

    def strand() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    others = [Thread(target=strand, name="hash-strand", daemon=True) for _ in range(strands - 1)]
    for other in others:
        other.start()
    strand()
    for other in others:
        other.join()
    if errors:
        raise errors[0]


def _fill(descriptor: int, wanted: memoryview, offset: int) -> bool:
    """Read until the view is full; False at the file's end."""
    filled = 0
    while filled < len(wanted):
        got = os.preadv(descriptor, [wanted[filled:]], offset + filled)
        if got == 0:
            return False
        filled += got
    return True
