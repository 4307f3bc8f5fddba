"""Attributes as bitmaps: extension, size and bitrate in powers of two: narrow first, look closely at what is left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec
from pyroaring import BitMap

from ..content.digest import MAX_CONTENT_BYTES
from ..wire.catalogue import Media
from ..wire.index import FileKind
from ..wire.kinds import extension, extensions_of
from .attributes import Attributes
from .items import Item

K = TypeVar("K")


class Filters:
    """Which items may have the attributes that are asked for; `Attributes.met_by` decides."""

    def __init__(self) -> None:
        self._by_extension: dict[str, BitMap] = {}
        self._by_size: dict[int, BitMap] = {}
        self._by_bitrate: dict[int, BitMap] = {}

    def pieces(self) -> Iterator[bytes]:
        """All of it, a bitmap at a time."""
        for attribute, bitmaps in enumerate(self._attributes()):
            for value, having in list(bitmaps.items()):
                yield msgspec.msgpack.encode((attribute, value, having.serialize()))

    @classmethod
    def of(cls, pieces: Iterable[bytes | bytearray]) -> Filters:
        """:raises msgspec.MsgspecError, ValueError: it is not what `pieces` made."""
        filters = cls()
        for data in pieces:
            attribute, value, having = msgspec.msgpack.decode(data, type=tuple[int, str | int, bytes])
            filters._attributes()[attribute][value] = BitMap.deserialize(having)
        return filters

    def _attributes(self) -> Sequence[dict[Any, BitMap]]:
        return self._by_extension, self._by_size, self._by_bitrate

    def add(self, items: Iterable[Item]) -> None:
        for item in items:
            number, entry, bitrate = item.id, item.entry, item.entry.media.bitrate_kbps
            _add(self._by_extension, extension(entry.name), number)
            _add(self._by_size, entry.size.bit_length(), number)
            if bitrate is not None:
                _add(self._by_bitrate, bitrate.bit_length(), number)

    def remove(self, item: int, name: str, size: int, media: Media | None) -> None:
        _discard(self._by_extension, extension(name), item)
        _discard(self._by_size, size.bit_length(), item)
        if media is not None and media.bitrate_kbps is not None:
            _discard(self._by_bitrate, media.bitrate_kbps.bit_length(), item)

    def narrow(self, items: BitMap, asked: Attributes) -> BitMap:
        """Those of the items that may be what is asked for."""
        if not asked.anything():
            return items
        if asked.ext is not None:
            items = _those(items, self._by_extension, (ext.rpartition(".")[2] for ext in asked.ext))
        if asked.kinds is not None:
            items = _those(items, self._by_extension, _extensions(asked.kinds))
        if asked.barred_ext or asked.barred_kinds:
            simple = (ext for ext in asked.barred_ext if "." not in ext)
            items = items - _those(items, self._by_extension, (*simple, *_extensions(asked.barred_kinds)))
        if asked.sized():
            lowest, highest = asked.min_size.bit_length(), asked.max_size.bit_length()
            items = _those(items, self._by_size, range(lowest, highest + 1))
        if asked.max_bitrate is not None or asked.min_bitrate:
            highest = 64 if asked.max_bitrate is None else asked.max_bitrate.bit_length()
            items = _those(items, self._by_bitrate, range(max(1, asked.min_bitrate.bit_length()), highest + 1))
        return items


def decides(asked: Attributes) -> bool:
    """Whether `Filters.narrow` leaves only what is asked for."""
    return (
        not any("." in ext for ext in (*(asked.ext or ()), *asked.barred_ext))
        and _begins_a_step(asked.min_size)
        and (asked.max_size == MAX_CONTENT_BYTES or _begins_a_step(asked.max_size + 1))
        and _begins_a_step(asked.min_bitrate)
        and (asked.max_bitrate is None or _begins_a_step(asked.max_bitrate + 1))
    )


def _begins_a_step(figure: int) -> bool:
    """Whether it is a power of two, or nothing."""
    return figure & (figure - 1) == 0


def _extensions(kinds: Iterable[FileKind]) -> Iterable[str]:
    return (ext for kind in kinds for ext in extensions_of(kind))


def _those(items: BitMap, bitmaps: dict[K, BitMap], keys: Iterable[K]) -> BitMap:
    """Of the items, those that are in any of these bitmaps. They are few by now: the bitmaps together are not."""
    return BitMap.union(BitMap(), *(items & bitmaps[key] for key in keys if key in bitmaps))


def _add(bitmaps: dict[K, BitMap], key: K, item: int) -> None:
    having = bitmaps.get(key)
    if having is None:
        bitmaps[key] = BitMap((item,))
    else:
        having.add(item)


def _discard(bitmaps: dict[K, BitMap], key: K, item: int) -> None:
    having = bitmaps.get(key)
    if having is not None:
        having.discard(item)
        if not having:
            del bitmaps[key]
