"""What a disk may hold after a power cut, given everything that was done to it before.

The rules are those of POSIX and no kinder: bytes are there for good once their file was synced, names once their
directory was. Before that each page (of 4 KiB) and each name may be there or not, new or old, in any order, whatever
else is there; also a length without its bytes. Only a rename is never half done.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from random import Random

from attrs import define, field

from napd.peer.files.disk import Disk, FileIdentity
from tests.support.file_log import Entry, Mark, Operation, Sync, Truncate, Write

PAGE = 4096
_ROOT = 0
#: As it is now: tests pretend that there are none.
_link = os.link

_Change = tuple[int, str, int | None]


@define
class _File:
    """Bytes that are there for good, and what was done since."""

    data: bytearray = field(factory=bytearray)
    pending: list[Write | Truncate] = field(factory=list)

    def sync(self) -> None:
        for change in self.pending:
            _apply(self.data, change)
        self.pending.clear()

    def after(self, chance: Chance) -> bytes:
        """The bytes after a power cut: each page as it was after some of the pending changes."""
        if not self.pending:
            return bytes(self.data)
        data = bytearray(self.data)
        if chance.kind == "keep":
            for change in self.pending:
                _apply(data, change)
            return bytes(data)
        if chance.kind == "drop":
            return bytes(data)
        return self._torn(data, chance.rng)

    def _torn(self, data: bytearray, rng: Random) -> bytes:
        likely = rng.choice((0.1, 0.5, 0.9))
        upto: dict[int, int] = {}
        length = len(data)
        for number, change in enumerate(self.pending):
            if isinstance(change, Truncate):
                if rng.random() < likely:
                    _apply(data, change)
                continue
            for start, piece in _pages(change):
                page = start // PAGE
                if page not in upto:
                    upto[page] = len(self.pending) if rng.random() < likely else rng.randrange(len(self.pending) + 1)
                    if rng.random() > likely:
                        upto[page] = 0
                if number < upto[page]:
                    _put(data, start, piece)
                length = max(length, start + len(piece))
        if length > len(data) and rng.random() < 0.5:
            # The length came through, the bytes did not.
            data.extend(bytes(length - len(data)))
        return bytes(data)


def _pages(change: Write) -> Iterator[tuple[int, memoryview]]:
    view, at = memoryview(change.data), change.offset
    while view:
        room = PAGE - at % PAGE
        yield at, view[:room]
        view, at = view[room:], at + room


def _apply(data: bytearray, change: Write | Truncate) -> None:
    if isinstance(change, Write):
        _put(data, change.offset, change.data)
    elif change.size < len(data):
        del data[change.size :]
    else:
        data.extend(bytes(change.size - len(data)))


def _put(data: bytearray, offset: int, piece: bytes | memoryview) -> None:
    if len(data) < offset:
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(piece)] = piece


@define
class Chance:
    """How the disk deals with what was not synced: `drop` all, `keep` all, or `torn`, by chance."""

    kind: str
    rng: Random


class Medium:
    """A directory as the disk holds it: fed with the operations up to the cut, then asked what is left."""

    def __init__(self, root: str, names: Mapping[str, int], directories: set[int]) -> None:
        """`names`: what is there for good at the beginning, by path; `directories`: which numbers are directories'."""
        self._root = root
        self._files: dict[int, _File] = {}
        self._directories: dict[int, dict[str, int]] = {number: {} for number in directories}
        self._pending: list[tuple[_Change, ...]] = []
        for path, number in names.items():
            if number not in directories:
                self._files[number] = _File(bytearray(Path(path).read_bytes()))
            if path != root:
                parent, _, name = path.rpartition("/")
                self._directories[names[parent]][name] = number

    def feed(self, entry: Operation | Mark) -> None:
        match entry:
            case Write() | Truncate():
                self._files.setdefault(entry.file, _File()).pending.append(entry)
            case Entry():
                self._pending.append(entry.changes)
            case Sync():
                self._sync(entry.file)
            case Mark():
                pass

    def _sync(self, number: int) -> None:
        if number in self._files:
            self._files[number].sync()
        # A rename out of this directory is for good in the other one too.
        mine = [changes for changes in self._pending if any(directory == number for directory, _, _ in changes)]
        names = {(directory, name) for changes in mine for directory, name, _ in changes}
        left = []
        for changes in self._pending:
            if any((directory, name) in names for directory, name, _ in changes):
                self._enter(self._directories, changes)
            else:
                left.append(changes)
        self._pending = left

    @staticmethod
    def _enter(directories: dict[int, dict[str, int]], changes: Iterable[_Change]) -> None:
        for directory, name, number in changes:
            names = directories[directory]
            if number is None:
                names.pop(name, None)
            else:
                names[name] = number

    def leave(self, chance: Chance) -> dict[str, int]:
        """Make the directory what a power cut may leave now. Returns the files' numbers by path."""
        directories = {number: dict(names) for number, names in self._directories.items()}
        for changes in self._kept_names(chance):
            self._enter(directories, changes)
        made: dict[str, int] = {}
        first: dict[int, str] = {}
        waiting = [(self._root, _ROOT)]
        while waiting:
            path, number = waiting.pop()
            os.makedirs(path, exist_ok=True)
            for name, child in directories.get(number, {}).items():
                at = f"{path}/{name}"
                if child in directories:
                    waiting.append((at, child))
                elif child in first:
                    _link(first[child], at)
                else:
                    first[child] = at
                    Path(at).write_bytes(self._files.setdefault(child, _File()).after(chance))
                made[at] = child
        return made

    def _kept_names(self, chance: Chance) -> list[tuple[_Change, ...]]:
        if chance.kind == "drop":
            return []
        if chance.kind == "keep":
            return list(self._pending)
        rng = chance.rng
        renames = any(len(changes) > 1 for changes in self._pending)
        if renames or rng.random() < 0.3:
            # In order, as a journal of the file system has them.
            return self._pending[: rng.randrange(len(self._pending) + 1)]
        likely = rng.choice((0.1, 0.5, 0.9))
        stopped: set[tuple[int, str]] = set()
        kept = []
        for changes in self._pending:
            ((directory, name, _),) = changes
            # What happened to one name happened in order.
            if (directory, name) not in stopped and rng.random() < likely:
                kept.append(changes)
            else:
                stopped.add((directory, name))
        return kept


class RememberedDisk(Disk):
    """The disk of a daemon that starts on such a directory: files are still the files that they were."""

    def __init__(self, made: Mapping[str, int], identities: Mapping[int, FileIdentity]) -> None:
        super().__init__()
        self._were: dict[FileIdentity, FileIdentity] = {}
        for path, number in made.items():
            if os.path.isfile(path) and number in identities:
                status = os.lstat(path)
                self._were[FileIdentity(status.st_dev, status.st_ino)] = identities[number]

    def _was(self, identity: FileIdentity) -> FileIdentity:
        # A new file has a number that no file had then.
        return self._were.get(identity, FileIdentity(identity.device + 1, identity.inode))

    def identity(self, descriptor: int) -> FileIdentity:
        return self._was(super().identity(descriptor))

    def identity_at(self, path: str) -> FileIdentity | None:
        found = super().identity_at(path)
        return None if found is None else self._was(found)
