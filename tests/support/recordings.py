"""Small recordings and pictures, made here: real headers, silence or nothing behind them."""

from __future__ import annotations

import io
import struct
import wave
import zlib

#: Bits per second by index, of MPEG 1 layer 3; and the samples of one of its frames.
_MP3_KBPS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MP3_SAMPLES = 1152
_RATE_HZ = 44_100


def mp3(seconds: float, kbps: int, *, tag: bytes = b"") -> bytes:
    """Constant bit rate, joint frames of zeros; `tag`: an ID3v2 tag's body in front."""
    frame = struct.pack(">I", 0xFFFB0000 | _MP3_KBPS.index(kbps) << 12)
    frame = frame.ljust(144 * kbps * 1000 // _RATE_HZ, b"\0")
    body = frame * round(seconds * _RATE_HZ / _MP3_SAMPLES)
    return (id3(tag) if tag else b"") + body


def id3(body: bytes, size: int | None = None) -> bytes:
    """:param size: what the header says, if that is not so."""
    size = len(body) if size is None else size
    sevens = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\0\0" + sevens + body


def wav(seconds: float, rate_hz: int = 8000) -> bytes:
    """One channel of 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate_hz)
        writer.writeframes(bytes(2 * round(seconds * rate_hz)))
    return file.getvalue()


def flac(seconds: float, size: int) -> bytes:
    """A stream that says it is so long, in a file of about this size."""
    samples = round(seconds * _RATE_HZ)
    info = struct.pack(">HH3s3s", 4096, 4096, bytes(3), bytes(3))
    info += (_RATE_HZ << 44 | 1 << 41 | 15 << 36 | samples).to_bytes(8, "big") + bytes(16)
    return b"fLaC\x80" + len(info).to_bytes(3, "big") + info + bytes(size)


def mp4(seconds: float, size: int) -> bytes:
    """A film's container with one sound track, and about so many bytes of data."""
    moved = struct.pack(">IIIII", 0, 0, 0, 1000, round(seconds * 1000))
    handler = _atom(b"hdlr", bytes(8) + b"soun" + bytes(13))
    media = _atom(b"mdia", _atom(b"mdhd", moved + bytes(4)) + handler)
    return (
        _atom(b"ftyp", b"isom\0\0\0\0")
        + _atom(b"moov", _atom(b"mvhd", moved) + _atom(b"trak", media))
        + _atom(b"mdat", bytes(size))
    )


def _atom(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + name + body


def png(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + bytes(3)


def jpeg(width: int, height: int) -> bytes:
    """A start of frame behind a comment."""
    frame = struct.pack(">BHHB", 8, height, width, 1) + bytes((1, 0x11, 0))
    return b"\xff\xd8\xff\xfe\0\x06hey!\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + b"\xff\xd9"
