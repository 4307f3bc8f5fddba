"""Transcripts of the peer protocol (docs/reference/transcripts/): read, and played to one real end of a link.

Each line of a transcript is one of::

    # a remark
    -- a stage direction: something happens outside of the protocol
    F: {"t":"ping","n":0}        the fetching end says a line
    S: {"t":"pong","n":0}        the serving end says a line
    S: raw 68656c6c6f            … or raw bytes, in hexadecimal
    S: raw 00 x 1048576          … or one byte, so many times
"""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from tests.support.processes import ROOT

DIRECTORY = ROOT / "docs" / "reference" / "transcripts"


@frozen
class Part:
    """`who` is F, S, or "--" for a stage direction, whose `text` it is."""

    who: str
    text: str
    data: bytes = b""


def read(name: str, directory: Path = DIRECTORY) -> list[Part]:
    parts = []
    for line in (directory / name).read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        who, _, text = line.partition(" ")
        if who == "--":
            parts.append(Part(who, text))
            continue
        if who not in ("F:", "S:"):
            raise ValueError(f"{name}: what is this: {line!r}")
        parts.append(Part(who[0], text, _bytes(text)))
    return parts


def _bytes(text: str) -> bytes:
    if not text.startswith("raw "):
        return text.encode() + b"\n"
    value, times, count = text.removeprefix("raw ").partition(" x ")
    return bytes.fromhex(value) * int(count) if times else bytes.fromhex(value)


def said_by(parts: list[Part], who: str) -> bytes:
    return b"".join(part.data for part in parts if part.who == who)
