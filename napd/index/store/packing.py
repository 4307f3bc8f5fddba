"""How the databases keep what the store's values are made of: lists of ids, positions, entries."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from typing import Any

import msgspec
from attrs import define
from pyroaring import BitMap

from ...model import EVERYONE
from ...wire.catalogue import Entry, Media
from ..items import Item
from .interface import Position

#: What `item_of` takes, from ``item JOIN content ON number = content``.
ITEM_COLUMNS = "item.id, content, hash, size, folder, name, audience, duration_s, bitrate_kbps, width, height"

_NO_MEDIA = Media()
_PUBLIC = (EVERYONE,)
_decode_audience = msgspec.json.Decoder(tuple[str, ...]).decode


@define
class Catalogue:
    """A catalogue in memory between transactions; `changed`: it is not written yet."""

    position: Position
    share: BitMap
    changed: bool = False


def item_of(row: Sequence[Any]) -> Item:
    item, content, content_hash, size, folder, name, audience, *media = row
    entry = Entry(
        content=content_hash.hex(),
        size=size,
        folder=folder,
        name=name,
        audience=_PUBLIC if audience is None else _decode_audience(audience),
        media=_NO_MEDIA if media == [None] * 4 else Media(*media),
    )
    return Item(item, content, entry)


def described(entry: Entry) -> tuple[Any, ...]:
    """An item's columns from its size on, in the order of `ITEM_COLUMNS`."""
    audience = None if tuple(entry.audience) == _PUBLIC else msgspec.json.encode(entry.audience).decode()
    media = entry.media
    return (
        entry.size,
        entry.folder,
        entry.name,
        audience,
        media.duration_s,
        media.bitrate_kbps,
        media.width,
        media.height,
    )


def position_of(epoch: bytes, revision: int, digest: bytes) -> Position:
    return Position(epoch.hex(), revision, digest.hex())


def blobs(position: Position) -> tuple[bytes, int, bytes]:
    return bytes.fromhex(position.epoch), position.revision, bytes.fromhex(position.digest)


def packed(ids: array[int]) -> bytes:
    """Little-endian uint32s."""
    return _little_endian(ids).tobytes()


def unpacked(blob: bytes) -> array[int]:
    return _little_endian(array("I", blob))


def serialized(ids: BitMap) -> bytes:
    """In roaring's portable form: 2 bytes for an id among many, less for those that follow each other."""
    ids.run_optimize()
    return ids.serialize() if ids else b""


def deserialized(blob: bytes) -> BitMap:
    return BitMap.deserialize(blob) if blob else BitMap()


def _little_endian(ids: array[int]) -> array[int]:
    if sys.byteorder == "big":
        ids = ids[:]
        ids.byteswap()
    return ids
