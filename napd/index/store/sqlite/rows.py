"""A catalogue entry as a row: how it goes to the writer, and into the database."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ....model import EVERYONE
from ....wire.catalogue import Entry, digest_of

#: Content hash, size, folder, name, audience (None: everyone, else a JSON list), milliseconds, kbit/s, width, height.
Row: TypeAlias = tuple[
    bytes, int, str, str, str | None, int | None, int | None, int | None, int | None
]  # fmt: skip

#: What `packing.item_of` takes.
SELECT_ITEMS = (
    "SELECT id, content, hash, size, path, name, audience, duration_ms / 1000.0, bitrate_kbps, width, height "
    "FROM item JOIN content ON content.number = content JOIN folder ON folder.number = folder "
)

_PUBLIC = (EVERYONE,)
_encode_audience = msgspec.json.Encoder().encode
_decode_audience = msgspec.json.Decoder(tuple[str, ...]).decode


def row_of(entry: Entry) -> Row:
    media = entry.media
    return (
        bytes.fromhex(entry.content),
        entry.size,
        entry.folder,
        entry.name,
        None if entry.audience == _PUBLIC else _encode_audience(entry.audience).decode(),
        milliseconds(media.duration_s),
        media.bitrate_kbps,
        media.width,
        media.height,
    )


def milliseconds(seconds: float | None) -> int | None:
    """As the digest has it: rounded to three decimals."""
    return None if seconds is None else round(round(seconds, 3) * 1000)


def digest_of_row(row: Row) -> bytes:
    """The entry's digest."""
    content, size, folder, name, audience, duration_ms, bitrate_kbps, width, height = row
    return digest_of(
        content,
        size,
        folder,
        name,
        _PUBLIC if audience is None else _decode_audience(audience),
        None if duration_ms is None else duration_ms / 1000,
        bitrate_kbps,
        width,
        height,
    )
