"""Sizes as people write them."""

from __future__ import annotations

import re

from .errors import Misuse, printable

#: Numbers in the protocols are exact up to here.
MAX_BYTES = 2**53 - 1

_SIZE = re.compile(r"\s*([0-9]*)(?:\.([0-9]+))?\s*(?:([kmgtpe])(i?))?(b?)\s*", re.IGNORECASE)
_POWERS = {letter: power for power, letter in enumerate("kmgtpe", start=1)}


def parse_size(text: str) -> int:
    """Bytes: `10M` and `1.5G` count in powers of 1000, `10MiB` in powers of 1024.

    :raises Misuse: for anything else.
    """
    match = _SIZE.fullmatch(text)
    if match is None or not (match[1] or match[2]):
        raise Misuse(f"{printable(text, 40)!r} is no size", "Write it as 10M, 1.5G (powers of 1000) or 10MiB")
    whole, fraction, unit, binary, _ = match.groups()
    fraction = fraction or ""
    power = _POWERS[unit.lower()] if unit else 0
    factor: int = (1024 if binary else 1000) ** power
    size: int = int((whole or "0") + fraction) * factor // 10 ** len(fraction)
    if size > MAX_BYTES:
        raise Misuse(f"{printable(text, 40)!r} is more than any file has", "At most 9 PB")
    return size
