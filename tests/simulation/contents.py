"""Files and keys that all runs use: made once in a process, the same in each."""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import cache
from pathlib import Path
from random import Random

from attrs import frozen

from napd.content.digest import CHUNK_BYTES
from napd.content.manifest import Manifest
from napd.model import ContentId
from napd.net.identity import Identity
from tests.support import index_script
from tests.support.swarm import manifest_of_bytes

#: Around every border that the code knows: empty, one chunk and a byte less and more, a short last chunk, a few chunks.
SIZES = (
    0,
    1,
    20_000,
    20_001,
    300_000,
    CHUNK_BYTES - 1,
    CHUNK_BYTES,
    CHUNK_BYTES + 1,
    CHUNK_BYTES + 300_000,
    2 * CHUNK_BYTES,
    3 * CHUNK_BYTES + 77,
    5 * CHUNK_BYTES + 123_456,
    9 * CHUNK_BYTES,
)


@frozen
class Content:
    id: ContentId
    name: str
    data: bytes
    manifest: Manifest
    path: Path

    @property
    def size(self) -> int:
        return len(self.data)


@cache
def pool() -> tuple[Content, ...]:
    """One content of each size, on the disk."""
    directory = Path(tempfile.mkdtemp(prefix="napd-pool-"))
    made = []
    for number, size in enumerate(SIZES):
        data = Random(number).randbytes(size)
        path = directory / f"{number}.bin"
        path.write_bytes(data)
        manifest = manifest_of_bytes(data)
        made.append(Content(manifest.outline.content, f"file {number}.bin", data, manifest, path))
    return tuple(made)


@cache
def by_id() -> dict[ContentId, Content]:
    return {content.id: content for content in pool()}


def drop_pool() -> None:
    """Remove its files; at the end of a process."""
    if pool.cache_info().currsize:
        for content in pool():
            content.path.unlink(missing_ok=True)
        os.rmdir(pool()[0].path.parent)
        pool.cache_clear()
        by_id.cache_clear()


def key_of(name: str) -> Identity:
    return index_script.identity(f"simulation {name}")


def seed_of(*parts: object) -> int:
    """A seed that depends on all parts, and not on the interpreter's own chance."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")
