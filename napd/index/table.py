"""The items that this process knows, in memory: what the store has, as far as somebody online has offered it."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence

from attrs import frozen
from pyroaring import BitMap

from ..model import EVERYONE, ContentId
from ..wire.catalogue import Media
from .items import Item
from .multimap import Multimap
from .words import searchable

_NO_MEDIA = Media()


@frozen
class Row:
    """An item in memory, or a content as it is shown: in what most call it.

    :param audience: None is everyone: by far the most.
    :param text: what it is found by (`napd.index.words.Searchable`).
    """

    content: int
    name: str
    folder: str
    size: int
    media: Media | None
    audience: tuple[str, ...] | None
    text: str


class ItemTable:
    """Items by id, contents by number and by id."""

    def __init__(self) -> None:
        self._rows: dict[int, Row] = {}
        self._items: Multimap = Multimap()
        self._contents: dict[int, ContentId] = {}
        self._numbers: dict[str, int] = {}
        #: Items that are not for everyone.
        self.restricted = BitMap()

    def missing(self, ids: Iterable[int]) -> Sequence[int]:
        return [item for item in ids if item not in self._rows]

    def learn(self, item: Item) -> frozenset[str] | None:
        """Take an item in; the terms to find it by, or None if it is known."""
        if item.id in self._rows:
            return None
        entry = item.entry
        found_by = searchable(entry.folder, entry.name)
        self._rows[item.id] = Row(
            content=item.content,
            name=entry.name,
            folder=sys.intern(entry.folder),
            size=entry.size,
            media=None if entry.media == _NO_MEDIA else entry.media,
            audience=None if EVERYONE in entry.audience else entry.audience,
            text=found_by.text,
        )
        if EVERYONE not in entry.audience:
            self.restricted.add(item.id)
        self._items.add(item.content, item.id)
        if item.content not in self._contents:
            self._contents[item.content] = ContentId(entry.content)
            self._numbers[entry.content] = item.content
        return found_by.terms

    def forget(self, item: int) -> Row | None:
        row = self._rows.pop(item, None)
        if row is not None:
            self.restricted.discard(item)
            self._items.discard(row.content, item)
            if row.content not in self._items:
                del self._numbers[self._contents.pop(row.content)]
        return row

    def row(self, item: int) -> Row:
        return self._rows[item]

    def get(self, item: int) -> Row | None:
        return self._rows.get(item)

    def items_of(self, content: int) -> Collection[int]:
        return self._items.of(content)

    def content_id(self, content: int) -> ContentId:
        return self._contents[content]

    def number_of(self, content: str) -> int | None:
        return self._numbers.get(content)

    def __len__(self) -> int:
        return len(self._rows)
