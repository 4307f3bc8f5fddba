"""Manifests from strangers: what is a content's own is taken, and nothing else is."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napd.content.digest import (
    CHUNK_BYTES,
    DIGEST_BYTES,
    GROUP_CHUNKS,
    chunk_digest,
    content_id,
    group_chunks,
    group_count,
    group_digest,
)
from napd.content.manifest import Manifest, Outline, manifest_of
from napd.errors import IntegrityFailure
from napd.model import ContentId


def invented(chunks: int, last: int = 1) -> Manifest:
    """Of a content of so many chunks; what their bytes are does not matter."""
    size = (chunks - 1) * CHUNK_BYTES + last if chunks else 0
    return manifest_of(size, b"".join(number.to_bytes(DIGEST_BYTES, "little") for number in range(chunks)))


COUNTS = st.sampled_from([0, 1, 2, 1023, 1024, 1025, 2048, 2500])


@given(COUNTS, st.integers(1, CHUNK_BYTES))
def test_a_manifest_goes_piece_by_piece_to_somebody_who_knows_the_id_only(chunks: int, last: int) -> None:
    ours = invented(chunks, last)
    outline = Outline.verified(ours.outline.content, ours.outline.size, ours.outline.group_digests)
    theirs = Manifest(outline)
    groups = dict(ours.known_groups())
    assert len(groups) == outline.groups == group_count(outline.size)
    for group in reversed(groups):
        assert not theirs.has_group(group)
        theirs.add_group(group, groups[group])
    assert dict(theirs.known_groups()) == groups
    for chunk in range(0, chunks, 97):
        assert theirs.chunk_digest(chunk) == chunk.to_bytes(DIGEST_BYTES, "little")


def flipped(data: bytes, bit: int) -> bytes:
    place = bit % (len(data) * 8)
    changed = bytearray(data)
    changed[place >> 3] ^= 1 << (place & 7)
    return bytes(changed)


@given(COUNTS.filter(bool), st.integers(0, 1 << 32), st.sampled_from(["content", "size", "digests", "short", "long"]))
def test_an_outline_with_anything_wrong_is_refused(chunks: int, bit: int, what: str) -> None:
    outline = invented(chunks).outline
    content, size, digests = outline.content, outline.size, outline.group_digests
    if what == "content":
        content = ContentId(flipped(bytes.fromhex(content), bit).hex())
    elif what == "size":
        size ^= 1 << bit % 46
    elif what == "digests":
        digests = flipped(digests, bit)
    else:
        digests = digests[:-1] if what == "short" else digests + b"\0"
    with pytest.raises(IntegrityFailure):
        Outline.verified(content, size, digests)


@pytest.mark.parametrize("size", [-1, (1 << 46) + 1, 1 << 80])
def test_a_size_that_no_content_has_is_refused(size: int) -> None:
    with pytest.raises(IntegrityFailure):
        Outline.verified(ContentId("0" * 64), size, b"")


@given(COUNTS.filter(bool), st.integers(0, 1 << 32), st.sampled_from(["flipped", "short", "long", "empty", "swapped"]))
def test_a_group_with_anything_wrong_is_refused_and_not_kept(chunks: int, bit: int, what: str) -> None:
    ours = invented(chunks)
    group = bit % ours.outline.groups
    digests = ours.group(group)
    wrong = {
        "flipped": flipped(digests, bit),
        "short": digests[:-DIGEST_BYTES],
        "long": digests + bytes(DIGEST_BYTES),
        "empty": b"",
        "swapped": digests[DIGEST_BYTES:] + digests[:DIGEST_BYTES],
    }[what]
    theirs = Manifest(ours.outline)
    if wrong == digests:
        theirs.add_group(group, wrong)
        return
    with pytest.raises(IntegrityFailure):
        theirs.add_group(group, wrong)
    assert not theirs.has_group(group)


@pytest.mark.parametrize("group", [-1, 2])
def test_a_group_that_the_content_does_not_have_is_refused(group: int) -> None:
    ours = invented(GROUP_CHUNKS + 1)
    with pytest.raises(IntegrityFailure, match="has no group"):
        Manifest(ours.outline).add_group(group, ours.group(0))


def test_one_group_does_not_pass_for_another() -> None:
    ours = invented(2 * GROUP_CHUNKS)
    with pytest.raises(IntegrityFailure):
        Manifest(ours.outline).add_group(1, ours.group(0))


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=5))
def test_a_chunk_is_accepted_in_its_own_place_only(pieces: Sequence[bytes]) -> None:
    manifest = manifest_of(
        (len(pieces) - 1) * CHUNK_BYTES + len(pieces[-1]), b"".join(chunk_digest(piece) for piece in pieces)
    )
    for place, wanted in enumerate(pieces):
        for piece in pieces:
            assert manifest.accepts(place, memoryview(piece)) == (piece == wanted)


def test_the_empty_content_has_no_groups() -> None:
    empty = manifest_of(0, b"")
    assert empty.outline.content == content_id(0, [])
    assert (empty.outline.groups, empty.outline.chunks, list(empty.known_groups())) == (0, 0, [])
    Outline.verified(empty.outline.content, 0, b"")


def test_a_group_counts_its_own_chunks() -> None:
    size = (GROUP_CHUNKS + 1) * CHUNK_BYTES
    assert [group_chunks(size, group) for group in range(2)] == [GROUP_CHUNKS, 1]
    assert group_digest([bytes(DIGEST_BYTES)]) == group_digest(bytes(DIGEST_BYTES))
