"""How long a recording is and how much of it goes by in a second, or how large a picture is: from headers. For threads.

A file comes from anywhere, so what is done for it is bounded: `MAX_READ_BYTES` in `MAX_READS` pieces, and ID3
tags are gone round (a compressed one may unfold to gigabytes).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

import msgspec
from attrs import frozen
from imagesize import get_info
from mutagen import File
from mutagen.aac import AACInfo
from mutagen.ac3 import AC3Info
from mutagen.aiff import AIFFInfo
from mutagen.asf import ASF
from mutagen.flac import FLAC
from mutagen.monkeysaudio import MonkeysAudioInfo
from mutagen.mp3 import MPEGInfo
from mutagen.mp4 import MP4
from mutagen.musepack import MusepackInfo
from mutagen.oggflac import OggFLAC
from mutagen.oggopus import OggOpus
from mutagen.oggspeex import OggSpeex
from mutagen.oggtheora import OggTheora
from mutagen.oggvorbis import OggVorbis
from mutagen.wave import WaveStreamInfo
from mutagen.wavpack import WavPackInfo

from ...wire.catalogue import Media
from ...wire.kinds import extension, kind_of

#: Wider or higher than any picture.
MAX_PIXELS = 1_000_000
#: A FLAC file's pictures are read over, and have at most 16 MiB each; a search for the first frame takes 1 MiB.
MAX_READ_BYTES = 32 << 20
#: Some 0.2 s of Python at most.
MAX_READS = 100_000
#: Longer than any recording, and more than any has in a second: what is beyond is no information.
MAX_DURATION_S = 10_000_000.0
MAX_BITRATE_KBPS = 1_000_000

_encode = msgspec.json.Encoder().encode


@frozen
class Told:
    """What a file's headers say.

    :ivar media: JSON of a `wire.catalogue.Media`, empty if they say nothing.
    :ivar trouble: why they could not be understood.
    """

    media: bytes
    trouble: str | None = None


class Excessive(Exception):
    """More was to be read than any sound file needs."""


class Bounded:
    """An open file as mutagen reads it, by its own position and within bounds."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self._size = size
        self._at = 0
        self._bytes = MAX_READ_BYTES
        self._reads = MAX_READS

    def read(self, length: int | None = -1) -> bytes:
        left = max(0, self._size - self._at)
        wanted = left if length is None or length < 0 else min(length, left)
        self._bytes -= wanted
        self._reads -= 1
        if self._bytes < 0 or self._reads < 0:
            raise Excessive("its headers lead through too much of it")
        data = os.pread(self._descriptor, wanted, self._at)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if at < 0:
            raise OSError("a place before the file's beginning")
        self._at = at
        return at

    def tell(self) -> int:
        return self._at


def read_media(descriptor: int, path: bytes, size: int) -> Told | None:
    """What the headers of this open file say; None if its name is not that of a recording or picture that can be read.

    Raises nothing: whatever is wrong with the file is `trouble`.
    """
    name = path.rpartition(b"/")[2].decode(errors="replace")
    look = _LOOKS.get(extension(name))
    is_picture = extension(name) in _PICTURES
    if (look is None and not is_picture) or size == 0:
        return None
    file = Bounded(descriptor, size)
    try:
        media = _pictured(file) if look is None else _described(look(file), size, whole=kind_of(name) == "video")
    except Exception as error:
        # Of a broken file the libraries raise errors of their own, and now and then whatever the bytes led to.
        return Told(_encode(Media()), str(error) or type(error).__name__)
    return Told(_encode(media))


def _described(found: Any, size: int, *, whole: bool) -> Media:
    """:param whole: the rate is that of the whole file: of a film, headers tell that of its sound."""
    duration_s = float(getattr(found, "length", None) or 0)
    if not isfinite(duration_s) or not 0.0005 <= duration_s <= MAX_DURATION_S:
        duration_s = 0.0
    bits_per_s = 0.0 if whole else float(getattr(found, "bitrate", None) or 0)
    if not bits_per_s and duration_s:
        bits_per_s = size * 8 / duration_s
    bitrate_kbps = round(bits_per_s / 1000) if isfinite(bits_per_s) else 0
    # As the entry's digest has them: milliseconds, and whole kilobits.
    return Media(
        duration_s=round(duration_s, 3) or None,
        bitrate_kbps=bitrate_kbps if 0 < bitrate_kbps <= MAX_BITRATE_KBPS else None,
    )


def _pictured(file: Bounded) -> Media:
    """As it is shown: one that lies on its side is turned."""
    found = get_info(file, dpi=False, colors=False, channels=False)
    if not (0 < found.width <= MAX_PIXELS and 0 < found.height <= MAX_PIXELS):
        raise ValueError("no width and height that a picture has")
    return Media(width=found.width, height=found.height)


def _mpeg(file: Bounded) -> Any:
    found = MPEGInfo(file)
    if found.sketchy:
        raise ValueError("no frames that follow one another")
    return found


def _mp4(file: Bounded) -> Any:
    return MP4(file).info


def _ogg(file: Bounded) -> Any:
    found = File(file, options=[OggFLAC, OggOpus, OggSpeex, OggTheora, OggVorbis])
    if found is None:
        raise ValueError("no Ogg stream that is known")
    return found.info


def _flac(file: Bounded) -> Any:
    return FLAC(file).info


def _asf(file: Bounded) -> Any:
    return ASF(file).info


#: By extension: takes the file, returns an object with `length` in seconds and, mostly, `bitrate` in bits per second.
_LOOKS: Mapping[str, Callable[[Bounded], Any]] = {
    extension: look
    for extensions, look in (
        ("mp1 mp2 mp3", _mpeg),
        ("wav", WaveStreamInfo),
        ("aif aiff", AIFFInfo),
        ("aac", AACInfo),
        ("ac3", AC3Info),
        ("flac", _flac),
        ("ape", MonkeysAudioInfo),
        ("mpc", MusepackInfo),
        ("wv", WavPackInfo),
        ("oga ogg ogm ogv opus spx", _ogg),
        ("asf wma wmv", _asf),
        ("3g2 3gp f4v m4a m4b m4p m4v mov mp4 qt", _mp4),
    )
    for extension in extensions.split()
}


#: Pictures, by extension; not SVG, which is a program of a kind.
_PICTURES = frozenset(
    ["avif", "bmp", "gif", "heic", "heif", "jp2", "jpeg", "jpg", "pbm", "pgm", "png", "ppm", "tif", "tiff", "webp"]
)


def is_told_of(name: bytes) -> bool:
    """Whether a file with this name is looked into."""
    ext = extension(name.decode(errors="replace"))
    return ext in _LOOKS or ext in _PICTURES
