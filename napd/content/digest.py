"""Chunk digest, group digest and content id: the definition (docs/reference/content-id.md).

A *chunk* is 2**20 bytes, the last one shorter. A *group* is up to 1,024 consecutive chunks, so one
group's chunk digests fit in 32 KiB. The *content id* covers the size and all group digests, hence
every byte; a manifest from a stranger is checked top-down against it in pieces of 32 KiB.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from blake3 import blake3

from ..model import ContentId

#: Bytes in a chunk: the unit of request and verification.
CHUNK_BYTES = 1 << 20
#: Chunks in a group.
GROUP_CHUNKS = 1024
#: Bytes of one digest.
DIGEST_BYTES = 32
#: The largest content: 64 TiB, so that the list of group digests stays within 2 MiB.
MAX_CONTENT_BYTES = 1 << 46

_GROUP_CONTEXT = "napd group v1"
_CONTENT_CONTEXT = "napd content v1"

_CONTENT_ID = re.compile(r"[0-9a-f]{64}")


def is_content_id(text: str) -> bool:
    return _CONTENT_ID.fullmatch(text) is not None


def chunk_digest(chunk: bytes | bytearray | memoryview) -> bytes:
    """BLAKE3 of the chunk's bytes. Lets go of the GIL: call it from a thread."""
    return blake3(chunk).digest()


def group_digest(chunk_digests: Sequence[bytes] | bytes) -> bytes:
    """Digest of one group, from its chunk digests in order (a sequence, or already joined)."""
    joined = chunk_digests if isinstance(chunk_digests, bytes) else b"".join(chunk_digests)
    if not 0 < len(joined) <= GROUP_CHUNKS * DIGEST_BYTES or len(joined) % DIGEST_BYTES:
        raise ValueError(f"a group has 1 to {GROUP_CHUNKS} digests, not {len(joined)} bytes")
    return blake3(joined, derive_key_context=_GROUP_CONTEXT).digest()


def content_id(size: int, group_digests: Iterable[bytes]) -> ContentId:
    """The content's name, from its size and its group digests in order."""
    if not 0 <= size <= MAX_CONTENT_BYTES:
        raise ValueError(f"a content has 0 to {MAX_CONTENT_BYTES} bytes, not {size}")
    hasher = blake3(derive_key_context=_CONTENT_CONTEXT)
    hasher.update(size.to_bytes(8, "little"))
    hasher.update(CHUNK_BYTES.to_bytes(4, "little"))
    for digest in group_digests:
        hasher.update(digest)
    return ContentId(hasher.hexdigest())


def chunk_count(size: int) -> int:
    return -(-size // CHUNK_BYTES)


def group_count(size: int) -> int:
    return -(-chunk_count(size) // GROUP_CHUNKS)


def chunk_bytes(size: int, chunk: int) -> int:
    """How many bytes the chunk with this number has, in a content of this size."""
    return min(CHUNK_BYTES, size - chunk * CHUNK_BYTES)


def group_chunks(size: int, group: int) -> int:
    """How many chunks the group with this number has, in a content of this size."""
    return min(GROUP_CHUNKS, chunk_count(size) - group * GROUP_CHUNKS)
