"""Filters as bitmaps: extension, and size and bitrate in powers of two: narrow first, look closely at what is left."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from attrs import frozen
from pyroaring import BitMap

from ..wire.catalogue import Media
from ..wire.index import FileKind
from ..wire.kinds import extension, extensions_of, kind_of

K = TypeVar("K")


@frozen
class Wished:
    """What is asked of a result besides its words; the default asks for nothing.

    :param ext: in lower case, without the first dot.
    """

    ext: tuple[str, ...] = ()
    kind: FileKind | None = None
    min_size: int | None = None
    max_size: int | None = None
    min_bitrate: int | None = None

    def anything(self) -> bool:
        return self != NO_WISH

    def met_by(self, name: str, size: int, media: Media | None) -> bool:
        if self is NO_WISH:
            return True
        if self.ext and not name.lower().endswith(tuple(f".{ext}" for ext in self.ext)):
            return False
        if self.kind is not None and kind_of(name) != self.kind:
            return False
        if self.min_size is not None and size < self.min_size:
            return False
        if self.max_size is not None and size > self.max_size:
            return False
        return self.min_bitrate is None or _bitrate(media) >= self.min_bitrate


NO_WISH = Wished()


class Filters:
    """Which items may meet a wish; `Wished.met_by` decides."""

    def __init__(self) -> None:
        self._by_extension: dict[str, BitMap] = {}
        self._by_size: dict[int, BitMap] = {}
        self._by_bitrate: dict[int, BitMap] = {}

    def add(self, item: int, name: str, size: int, media: Media | None) -> None:
        self._by_extension.setdefault(extension(name), BitMap()).add(item)
        self._by_size.setdefault(size.bit_length(), BitMap()).add(item)
        if media is not None and media.bitrate_kbps is not None:
            self._by_bitrate.setdefault(media.bitrate_kbps.bit_length(), BitMap()).add(item)

    def remove(self, item: int, name: str, size: int, media: Media | None) -> None:
        _discard(self._by_extension, extension(name), item)
        _discard(self._by_size, size.bit_length(), item)
        if media is not None and media.bitrate_kbps is not None:
            _discard(self._by_bitrate, media.bitrate_kbps.bit_length(), item)

    def narrow(self, items: BitMap, wished: Wished) -> BitMap:
        """Those of the items that may meet the wish."""
        if wished.ext:
            items = items & _union(self._by_extension, (ext.rpartition(".")[2] for ext in wished.ext))
        if wished.kind is not None:
            items = items & _union(self._by_extension, extensions_of(wished.kind))
        if wished.min_size is not None or wished.max_size is not None:
            lowest = (wished.min_size or 0).bit_length()
            highest = 64 if wished.max_size is None else wished.max_size.bit_length()
            items = items & _union(self._by_size, range(lowest, highest + 1))
        if wished.min_bitrate:
            items = items & _union(self._by_bitrate, range(wished.min_bitrate.bit_length(), 64))
        return items


def _union(bitmaps: dict[K, BitMap], keys: Iterable[K]) -> BitMap:
    return BitMap.union(BitMap(), *(bitmaps[key] for key in keys if key in bitmaps))


def _discard(bitmaps: dict[K, BitMap], key: K, item: int) -> None:
    having = bitmaps.get(key)
    if having is not None:
        having.discard(item)
        if not having:
            del bitmaps[key]


def _bitrate(media: Media | None) -> int:
    return 0 if media is None or media.bitrate_kbps is None else media.bitrate_kbps
