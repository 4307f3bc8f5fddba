"""What a peer tells the index about its shared files, and the digest that keeps both in step.

A catalogue is a *set* of entries. Its digest is the sum modulo 2**256 of the entries' digests: free of
order, and updated in time proportional to the change. Two sides with the same digest hold the same set.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

from blake3 import blake3
from msgspec import Meta, Struct, field

from ..model import EVERYONE
from .line import Hex64

_ENTRY_CONTEXT = "napd entry v1"
_MODULUS = 1 << 256

#: Longest file name in characters: 255 bytes that are not UTF-8 become as many U+FFFD.
FileName = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"\A[^/\x00]+\Z")]
#: Share name and directories below it, joined with "/". Longer paths are not shared.
Folder = Annotated[str, Meta(min_length=1, max_length=2048, pattern=r"\A[^\x00]+\Z")]
#: `everyone`, a group, or `@ACCOUNT`.
AudienceMember = Annotated[str, Meta(min_length=1, max_length=64)]


class Media(Struct, frozen=True, omit_defaults=True):
    """What is known of a recording or picture; an absent field is not known."""

    duration_s: Annotated[float, Meta(ge=0, le=1e9)] | None = None
    bitrate_kbps: Annotated[int, Meta(ge=0, le=10**7)] | None = None
    width: Annotated[int, Meta(ge=0, le=10**6)] | None = None
    height: Annotated[int, Meta(ge=0, le=10**6)] | None = None


class Entry(Struct, frozen=True, omit_defaults=True):
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
    fields: Sequence[bytes] = (
        bytes.fromhex(entry.content),
        entry.size.to_bytes(8, "little"),
        entry.folder.encode(),
        entry.name.encode(),
        "\0".join(sorted(entry.audience)).encode(),
        b"" if media.duration_s is None else f"{media.duration_s:.3f}".encode(),
        _decimal(media.bitrate_kbps),
        _decimal(media.width),
        _decimal(media.height),
    )
    hasher = blake3(derive_key_context=_ENTRY_CONTEXT)
    for value in fields:
        hasher.update(len(value).to_bytes(4, "little"))
        hasher.update(value)
    return hasher.digest()


def _decimal(value: int | None) -> bytes:
    return b"" if value is None else str(value).encode()


class CatalogueDigest:
    """The running digest of a set of entries, from their `entry_digest`s."""

    __slots__ = ("_sum",)

    def __init__(self, digest: str = "0" * 64) -> None:
        self._sum = int(digest, 16)

    def add(self, digest: bytes) -> None:
        self._sum = (self._sum + int.from_bytes(digest, "little")) % _MODULUS

    def remove(self, digest: bytes) -> None:
        self._sum = (self._sum - int.from_bytes(digest, "little")) % _MODULUS

    def hex(self) -> str:
        return f"{self._sum:064x}"


def catalogue_digest(entries: Iterable[Entry]) -> str:
    """Digest of a whole catalogue as 64 hex digits; of an empty one, 64 zeros."""
    total = CatalogueDigest()
    for entry in entries:
        total.add(entry_digest(entry))
    return total.hex()
