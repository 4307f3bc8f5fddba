"""A content's manifest: its size and chunk digests, learnt from strangers and believed piece by piece.

The *outline* (size and group digests) is checked against the content id; each group's chunk digests
against the outline; each chunk against its digest. Nothing unverified is ever stored here.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field, frozen

from ..errors import IntegrityFailure
from ..model import ContentId
from .digest import (
    DIGEST_BYTES,
    GROUP_CHUNKS,
    MAX_CONTENT_BYTES,
    chunk_count,
    chunk_digest,
    content_id,
    group_chunks,
    group_count,
    group_digest,
)


@frozen
class Outline:
    """Size and group digests of a content, verified against its id."""

    content: ContentId
    size: int
    group_digests: bytes

    @classmethod
    def verified(cls, content: ContentId, size: int, group_digests: bytes) -> Outline:
        """:raises IntegrityFailure: if these are not the size and groups of `content`."""
        expected = group_count(size) * DIGEST_BYTES if 0 <= size <= MAX_CONTENT_BYTES else -1
        if len(group_digests) != expected or content_id(size, [group_digests]) != content:
            raise IntegrityFailure(f"the manifest offered for {content} does not belong to it")
        return cls(content, size, group_digests)

    @property
    def groups(self) -> int:
        return len(self.group_digests) // DIGEST_BYTES

    @property
    def chunks(self) -> int:
        return chunk_count(self.size)

    def group_digest(self, group: int) -> bytes:
        return self.group_digests[group * DIGEST_BYTES : (group + 1) * DIGEST_BYTES]


@define
class Manifest:
    """An outline and those groups of chunk digests that are known so far."""

    outline: Outline
    _groups: dict[int, bytes] = field(factory=dict)

    def add_group(self, group: int, chunk_digests: bytes) -> None:
        """:raises IntegrityFailure: if the digests are not this group's; nothing is kept then."""
        outline = self.outline
        if not 0 <= group < outline.groups:
            raise IntegrityFailure(f"{outline.content} has no group {group}")
        if len(chunk_digests) != group_chunks(outline.size, group) * DIGEST_BYTES or group_digest(
            chunk_digests
        ) != outline.group_digest(group):
            raise IntegrityFailure(f"group {group} offered for {outline.content} does not belong to it")
        self._groups[group] = chunk_digests

    def has_group(self, group: int) -> bool:
        return group in self._groups

    def group(self, group: int) -> bytes:
        return self._groups[group]

    def known_groups(self) -> Iterator[tuple[int, bytes]]:
        yield from self._groups.items()

    def chunk_digest(self, chunk: int) -> bytes:
        """The digest that this chunk must have; its group must be known."""
        group, place = divmod(chunk, GROUP_CHUNKS)
        return self._groups[group][place * DIGEST_BYTES : (place + 1) * DIGEST_BYTES]

    def accepts(self, chunk: int, data: bytes | memoryview) -> bool:
        """Whether these bytes are the chunk. Hashes: call it from a thread."""
        return chunk_digest(data) == self.chunk_digest(chunk)


def manifest_of(size: int, chunk_digests: bytes) -> Manifest:
    """The manifest of a file that was hashed here, from its chunk digests in order."""
    step = GROUP_CHUNKS * DIGEST_BYTES
    groups = {n: chunk_digests[at : at + step] for n, at in enumerate(range(0, len(chunk_digests), step))}
    digests = b"".join(group_digest(group) for group in groups.values())
    return Manifest(Outline(content_id(size, [digests]), size, digests), groups)
