"""Items, their contents and folders in the database: looked up together, made together."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from attrs import define

from .clock import Clock
from .rows import Row, digest_of_row

#: Bytes of an entry's digest that the database keeps, and of a content's hash that are looked up first.
KEPT_DIGEST = 16
_HASH_PREFIX = 8
#: Values bound to one statement; SQLite's own limit was 999 for long.
BOUND = 900

T = TypeVar("T")


@define
class _Part:
    """A content or folder: how many items it has got or lost in this transaction."""

    number: int
    items: int = 0
    is_new: bool = False


class ItemTables:
    """Items of the steps of one transaction. What is made is in memory until `flush`.

    :param clock: where numbers come from; it is another one after each `begin`.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._sql = connection
        self._known: dict[bytes, tuple[int, int]] = {}
        self._contents: dict[bytes, _Part] = {}
        self._folders: dict[str, _Part] = {}
        self._made: list[tuple[object, ...]] = []
        self._digests: list[tuple[bytes, int, int]] = []

    def begin(self, clock: Clock) -> None:
        self._clock = clock
        self.drop()

    def drop(self) -> None:
        """Forget what was looked up, and what was made and not written."""
        self._known.clear()
        self._contents.clear()
        self._folders.clear()
        self._made.clear()
        self._digests.clear()

    # --- Looking up and making -------------------------------------------------------------------

    def look_up(self, add: Mapping[bytes, Row], withdraw: Collection[bytes]) -> None:
        """Get to know these, by their digests, and whatever it takes to make those of `add` that are new."""
        # In the order of the tree, here and where it is written: each of its pages is touched once.
        digests = sorted({digest[:KEPT_DIGEST] for digest in (*add, *withdraw)})
        for digest, item, content in self._found("SELECT digest, item, content FROM item_digest WHERE digest", digests):
            self._known[digest] = item, content
        new = [row for digest, row in add.items() if digest[:KEPT_DIGEST] not in self._known]
        hashes = {row[0] for row in new}
        prefixes = sorted({content[:_HASH_PREFIX] for content in hashes})
        for number, content in self._found("SELECT number, hash FROM content WHERE substr(hash, 1, 8)", prefixes):
            if content in hashes:
                self._contents.setdefault(content, _Part(number))
        paths = sorted({row[2] for row in new} - self._folders.keys())
        for number, path in self._found("SELECT number, path FROM folder WHERE path", paths):
            self._folders[path] = _Part(number)

    def known(self, digests: Iterable[bytes]) -> dict[bytes, tuple[int, int]]:
        """Item and content of those that there are, of those that were looked up."""
        known = self._known
        return {digest: known[kept] for digest in digests if (kept := digest[:KEPT_DIGEST]) in known}

    def make(self, digest: bytes, row: Row) -> tuple[int, int]:
        """A new item, which was looked up before; its number and its content's."""
        clock = self._clock
        content = self._contents.get(row[0])
        if content is None:
            clock.content += 1
            clock.contents += 1
            content = self._contents[row[0]] = _Part(clock.content, is_new=True)
        folder = self._folders.get(row[2])
        if folder is None:
            clock.folder += 1
            folder = self._folders[row[2]] = _Part(clock.folder, is_new=True)
        content.items += 1
        folder.items += 1
        clock.item += 1
        clock.items += 1
        kept = digest[:KEPT_DIGEST]
        self._known[kept] = clock.item, content.number
        self._made.append((clock.item, content.number, row[1], folder.number, *row[3:]))
        self._digests.append((kept, clock.item, content.number))
        return clock.item, content.number

    def flush(self) -> None:
        """Write what was made."""
        self._write_parts("content", "hash", self._contents)
        self._write_parts("folder", "path", self._folders)
        self._sql.executemany("INSERT INTO item VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", self._made)
        self._digests.sort()
        self._sql.executemany("INSERT INTO item_digest VALUES (?, ?, ?)", self._digests)
        self._made.clear()
        self._digests.clear()

    def _write_parts(self, table: str, key: str, parts: Mapping[T, _Part]) -> None:
        changed = [(value, part) for value, part in parts.items() if part.items]
        self._sql.executemany(
            f"INSERT INTO {table} (number, {key}, items) VALUES (?, ?, ?)",  # noqa: S608
            [(part.number, value, part.items) for value, part in changed if part.is_new],
        )
        self._sql.executemany(
            f"UPDATE {table} SET items = items + ? WHERE number = ?",  # noqa: S608
            [(part.items, part.number) for _, part in changed if not part.is_new],
        )
        for _, part in changed:
            part.items, part.is_new = 0, False

    # --- Removing --------------------------------------------------------------------------------

    def remove(self, items: Sequence[int]) -> None:
        """Remove these, and contents and folders that have no other. What was looked up is so no more: `drop`s it."""
        rows = self._found(
            "SELECT hash, size, path, name, audience, duration_ms, bitrate_kbps, width, height, id, content, folder "
            "FROM item JOIN content ON content.number = content JOIN folder ON folder.number = folder WHERE id",
            items,
        )
        removed = list(rows)
        self._sql.executemany(
            "DELETE FROM item_digest WHERE digest = ?",
            sorted((digest_of_row(row[:9])[:KEPT_DIGEST],) for row in removed),
        )
        self._sql.executemany("DELETE FROM item WHERE id = ?", [(row[9],) for row in removed])
        self._clock.items -= len(removed)
        self._clock.contents -= self._lessen("content", [row[10] for row in removed])
        self._lessen("folder", [row[11] for row in removed])
        self.drop()

    def _lessen(self, table: str, numbers: Sequence[int]) -> int:
        """One item less for each time that a content or folder is named; how many of them are gone."""
        self._sql.executemany(
            f"UPDATE {table} SET items = items - 1 WHERE number = ?",  # noqa: S608
            [(number,) for number in numbers],
        )
        return self._sql.executemany(
            f"DELETE FROM {table} WHERE number = ? AND items = 0",  # noqa: S608
            [(number,) for number in set(numbers)],
        ).rowcount

    def _found(self, select: str, values: Sequence[object]) -> Iterable[tuple[Any, ...]]:
        """:param select: up to the column that has one of these values."""
        return found(self._sql, select, values)


def found(connection: sqlite3.Connection, select: str, values: Sequence[object]) -> Iterable[tuple[Any, ...]]:
    """Rows of a statement that ends with the column that is to have one of these values."""
    for at in range(0, len(values), BOUND):
        some = values[at : at + BOUND]
        yield from connection.execute(f"{select} IN ({','.join('?' * len(some))})", some)
