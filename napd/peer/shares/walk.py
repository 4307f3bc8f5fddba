"""Goes through a shared directory, or looks at single paths in it, and says what stands there. For threads.

A walk is taken in parts that are bounded in number and time, so that a look at what has just changed need not wait
for a large walk, and nobody holds a large list.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from attrs import define, field, frozen

from ...content.digest import MAX_CONTENT_BYTES
from .opening import GONE, about_file, join, open_directory, open_step

#: A part ends after so many things seen, or so many seconds.
PART_LIMIT = 1000
PART_S = 0.1
#: Characters of a folder (share name included) and of a file name that others can be told: `wire.catalogue`'s bounds.
MAX_FOLDER = 2048
MAX_FILE_NAME = 255


class Found(NamedTuple):
    """A regular file that can be shared. `closed`: a writer has just closed it, or it was moved here whole."""

    folder: bytes
    name: bytes
    status: os.stat_result
    closed: bool = False

    @property
    def path(self) -> bytes:
        return join(self.folder, self.name)


class Skip(NamedTuple):
    """What is there and not shared, and why."""

    path: bytes
    reason: str


@define
class Part:
    """What was seen. `missing` and `folders` (to be walked) come from looks only; `ended`: the walk is through."""

    found: list[Found] = field(factory=list)
    skipped: list[Skip] = field(factory=list)
    missing: list[bytes] = field(factory=list)
    folders: list[bytes] = field(factory=list)
    ended: bool = False


class Bitmap:
    """A set of row numbers, an eighth of a byte each."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, number: int) -> None:
        place = number >> 3
        if place >= len(self._bits):
            self._bits.extend(bytes(place + 1 - len(self._bits) + 1024))
        self._bits[place] |= 1 << (number & 7)

    def __contains__(self, number: int) -> bool:
        place = number >> 3
        return place < len(self._bits) and bool(self._bits[place] >> (number & 7) & 1)


class Walk:
    """One pass over a folder of a share and all that is below it.

    :param root: the shared directory.
    :param folder: where to begin, relative to it.
    :param share: the share's name, which counts in the length of what others are told.
    :param watch: called with each folder before it is listed, so that no change falls between.
    :param now: seconds, to bound a part.
    """

    def __init__(
        self, root: bytes, folder: bytes, share: str, watch: Callable[[bytes], None], now: Callable[[], float]
    ) -> None:
        self.folder = folder
        self.seen = Bitmap()
        self._root = root
        self._share = share
        self._watch = watch
        self._now = now
        self._steps = self._go()

    def part(self) -> Part:
        """The next things seen. :raises OSError: if the shared directory itself cannot be listed."""
        part = Part()
        until = self._now() + PART_S
        for taken, seen in enumerate(self._steps, 1):
            if isinstance(seen, Found):
                part.found.append(seen)
            elif isinstance(seen, Skip):
                part.skipped.append(seen)
            if taken >= PART_LIMIT or self._now() >= until:
                return part
        part.ended = True
        return part

    def close(self) -> None:
        """Give it up before its end."""
        self._steps.close()

    def _go(self) -> Generator[Found | Skip | None]:
        waiting = [self.folder]
        while waiting:
            folder = waiting.pop()
            try:
                descriptor = open_directory(self._root, folder)
            except OSError as error:
                about_file(error)
                if not folder:
                    raise
                if error.errno not in GONE:
                    yield Skip(folder, _unreadable(error))
                continue
            try:
                self._watch(folder)
                yield from self._list(folder, descriptor, waiting)
            except OSError as error:
                yield Skip(folder, _unreadable(about_file(error)))
            finally:
                os.close(descriptor)

    def _list(self, folder: bytes, descriptor: int, waiting: list[bytes]) -> Iterator[Found | Skip | None]:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                try:
                    seen = judge(folder, name, self._share, partial(entry.stat, follow_symlinks=False))
                except OSError as error:
                    if error.errno not in GONE:
                        yield Skip(join(folder, name), _unreadable(error))
                    continue
                if seen is None:
                    waiting.append(join(folder, name))
                # None too: a directory of nothing but directories counts towards the part's end.
                yield seen


def judge(folder: bytes, name: bytes, share: str, look: Callable[[], os.stat_result]) -> Found | Skip | None:
    """What a directory entry is to us; None for a folder to go into. :raises OSError: from `look`."""
    path = join(folder, name)
    if name.startswith(b"."):
        return Skip(path, "hidden")
    status = look()
    mode = status.st_mode
    if stat.S_ISLNK(mode):
        return Skip(path, "symbolic link")
    if stat.S_ISDIR(mode):
        if len(folder_text(share, path)) > MAX_FOLDER:
            return Skip(path, f"its path is longer than {MAX_FOLDER} characters")
        return None
    if not stat.S_ISREG(mode):
        return Skip(path, "not a regular file")
    if len(wire_text(name)) > MAX_FILE_NAME:
        return Skip(path, f"its name is longer than {MAX_FILE_NAME} characters")
    if status.st_size > MAX_CONTENT_BYTES:
        return Skip(path, "larger than 64 TiB")
    return Found(folder, name, status)


def look_at(root: bytes, share: str, paths: Mapping[bytes, bool]) -> Part:
    """What stands at these paths now; what is skipped is also `missing`.

    :param paths: relative to the root, with whether a writer closed it.
    """
    part = Part(ended=True)
    folder, descriptor = b"", -1
    try:
        for path in sorted(paths):
            above, _, name = path.rpartition(b"/")
            try:
                if descriptor < 0 or above != folder:
                    if descriptor >= 0:
                        os.close(descriptor)
                        descriptor = -1
                    descriptor, folder = open_step(root, above), above
                seen = judge(above, name, share, partial(os.stat, name, dir_fd=descriptor, follow_symlinks=False))
            except OSError as error:
                about_file(error)
                part.missing.append(path)
                if error.errno not in GONE:
                    part.skipped.append(Skip(path, _unreadable(error)))
                continue
            if seen is None:
                part.folders.append(path)
            elif isinstance(seen, Skip):
                part.missing.append(path)
                part.skipped.append(seen)
            else:
                part.found.append(seen._replace(closed=paths[path]))
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return part


@frozen
class Root:
    """A shared directory as it stands: `trouble` says why it is unavailable."""

    trouble: str | None
    device: int = 0
    inode: int = 0


def look_at_root(root: bytes, device: int | None) -> Root:
    """Whether the shared directory is there.

    :param device: it was on when it was last gone through: an empty directory on another one is where its disk is
        mounted, without the disk.
    """
    try:
        if os.path.realpath(root) != root:
            return Root("a symbolic link stands in its place")
        descriptor = open_directory(root, b"")
    except OSError as error:
        return Root(about_file(error).strerror or str(error))
    try:
        status = os.fstat(descriptor)
        if device is not None and status.st_dev != device:
            with os.scandir(descriptor) as entries:
                if next(entries, None) is None:
                    return Root("its disk is not mounted")
        return Root(None, status.st_dev, status.st_ino)
    except OSError as error:
        return Root(error.strerror or str(error))
    finally:
        os.close(descriptor)


def wire_text(name: bytes) -> str:
    """The name as others are told it: bytes that are not UTF-8 become U+FFFD."""
    return name.decode(errors="replace")


def folder_text(share: str, folder: bytes) -> str:
    return f"{share}/{wire_text(folder)}" if folder else share


def _unreadable(error: OSError) -> str:
    return f"unreadable: {error.strerror or error}"
