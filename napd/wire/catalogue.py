"""What a peer tells the index about its shared files, and the digest that keeps both in step.

A catalogue is a *set* of entries. Its digest is the sum modulo 2**256 of the entries' digests: free of
order, and updated in time proportional to the change. Two sides with the same digest hold the same set.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct as Layout
from typing import Annotated

from blake3 import blake3
from msgspec import Meta, Struct, field

from ..model import EVERYONE
from .line import Hex64

_BEGUN = blake3(derive_key_context="napd entry v1")
_pack_head = Layout("<I32sIQI").pack
_pack_length = Layout("<I").pack
_MODULUS = 1 << 256

#: Longest file name in characters: 255 bytes that are not UTF-8 become as many U+FFFD.
FileName = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"\A[^/\x00]+\Z")]
#: Share name and directories below it, joined with "/". Longer paths are not shared.
Folder = Annotated[str, Meta(min_length=1, max_length=2048, pattern=r"\A[^\x00]+\Z")]
#: `everyone`, a group, or `@ACCOUNT`.
AudienceMember = Annotated[str, Meta(min_length=1, max_length=64)]


# Entries are many, and there are no cycles in them: the collector of garbage need not look at any (`gc=False`).
class Media(Struct, frozen=True, omit_defaults=True, gc=False):
    """What is known of a recording or picture; an absent field is not known."""

    duration_s: Annotated[float, Meta(ge=0, le=1e9)] | None = None
    bitrate_kbps: Annotated[int, Meta(ge=0, le=10**7)] | None = None
    width: Annotated[int, Meta(ge=0, le=10**6)] | None = None
    height: Annotated[int, Meta(ge=0, le=10**6)] | None = None


class Entry(Struct, frozen=True, omit_defaults=True, gc=False):
    """One shared file as others see it.

    ::

        {"content":"0f3a…","size":5242880,"folder":"Music/Album","name":"song.mp3"}
    """

    content: Hex64
    size: Annotated[int, Meta(ge=0, le=1 << 46)]
    folder: Folder
    name: FileName
    audience: Annotated[tuple[AudienceMember, ...], Meta(min_length=1, max_length=32)] = (EVERYONE,)
    media: Media = field(default_factory=Media)


def entry_digest(entry: Entry) -> bytes:
    """32 bytes over every field, each preceded by its length as u32 little-endian.

    Fields in order: content (32 raw bytes), size (8 bytes little-endian), folder and name (UTF-8),
    each audience member sorted and joined by NUL, and each media field as decimal text (the
    duration with three decimals), empty if absent.
    """
    media = entry.media
    return digest_of(
        bytes.fromhex(entry.content), entry.size, entry.folder, entry.name, entry.audience,
        media.duration_s, media.bitrate_kbps, media.width, media.height,
    )  # fmt: skip


def digest_of(
    content: bytes,
    size: int,
    folder: str,
    name: str,
    audience: Sequence[str],
    duration_s: float | None,
    bitrate_kbps: int | None,
    width: int | None,
    height: int | None,
) -> bytes:
    """The same from the fields. Written out: an index does this for everything that it is told."""
    place = folder.encode()
    called = name.encode()
    hasher = _BEGUN.copy()
    hasher.update(
        b"".join(
            (
                _pack_head(32, content, 8, size, len(place)),
                place,
                _pack_length(len(called)),
                called,
                _EVERYBODY if audience == _PUBLIC else _field("\0".join(sorted(audience)).encode()),
                _ABSENT if duration_s is None else _field(b"%.3f" % duration_s),
                _ABSENT if bitrate_kbps is None else _field(b"%d" % bitrate_kbps),
                _ABSENT if width is None else _field(b"%d" % width),
                _ABSENT if height is None else _field(b"%d" % height),
            )
        )
    )
    return hasher.digest()


def _field(value: bytes) -> bytes:
    return _pack_length(len(value)) + value


_PUBLIC = (EVERYONE,)
_EVERYBODY = _field(EVERYONE.encode())
_ABSENT = _field(b"")


class CatalogueDigest:
    """The running digest of a set of entries, from their `entry_digest`s."""

    __slots__ = ("_sum",)

    def __init__(self, digest: str = "0" * 64) -> None:
        self._sum = int(digest, 16)

    def add(self, digest: bytes) -> None:
        self._sum = (self._sum + int.from_bytes(digest, "little")) % _MODULUS

    def remove(self, digest: bytes) -> None:
        self._sum = (self._sum - int.from_bytes(digest, "little")) % _MODULUS

    def add_all(self, digests: Iterable[bytes]) -> None:
        self._sum = (self._sum + _sum_of(digests)) % _MODULUS

    def remove_all(self, digests: Iterable[bytes]) -> None:
        self._sum = (self._sum - _sum_of(digests)) % _MODULUS

    def hex(self) -> str:
        return f"{self._sum:064x}"


def _sum_of(digests: Iterable[bytes]) -> int:
    return sum(int.from_bytes(digest, "little") for digest in digests)


def catalogue_digest(entries: Iterable[Entry]) -> str:
    """Digest of a whole catalogue as 64 hex digits; of an empty one, 64 zeros."""
    total = CatalogueDigest()
    for entry in entries:
        total.add(entry_digest(entry))
    return total.hex()
