"""Words of names and queries: one way to fold and cut text, so that what is typed finds what is shared.

*Folding*: compatibility forms made plain (NFKD), case folded, accents taken off. An accent is a combining mark of
Latin, Greek, Cyrillic, Hebrew or Arabic; marks that make another letter stay: those of kana, of Indic and South-East
Asian scripts, and the breve of Cyrillic й.

*Cutting*: letters, digits and marks in a row are a word. Scripts written without spaces are cut into characters and
pairs of characters. A symbol (an emoji) is a word by itself. Everything else separates.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import Enum, auto
from functools import lru_cache
from itertools import groupby
from unicodedata import category, normalize

from attrs import frozen

#: A longer word is cut, in names and queries alike.
MAX_WORD = 64
#: Characters of a folder's name that count; a file system's own limit.
MAX_FOLDER_NAME = 255
#: Separates the folders and the file name in a searchable text, so that no phrase reaches across.
BOUNDARY = "|"

_ASCII_WORDS = re.compile("[a-z0-9]+")
_ACCENTS = re.compile(
    "(?<!и)\u0306|[\u0300-\u0305\u0307-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc"
    # Not to be seen at all: soft hyphen, joiners, variation selectors.
    "\u00ad\u200c\u200d\u2060\ufe00-\ufe0f]"
)
#: Letters that people type without their stroke, and that NFKD leaves whole.
_STROKES = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ŧ": "t", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"})
#: Han, kana, bopomofo and Hangul, by code point.
_UNSPACED = (
    (0x1100, 0x11FF),
    (0x3005, 0x3007),
    (0x3041, 0x309F),
    (0x30A1, 0x30FA),
    (0x30FC, 0x312F),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A3),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)


class Script(Enum):
    """How a run of characters is cut."""

    SPACED = auto()
    UNSPACED = auto()
    SYMBOL = auto()
    GAP = auto()


@frozen
class Run:
    """Characters in a row that are cut alike; a spaced one is a word."""

    text: str
    script: Script

    def terms(self) -> Sequence[str]:
        """What to look up for it: all of them together make the run (but for longer unspaced ones, near enough)."""
        if self.script is Script.UNSPACED and len(self.text) > 1:
            return [self.text[at : at + 2] for at in range(len(self.text) - 1)]
        return [self.text]


def fold(text: str) -> str:
    if text.isascii():
        return text.lower()
    plain = _ACCENTS.sub("", normalize("NFKD", text).casefold()).translate(_STROKES)
    # Hangul, kana and й become one character again.
    return normalize("NFC", plain)


def runs(folded: str) -> Sequence[Run]:
    """The runs of a folded text, in order."""
    if folded.isascii():
        return [Run(word[:MAX_WORD], Script.SPACED) for word in _ASCII_WORDS.findall(folded)]
    found: list[Run] = []
    for script, characters in groupby(folded, _script):
        if script is Script.SYMBOL:
            found += [Run(symbol, script) for symbol in characters]
        elif script is Script.UNSPACED:
            found.append(Run("".join(characters), script))
        elif script is Script.SPACED:
            found.append(Run("".join(characters)[:MAX_WORD], script))
    return found


@lru_cache(maxsize=20_000)
def _script(character: str) -> Script:
    point = ord(character)
    if any(first <= point <= last for first, last in _UNSPACED):
        return Script.UNSPACED
    kind = category(character)
    if kind[0] in "LNM":
        return Script.SPACED
    # U+FFFD stands for bytes that are no text.
    return Script.SYMBOL if kind == "So" and point != 0xFFFD else Script.GAP


def joined(found: Iterable[Run]) -> str:
    return " ".join(run.text for run in found)


@frozen
class Searchable:
    """What a file is found by: its own name and the names of the two folders nearest to it.

    :param text: the runs of each name in order, blanks between them and at both ends, the file's own name last.
    :param terms: what to look it up by.
    :param words: how many runs the file's own name is of.
    """

    text: str
    terms: frozenset[str]
    words: int


def searchable(folder: str, name: str) -> Searchable:
    names = [runs(fold(part)) for part in (*_nearest(folder), name)]
    terms: set[str] = set()
    for run in (run for found in names for run in found):
        terms.update(run.terms())
        if run.script is Script.UNSPACED:
            terms.update(run.text)
    text = f" {BOUNDARY} ".join(joined(found) for found in names)
    return Searchable(f" {text} ", frozenset(terms), len(names[-1]))


def searchable_text(folder: str, name: str) -> str:
    """`Searchable.text` alone, faster."""
    return f" {_folders_text(folder)}{_joined_runs(name)} "


@lru_cache(maxsize=10_000)
def _folders_text(folder: str) -> str:
    return "".join(f"{_joined_runs(part)} {BOUNDARY} " for part in _nearest(folder))


def _joined_runs(text: str) -> str:
    if text.isascii():
        return " ".join([word[:MAX_WORD] for word in _ASCII_WORDS.findall(text.lower())])
    return joined(runs(fold(text)))


def _nearest(folder: str) -> Sequence[str]:
    return [part[:MAX_FOLDER_NAME] for part in folder.split("/") if part][-2:]
