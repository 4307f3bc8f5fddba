"""What the search engine knows as parts of a file, and back.

It is written while the engine goes on. That is right because an item never changes: its content is looked at first, so
what has one by then has all the rest; what is forgotten meanwhile is listed last; and what comes meanwhile has a higher
number than all that is written. Words and attributes may name an item that is gone: nobody offers it, so nobody finds
it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from pyroaring import BitMap

from .arena import Arena, Stretch
from .columns import Column, Ids, distinct, ids_in
from .contents import ID_BYTES, ContentIds
from .filters import Filters
from .folders import Folders
from .postings import Postings
from .snapshot_file import Part, SnapshotRefused
from .table import ItemTable
from .texts import Texts

#: Bytes copied at once: a tenth of a millisecond.
CHUNK_BYTES = 256 * 1024
#: Restricted items in one part.
_AUDIENCES = 5_000
#: Of the bytes of the texts, how many may be of items that are gone before they are left out: one in so many.
_WASTE = 4

#: Parts that stay in the file and are read from there where somebody looks: a third of all that the index would have in
#: memory, for a tenth more time in a search. With none of them everything is in memory.
LEFT = ("names", "ids")

_Part = bytearray | Stretch
_Parts = Mapping[str, Sequence[_Part]]


@frozen
class Restored:
    """What a snapshot had in it."""

    table: ItemTable
    postings: Postings
    filters: Filters


def parts_of(table: ItemTable, postings: Postings, filters: Filters) -> Iterator[Part]:
    """To be asked for one after the other, with other work in between."""
    table.forgotten.clear()
    items = table.highest + 1
    yield _column("content", table.content, items)
    yield _array("size", lambda at, to: table.sizes.between(at, to).tobytes(), items, 8)
    for name, column in (("folder", table.folder), ("words", table.words)):
        yield _column(name, column, items)
    yield from _texts("names", table.texts, items)
    yield from _texts("folders", table.folders.texts, table.folders.highest + 1)
    yield _array("ids", table.ids.piece, table.ids.fix(), ID_BYTES)
    restricted = ids_in(table.restricted).tolist()
    for at in range(0, len(restricted), _AUDIENCES):
        some = {item: table.audiences[item] for item in restricted[at : at + _AUDIENCES] if item in table.audiences}
        yield _whole("audiences", msgspec.msgpack.encode(some))
    yield from (_whole("filters", data) for data in filters.pieces())
    yield from (_whole("postings", data) for data in postings.pieces(CHUNK_BYTES))
    yield _whole("forgotten", ids_in(table.forgotten).tobytes())


def restored(parts: _Parts, left: Collection[str] = ()) -> Restored:
    """:param left: names of parts that stay in the file, of those in `LEFT`; the others are read one after the other.
    :raises SnapshotRefused: there is something else in it than there should be.
    """
    try:
        table = _table(parts, left)
        return Restored(table, Postings.of(_each(parts, "postings")), Filters.of(_each(parts, "filters")))
    except (KeyError, ValueError, IndexError, msgspec.MsgspecError) as error:
        raise SnapshotRefused(f"the snapshot has other parts than this version writes: {error!r}") from error
    except OSError as error:
        raise SnapshotRefused(f"the snapshot cannot be read: {error}") from error


# --- Writing -------------------------------------------------------------------------------------


def _whole(name: str, data: bytes) -> Part:
    return Part(name, len(data), (data,))


def _array(name: str, cut: Callable[[int, int], bytes], count: int, width: int) -> Part:
    step = CHUNK_BYTES // width
    return Part(name, count * width, (cut(at, min(at + step, count)) for at in range(0, count, step)))


def _column(name: str, column: Column[Any], count: int) -> Part:
    column.reach(count - 1)
    # It may be another array each time.
    return _array(name, lambda at, to: column.all[at:to].tobytes(), count, column.all.itemsize)


def _texts(name: str, texts: Texts, count: int) -> Iterator[Part]:
    """Places first: a text that has one by then stays where it is, or is forgotten."""
    yield _column(f"{name}-places", texts.places, count)
    yield _column(f"{name}-lengths", texts.lengths, count)
    texts.fix()
    yield _array(name, lambda at, to: texts.arena.read(at, to - at), len(texts.arena), 1)


# --- Reading -------------------------------------------------------------------------------------


def _table(parts: _Parts, left: Collection[str]) -> ItemTable:
    table = ItemTable()
    content: Ids = _numbers(parts, "content", np.uint32)
    forgotten: Ids = _numbers(parts, "forgotten", np.uint32)
    content[forgotten[forgotten < len(content)]] = 0
    items = np.flatnonzero(content).astype(np.uint32)
    folder: Ids = _numbers(parts, "folder", np.uint32)
    ids = _one(parts, "ids", left)
    contents = len(ids) // ID_BYTES
    table.content.put(content)
    table.sizes.put_all(_numbers(parts, "size", np.uint64))
    table.folder.put(folder)
    table.words.put(_numbers(parts, "words", np.uint8))
    table.texts = _restored_texts(parts, "names", items, left)
    table.folders = _restored_folders(parts, folder[items])
    _link(table, items, len(content), contents)
    table.ids = ContentIds.of(ids, distinct(content[items]))
    for data in _each(parts, "audiences"):
        some = msgspec.msgpack.decode(data, type=dict[int, tuple[str, ...]])
        table.audiences |= {item: audience for item, audience in some.items() if table.knows(item)}
    table.restricted = BitMap(table.audiences)
    table.highest, table.highest_content = len(content) - 1, max(0, contents - 1)
    table.count(len(items))
    return table


def _link(table: ItemTable, items: Ids, places: int, contents: int) -> None:
    """The lists of items by content.

    :param places: one more than the highest of all numbers of items; and `contents` of contents.
    """
    in_order = items[np.argsort(table.content.all[items], kind="stable")]
    content = table.content.all[in_order]
    following: Ids = np.zeros(places, np.uint32)
    same = content[1:] == content[:-1]
    following[in_order[:-1][same]] = in_order[1:][same]
    first: Ids = np.zeros(contents, np.uint32)
    # Of several the last one written stays: the first of the list.
    first[content[::-1]] = in_order[::-1]
    table.next.put(following)
    table.first.put(first)


def _restored_texts(parts: _Parts, name: str, used: Ids, left: Collection[str] = ()) -> Texts:
    places: Ids = _numbers(parts, f"{name}-places", np.uint32)
    lengths: NDArray[np.uint16] = _numbers(parts, f"{name}-lengths", np.uint16)
    unused = np.ones(len(lengths), np.bool_)
    unused[used] = False
    places[unused] = 0
    lengths[unused] = 0
    texts = Texts()
    texts.places.put(places)
    texts.lengths.put(lengths)
    texts.arena = Arena.of(_one(parts, name, left))
    if len(texts.arena) - int(lengths.sum()) > len(texts.arena) // _WASTE:
        texts.pack(used.tolist())
    return texts


def _restored_folders(parts: _Parts, of_items: Ids) -> Folders:
    used = np.bincount(of_items, minlength=len(_numbers(parts, "folders-lengths", np.uint16))).astype(np.uint32)
    return Folders.of(_restored_texts(parts, "folders", np.flatnonzero(used).astype(np.uint32)), used)


def _one(parts: _Parts, name: str, left: Collection[str]) -> _Part:
    (part,) = parts[name]
    return part if name in left else _read(part)


def _each(parts: _Parts, name: str) -> Iterator[bytearray]:
    return (_read(part) for part in parts.get(name, ()))


def _read(part: _Part) -> bytearray:
    return part if isinstance(part, bytearray) else part.read_all()


def _numbers(parts: _Parts, name: str, kind: type[Any]) -> NDArray[Any]:
    """In the memory that they were read into."""
    (part,) = parts[name]
    return np.frombuffer(_read(part), kind)
