"""Text for a terminal: safe, measured in columns, and numbers as people read them. Pure."""

from __future__ import annotations

import unicodedata
from datetime import datetime

#: Invisible, but parts of words and emoji in many scripts: shown as they are.
_JOINERS = frozenset("\u200c\u200d")
#: Categories that could steer a terminal or hide what a name really is: controls, format (bidirectional
#: overrides among them), surrogates, line and paragraph separators.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_SIZE_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def visible(text: str) -> str:
    """Text from outside with everything that a terminal might obey written out (`\\x1b`, `\\n`, `\\u202e`).

    Bytes that were not UTF-8, as Python's arguments carry them, come out as `\\xff`.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if unicodedata.category(c) not in _UNSAFE or c in _JOINERS else _escaped(c) for c in text)


def _escaped(char: str) -> str:
    if 0xDC80 <= ord(char) <= 0xDCFF:
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")


def char_width(char: str) -> int:
    """Columns that a terminal gives this character."""
    if char.isascii():
        return 1
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def width(text: str) -> int:
    """Columns of a text that is `visible`."""
    return len(text) if text.isascii() else sum(map(char_width, text))


def cut(text: str, columns: int) -> str:
    """The text in at most so many columns; the middle goes first, so that a file's extension stays."""
    if width(text) <= columns:
        return text
    if columns <= 1:
        return "…"[:columns]
    tail = _take(text[::-1], (columns - 1) // 3)[::-1]
    head = _take(text, columns - 1 - width(tail))
    return f"{head}…{tail}"


def _take(text: str, columns: int) -> str:
    used = 0
    for position, char in enumerate(text):
        used += char_width(char)
        if used > columns:
            return text[:position]
    return text


def pad(text: str, columns: int, *, right: bool = False) -> str:
    room = " " * (columns - width(text))
    return room + text if right else text + room


def size_text(size: float | None) -> str:
    """`64.2 MB`: powers of 1000, three digits or so."""
    if size is None:
        return "?"
    if size < 1000:
        return f"{size:.0f} B"
    for unit in _SIZE_UNITS[1:]:
        size /= 1000
        if size < 99.95:
            return f"{size:.1f} {unit}"
        if size < 999.5:
            return f"{size:.0f} {unit}"
    return f"{size:.0f} {_SIZE_UNITS[-1]}"


def rate_text(bytes_per_s: float) -> str:
    return f"{size_text(bytes_per_s)}/s" if bytes_per_s >= 1 else "-"


def percent_text(done: int, size: int | None) -> str:
    """Rounded down: 100 % is said only when nothing is missing."""
    if size is None:
        return "?"
    return f"{done * 100 // size if size else 100}%"


def clock_text(seconds: float | None) -> str:
    """A remaining time: `0:03`, `12:04`, `3:04:05`, `4 d`."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole >= 2 * 86400:
        return f"{whole // 86400} d"
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def span_text(seconds: float) -> str:
    """A duration in its two largest units: `12 s`, `5 min`, `2 h 10 min`, `4 d 3 h`."""
    whole = max(0, int(seconds))
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min" if minutes else f"{whole} s"


def moment(rfc3339: str) -> float:
    """Seconds since 1970. :raises ValueError: for what is no RFC 3339 time."""
    return datetime.fromisoformat(rfc3339).timestamp()


def age_text(rfc3339: str | None, now: float) -> str:
    """How long ago that was; a time that cannot be read is shown as it is."""
    if rfc3339 is None:
        return "-"
    try:
        return span_text(now - moment(rfc3339))
    except ValueError:
        return visible(rfc3339)


def count_text(number: int, one: str, many: str | None = None) -> str:
    """`1 file`, `1,204 files`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
