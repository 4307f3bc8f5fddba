"""The items that this process knows, in memory: what the store has, as far as somebody online has offered it.

An item is a number and some 30 bytes in all: its figures are in columns. Its name is in one piece of memory with all
others, and from the next snapshot on only in that file. A `Row` is made when somebody looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import pairwise
from struct import Struct

import msgspec
import numpy as np
from pyroaring import BitMap

from ..model import EVERYONE, ContentId
from ..wire.catalogue import Entry, Media
from .arena import Stretch
from .columns import Column, Ids
from .contents import ContentIds
from .folders import Folders
from .items import Item
from .sizes import Sizes
from .texts import Texts
from .words import searchable_text, terms_and_words

#: Rows kept for the next who look at the same items: some 15 MB.
_MAX_ROWS = 20_000
#: Likewise the texts of names: some 6 MB.
_MAX_TEXTS = 50_000
#: Steps of all lists at once, after which those that are left are walked one by one.
_MAX_STEPS = 16

_NO_MEDIA = Media()
#: Duration in seconds, bitrate in kbit/s, width, height, after the name of an item that has any; -1 is not known.
_MEDIA = Struct("<diii")
#: Words of a name that are counted.
MAX_WORDS = 255
#: No name has it.
_MEDIA_FOLLOWS = b"\0"


class Row(msgspec.Struct, frozen=True, gc=False):
    """An item, or a content as it is shown: in what most call it.

    Very many are kept, none of which is in a cycle: the collector of cycles need not look at them.

    :param audience: None is everyone: by far the most.
    """

    content: int
    name: str
    folder: str
    size: int
    media: Media | None
    audience: tuple[str, ...] | None

    @property
    def text(self) -> str:
        """What it is found by (`napd.index.words.Searchable`)."""
        return searchable_text(self.folder, self.name)


class ItemTable:
    """Items by id, contents by number and by id. Ids of the store are places in the columns."""

    def __init__(self) -> None:
        #: By item; content 0 is an item that is not known. `next` is another item of the same content, or 0.
        self.content = Column(np.uint32)
        self.sizes = Sizes()
        self.next = Column(np.uint32)
        self.folder = Column(np.uint32)
        #: How many words the file's name has, of more than `MAX_WORDS` that many.
        self.words = Column(np.uint8)
        self.texts = Texts()
        self.folders = Folders()
        #: By content: one of its items.
        self.first = Column(np.uint32)
        self.ids = ContentIds()
        #: Items that are not for everyone, and for whom they are.
        self.restricted = BitMap()
        self.audiences: dict[int, tuple[str, ...]] = {}
        self.highest = self.highest_content = 0
        #: Items that went since a snapshot was begun.
        self.forgotten = BitMap()
        #: How many times an item came or went.
        self.changes = 0
        self._rows: dict[int, Row] = {}
        self._name_texts: dict[int, str] = {}
        self._size = 0

    def become(self, other: ItemTable) -> None:
        """Take over all that another one knows, which is not used any more. This one knows nothing."""
        vars(self).update(vars(other))

    def rest_on(self, parts: Mapping[str, Stretch]) -> list[bytearray]:
        """A snapshot is written: what it has of these parts, `names` and `ids`, need not be in memory.

        What memory that frees: to be let go of one by one.
        """
        names = self.texts.rest_on(parts["names"]) if "names" in parts else []
        ids = self.ids.rest_on(parts["ids"]) if "ids" in parts else []
        return names + ids

    def count(self, items: int) -> None:
        """As many more or less, put in or taken out by the columns."""
        self._size += items

    def missing(self, ids: Ids) -> Ids:
        """Those that are not known."""
        known = np.zeros(len(ids), np.bool_)
        inside = ids < len(self.content.all)
        known[inside] = self.content.all[ids[inside]] != 0
        return ids[~known]

    def learn(self, item: Item) -> Set[str] | None:
        """Take an item in; the terms to find it by, or None if it is known."""
        return self.learn_all((item,)).get(item.id)

    def learn_all(self, items: Iterable[Item]) -> Mapping[int, Set[str]]:
        """Take items in: ids of those that were not known, and the terms to find each by."""
        by_id = {item.id: item for item in items}
        missing = self.missing(np.fromiter(by_id, np.uint32, len(by_id))).tolist()
        if not missing:
            return {}
        new = [by_id[number] for number in missing]
        self._reach(max(missing), max(item.content for item in new))
        contents, ids = [], []
        for item in new:
            number, content = item.id, item.content
            following = self.first.one[content]
            if not following:
                contents.append(content)
                ids.append(item.entry.content)
            self.content.one[number] = content
            self.next.one[number] = following
            self.first.one[content] = number
        self.ids.add_all(contents, ids)
        self.changes += len(new)
        self._size += len(new)
        return {item.id: self._describe(item.id, item.entry) for item in new}

    def _reach(self, item: int, content: int) -> None:
        """Have room for these."""
        for column in (self.content, self.next, self.folder, self.words):
            column.reach(item)
        self.first.reach(content)
        self.highest = max(self.highest, item)
        self.highest_content = max(self.highest_content, content)

    def _describe(self, item: int, entry: Entry) -> Set[str]:
        self.sizes.put(item, entry.size)
        self.folder.one[item] = self.folders.take(entry.folder)
        self.texts.put(item, _text_of(entry.name, entry.media))
        if EVERYONE not in entry.audience:
            self.restricted.add(item)
            self.audiences[item] = entry.audience
        terms, words = terms_and_words(entry.folder, entry.name)
        self.words.one[item] = min(words, MAX_WORDS)
        return terms

    def forget(self, items: Iterable[int]) -> Iterator[tuple[int, Row]]:
        """Those that were known, each as it was: it is gone now. Other work may be done between one and the next.

        Until the last one they stay in the lists of their contents, where nobody offers them.
        """
        contents = set()
        try:
            for item in items:
                if not self.knows(item):
                    continue
                row = self.row(item)
                contents.add(row.content)
                self._forget(item)
                yield item, row
        finally:
            for content in contents:
                self._unlink(content)

    def _forget(self, item: int) -> None:
        self._rows.pop(item, None)
        self._name_texts.pop(item, None)
        self.texts.drop(item)
        self.sizes.drop(item)
        self.folders.drop(self.folder.one[item])
        self.restricted.discard(item)
        self.audiences.pop(item, None)
        self.content.one[item] = 0
        self.forgotten.add(item)
        self.changes += 1
        self._size -= 1

    def between(self, after: int, until: int) -> Ids:
        """Ids of the items from the one after to the other, in order."""
        known = np.flatnonzero(self.content.all[after + 1 : until + 1])
        return (known + (after + 1)).astype(np.uint32)

    def newest(self) -> int | None:
        """The highest id of all items."""
        known = np.flatnonzero(self.content.all)
        return int(known[-1]) if len(known) else None

    def has(self, item: Item) -> bool:
        """Whether this is what is known under its id."""
        row, entry = self.get(item.id), item.entry
        return row is not None and (
            (item.content, self.content_id(row.content)) == (row.content, entry.content)
            and (row.name, row.folder, row.size) == (entry.name, entry.folder, entry.size)
            and (row.media or _NO_MEDIA) == entry.media
            and row.audience == (None if EVERYONE in entry.audience else entry.audience)
        )

    def row(self, item: int) -> Row:
        """:raises KeyError: it is not known."""
        row = self._rows.get(item)
        if row is None:
            if not self.knows(item):
                raise KeyError(item)
            if len(self._rows) >= _MAX_ROWS:
                self._rows.clear()
            name, media = _name_and_media(self.texts.get(item))
            row = self._rows[item] = Row(
                content=self.content.one[item],
                name=name,
                folder=self.folders.get(self.folder.one[item]),
                size=self.sizes.one(item),
                media=media,
                audience=self.audiences.get(item),
            )
        return row

    def name_text(self, item: int) -> str:
        """What a known item is found by, without its folders."""
        text = self._name_texts.get(item)
        if text is None:
            if len(self._name_texts) >= _MAX_TEXTS:
                self._name_texts.clear()
            raw = self.texts.get(item)
            at = raw.find(_MEDIA_FOLLOWS)
            text = self._name_texts[item] = searchable_text("", raw.decode() if at < 0 else raw[:at].decode())
        return text

    def said(self, item: int) -> tuple[bytes, bytes]:
        """Name and media of a known item, for comparison: `media_of` tells what the second means."""
        name, _, media = self.texts.get(item).partition(_MEDIA_FOLLOWS)
        return name, media

    def folder_of(self, item: int) -> bytes:
        """The folder of a known item, in UTF-8."""
        return self.folders.texts.get(self.folder.one[item])

    def get(self, item: int) -> Row | None:
        return self.row(item) if self.knows(item) else None

    def items_of(self, content: int) -> Sequence[int]:
        found = []
        item = self.first.one[content]
        while item:
            found.append(item)
            item = self.next.one[item]
        return found

    def only_item_of(self, content: int) -> int | None:
        """None if the content has several."""
        item: int = self.first.one[content]
        return None if self.next.one[item] else item

    def items_of_all(self, contents: Ids) -> Ids:
        """Every item of these contents, each of which is there once."""
        return self.items_with(contents, contents)[0]

    def items_with(self, contents: Ids, values: Ids) -> tuple[Ids, Ids]:
        """Every item of these contents, each of which is there once, and for each the value of its content."""
        all_items, all_values = [], []
        items = self.first.all[contents.astype(np.intp)]
        for _ in range(_MAX_STEPS):
            there = items != 0
            items, values = items[there], values[there]
            if not len(items):
                break
            all_items.append(items)
            all_values.append(values)
            items = self.next.all[items.astype(np.intp)]
        else:
            # A few contents have very many names.
            for item, value in zip(items.tolist(), values.tolist(), strict=True):
                rest = np.fromiter(self._from(item), np.uint32)
                all_items.append(rest)
                all_values.append(np.full(len(rest), value, values.dtype))
        if not all_items:
            return items, values
        return np.concatenate(all_items), np.concatenate(all_values)

    def content_id(self, content: int) -> ContentId:
        return self.ids.id_of(content)

    def number_of(self, content: str) -> int | None:
        return self.ids.number_of(content)

    def __len__(self) -> int:
        return self._size

    def knows(self, item: int) -> bool:
        return item < len(self.content.all) and self.content.one[item] != 0

    def _from(self, item: int) -> Iterator[int]:
        while item:
            yield item
            item = self.next.one[item]

    def _unlink(self, content: int) -> None:
        """Take the items of a content that are gone out of its list, and the content away if none is left."""
        if not self.first.one[content]:
            return
        left = [item for item in self.items_of(content) if self.content.one[item]]
        self.first.one[content] = left[0] if left else 0
        for item, following in pairwise([*left, 0]):
            self.next.one[item] = following
        if not left:
            self.ids.remove(content)


def _text_of(name: str, media: Media) -> bytes:
    """The name, and after a NUL what is known of the media."""
    if media == _NO_MEDIA:
        return name.encode()
    figures = (media.duration_s, media.bitrate_kbps, media.width, media.height)
    return name.encode() + _MEDIA_FOLLOWS + _MEDIA.pack(*(-1 if figure is None else figure for figure in figures))


def _name_and_media(text: bytes) -> tuple[str, Media | None]:
    """A name has no NUL in it."""
    name, _, media = text.partition(_MEDIA_FOLLOWS)
    return name.decode(), media_of(media)


def media_of(text: bytes) -> Media | None:
    """What is after a name's NUL."""
    return Media(*(None if figure < 0 else figure for figure in _MEDIA.unpack(text))) if text else None
