"""For tests of the index: entries, peers that are scripted line by line, and links in memory."""

from __future__ import annotations

import hashlib
from typing import Any

from napd.model import EVERYONE
from napd.wire.catalogue import Entry, Media


def content(seed: object) -> str:
    """A content id, the same for the same seed."""
    return hashlib.sha256(str(seed).encode()).hexdigest()


def entry(
    path: str, seed: object | None = None, size: int = 1000, audience: tuple[str, ...] = (EVERYONE,), **media: Any
) -> Entry:
    """An entry for ``share/folder/name``; the content is the seed's, or the path's."""
    folder, _, name = path.rpartition("/")
    return Entry(
        content=content(path if seed is None else seed),
        size=size,
        folder=folder or "share",
        name=name,
        audience=audience,
        media=Media(**media),
    )
