"""Names that downloads are saved under: the shared name exactly, but for what would do harm. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

#: What Linux file systems take in one name.
MAX_NAME_BYTES = 255


def saved_name(shared: str) -> str:
    """The shared name with control characters, slashes and leading dots made ``_``, cut to fit.

    The extension survives the cut. Surrogates (bytes that were not UTF-8) have become U+FFFD long before.
    """
    text = "".join("_" if c == "/" or unicodedata.category(c) in ("Cc", "Cs") else c for c in shared)
    dots = len(text) - len(text.lstrip("."))
    text = "_" * dots + text[dots:]
    return _fitted(text or "_", "")


def numbered(name: str) -> Iterator[str]:
    """``name.ext``, ``name (1).ext``, ``name (2).ext`` … for when a name is taken; each fits."""
    yield name
    for number in range(1, 100_000):
        candidate = _fitted(name, f" ({number})")
        # A name that had to be cut may have ended in this very number.
        if candidate != name:
            yield candidate


def _fitted(name: str, mark: str) -> str:
    """`name` with `mark` before its extension, cut at a character so that it has at most 255 bytes."""
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension.encode()) > 32:
        stem, dot, extension = name, "", ""
    tail = mark + dot + extension
    room = MAX_NAME_BYTES - len(tail.encode())
    return stem.encode()[:room].decode(errors="ignore") + tail
