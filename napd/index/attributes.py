"""What is asked of a file besides its words: extension, type, size, bitrate; and whether any file can have it all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from attrs import evolve, frozen

from ..content.digest import MAX_CONTENT_BYTES
from ..wire.catalogue import Media
from ..wire.index import FileKind
from ..wire.kinds import extension, kind_of

V = TypeVar("V")


@frozen
class Attributes:
    """The default asks for nothing. Bounds are inclusive; a bitrate that is not known is 0.

    :param ext: the name ends in one of these, in lower case and without the first dot; None: in anything.
    :param kinds: the type is one of these; likewise.
    :param barred_ext: and `barred_kinds`: none of these.
    """

    ext: tuple[str, ...] | None = None
    kinds: tuple[FileKind, ...] | None = None
    min_size: int = 0
    max_size: int = MAX_CONTENT_BYTES
    min_bitrate: int = 0
    max_bitrate: int | None = None
    barred_ext: tuple[str, ...] = ()
    barred_kinds: tuple[FileKind, ...] = ()

    def anything(self) -> bool:
        return self is not ANY and self != ANY

    def sized(self) -> bool:
        """Whether a size is asked for."""
        return self.min_size > 0 or self.max_size < MAX_CONTENT_BYTES

    def wants(self) -> bool:
        """Whether it asks for something, and does not only say what to leave out."""
        return evolve(self, barred_ext=(), barred_kinds=()).anything()

    def met_by(self, name: str, size: int, media: Media | None) -> bool:
        if self is ANY:
            return True
        if self.ext is not None and not _has_one(name, self.ext):
            return False
        if self.barred_ext and _has_one(name, self.barred_ext):
            return False
        if self.kinds is not None or self.barred_kinds:
            kind = kind_of(name)
            if kind in self.barred_kinds or not (self.kinds is None or kind in self.kinds):
                return False
        if not self.min_size <= size <= self.max_size:
            return False
        bitrate = 0 if media is None or media.bitrate_kbps is None else media.bitrate_kbps
        if self.max_bitrate is not None and not 0 < bitrate <= self.max_bitrate:
            return False
        return bitrate >= self.min_bitrate

    def and_also(self, other: Attributes) -> Attributes:
        """What meets both."""
        if self is ANY or other is ANY:
            return other if self is ANY else self
        return Attributes(
            ext=_common(self.ext, other.ext, _longer),
            kinds=_common(self.kinds, other.kinds, lambda one, another: one if one == another else None),
            min_size=max(self.min_size, other.min_size),
            max_size=min(self.max_size, other.max_size),
            min_bitrate=max(self.min_bitrate, other.min_bitrate),
            max_bitrate=min((b for b in (self.max_bitrate, other.max_bitrate) if b is not None), default=None),
            barred_ext=tuple(sorted({*self.barred_ext, *other.barred_ext})),
            barred_kinds=tuple(sorted({*self.barred_kinds, *other.barred_kinds})),
        )

    def contradiction(self) -> str | None:
        """Why no file can have all that; None if one can."""
        if self.ext == ():
            return "no file has both extensions"
        if self.kinds == ():
            return "no file is of two types"
        if self.ext is not None and all(_barred(ext, self.barred_ext) for ext in self.ext):
            return f"{_dotted(self.ext)} is both wanted and left out"
        if self.kinds is not None and all(kind in self.barred_kinds for kind in self.kinds):
            return f"{' and '.join(self.kinds)} is both wanted and left out"
        if self.ext is not None and not any(self._of_kind(ext) for ext in self.ext):
            return f"no {_dotted(self.ext)} file is of a type that is wanted"
        if self.min_size > MAX_CONTENT_BYTES:
            return f"no file is larger than {MAX_CONTENT_BYTES} bytes"
        if self.max_size < 0:
            return "no file is smaller than 0 bytes"
        if self.min_size > self.max_size:
            return f"no size is at least {self.min_size} and at most {self.max_size} bytes"
        if self.max_bitrate is not None and max(1, self.min_bitrate) > self.max_bitrate:
            return f"no bitrate is at least {max(1, self.min_bitrate)} and at most {self.max_bitrate} kbit/s"
        return None

    def _of_kind(self, ext: str) -> bool:
        kind = kind_of(f"name.{ext}")
        return kind not in self.barred_kinds and (self.kinds is None or kind in self.kinds)


ANY = Attributes()


def _common(
    some: tuple[V, ...] | None, others: tuple[V, ...] | None, both: Callable[[V, V], V | None]
) -> tuple[V, ...] | None:
    """What is in both; None is everything."""
    if some is None or others is None:
        return others if some is None else some
    found = (both(one, another) for one in some for another in others)
    return tuple(dict.fromkeys(value for value in found if value is not None))


def _longer(one: str, another: str) -> str | None:
    """The extension that ends in both: `tar.gz` of it and `gz`."""
    if _barred(one, (another,)):
        return one
    return another if _barred(another, (one,)) else None


def _has_one(name: str, ext: tuple[str, ...]) -> bool:
    """Whether a file name ends in one of these; ``.profile`` has no extension at all."""
    return name.lower().endswith(_endings(ext)) and extension(name) != ""


def _barred(ext: str, barred: tuple[str, ...]) -> bool:
    return f".{ext}".endswith(_endings(barred))


def _endings(ext: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f".{one}" for one in ext)


def _dotted(ext: tuple[str, ...]) -> str:
    return " or ".join(_endings(ext[:3]))
