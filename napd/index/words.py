"""Words of names and queries: one way to fold and cut text, so that what is typed finds what is shared.

*Folding*: compatibility forms made plain (NFKD), case folded, accents taken off. An accent is a combining mark of
Latin, Greek, Cyrillic, Hebrew or Arabic; marks that make another letter stay: those of kana, of Indic and South-East
Asian scripts, and the breve of Cyrillic й.

*Cutting*: letters, digits and marks in a row are a word. Scripts written without spaces are cut into characters and
pairs of characters. A symbol (an emoji) is a word by itself. Everything else separates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum, auto
from functools import lru_cache
from unicodedata import category, normalize

from attrs import frozen
from msgspec import Struct

#: A longer word is cut, in names and queries alike.
MAX_WORD = 64
#: Characters of a folder's name that count; a file system's own limit.
MAX_FOLDER_NAME = 255
#: Separates the folders and the file name in a searchable text, so that no phrase reaches across.
BOUNDARY = "|"

_ASCII_WORDS = re.compile("[a-z0-9]+")
#: Everything between two separators of ASCII, which fold to themselves whatever is beside them.
_CHUNKS = re.compile("[A-Za-z0-9\x80-\U0010ffff]+")
#: Beyond what becomes ASCII quickly, most of the time.
_BEYOND_LATIN = re.compile("[\u0250-\U0010ffff]")
#: Terms of a chunk are kept for the next names that have it: so many chunks of at most so many characters.
_MAX_CHUNKS = 32_768
_MAX_CHUNK = 12
#: Characters whose scripts are kept.
_MAX_CHARACTERS = 20_000
#: Around a character of a script without spaces, and before a symbol: what no folded text has after `_MARKS`.
_BEGIN, _END, _SYMBOL = "\x01", "\x02", "\x03"
_BREVES = re.compile("(?<!и)\u0306")
_ACCENTS = re.compile(
    "[\u0300-\u0305\u0307-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc"
    # Not to be seen at all: soft hyphen, joiners, variation selectors.
    "\u00ad\u200c\u200d\u2060\ufe00-\ufe0f]"
)
#: Letters that people type without their stroke, and that NFKD leaves whole.
_STROKES = {"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ŧ": "t", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"}
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


class Run(Struct, frozen=True, gc=False):
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
    plain = normalize("NFKD", text).casefold()
    if "\u0306" in plain:
        plain = _BREVES.sub("", plain)
    # Hangul, kana and й become one character again.
    return normalize("NFC", plain.translate(_PLAIN))


def runs(folded: str) -> Sequence[Run]:
    """The runs of a folded text, in order."""
    if folded.isascii():
        return [Run(word[:MAX_WORD], Script.SPACED) for word in _ASCII_WORDS.findall(folded)]
    return [_run(marked) for marked in _marked(folded)]


#: What is before a run that is no word.
_NO_WORD = (_BEGIN, _SYMBOL)


def _run(marked: str) -> Run:
    if marked[0] == _BEGIN:
        return Run(marked[1:], Script.UNSPACED)
    if marked[0] == _SYMBOL:
        return Run(marked[1:], Script.SYMBOL)
    return Run(marked[:MAX_WORD], Script.SPACED)


def _marked(folded: str) -> Sequence[str]:
    """The runs of a folded text, those that are no words with a mark of what they are before them."""
    marked = folded.translate(_MARKS)
    if _BEGIN in marked:
        # What is beside each other is one run.
        marked = marked.replace(_END + _BEGIN, "").replace(_BEGIN, " " + _BEGIN).replace(_END, " ")
    return marked.split()


class _Becomes(dict[int, str]):
    """What becomes of a character, by its code point: looked up once for each."""

    def __init__(self, become: Callable[[str], str]) -> None:
        self._become = become

    def __missing__(self, point: int) -> str:
        if len(self) >= _MAX_CHARACTERS:
            self.clear()
        found = self[point] = self._become(chr(point))
        return found


def _plain(character: str) -> str:
    return _ACCENTS.sub("", _STROKES.get(character, character))


def _mark(character: str) -> str:
    match _script(character):
        case Script.SPACED:
            return character
        case Script.UNSPACED:
            return _BEGIN + character + _END
        case Script.SYMBOL:
            return f" {_SYMBOL}{character} "
        case Script.GAP:
            return " "


_PLAIN = _Becomes(_plain)
_MARKS = _Becomes(_mark)


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
    terms = frozenset(term for found in names for term in _terms(found))
    text = f" {BOUNDARY} ".join(joined(found) for found in names)
    return Searchable(f" {text} ", terms, len(names[-1]))


def _terms(found: Iterable[Run]) -> Iterator[str]:
    for run in found:
        yield from run.terms()
        if run.script is Script.UNSPACED:
            yield from run.text


def terms_and_words(folder: str, name: str) -> tuple[set[str], int]:
    """`Searchable.terms` and `Searchable.words` alone, several times as fast where names come that are like others."""
    if _BEYOND_LATIN.search(name) is None:
        found, words = _cut(name)
        return {*_folders_terms(folder), *found}, words
    cuts = [_kept_cut(chunk) if len(chunk) <= _MAX_CHUNK else _cut(chunk) for chunk in _CHUNKS.findall(name)]
    terms = set(_folders_terms(folder)).union(*[found for found, _ in cuts])
    return terms, sum([words for _, words in cuts])


@lru_cache(maxsize=10_000)
def _folders_terms(folder: str) -> Sequence[str]:
    return tuple({term for part in _nearest(folder) for term in _cut(part)[0]})


def _cut(text: str) -> tuple[Sequence[str], int]:
    """Terms, and how many runs. As tuples, which the collector of garbage does not look at again when they are kept."""
    folded = fold(text)
    if folded.isascii():
        found = _ASCII_WORDS.findall(folded)
        return tuple(found if len(folded) <= MAX_WORD else [word[:MAX_WORD] for word in found]), len(found)
    cut = runs(folded)
    return tuple(_terms(cut)), len(cut)


_kept_cut = lru_cache(maxsize=_MAX_CHUNKS)(_cut)


def searchable_text(folder: str, name: str) -> str:
    """`Searchable.text` alone, faster."""
    return f" {_folders_text(folder)}{_joined_runs(name)} "


@lru_cache(maxsize=10_000)
def _folders_text(folder: str) -> str:
    return "".join(f"{_joined_runs(part)} {BOUNDARY} " for part in _nearest(folder))


def _joined_runs(text: str) -> str:
    if _BEYOND_LATIN.search(text) is None:
        return _joined_at_once(text)
    chunks = [
        _kept_joined(chunk) if len(chunk) <= _MAX_CHUNK else _joined_at_once(chunk) for chunk in _CHUNKS.findall(text)
    ]
    return " ".join([chunk for chunk in chunks if chunk])


def _joined_at_once(text: str) -> str:
    folded = fold(text)
    if folded.isascii():
        return " ".join([word[:MAX_WORD] for word in _ASCII_WORDS.findall(folded)])
    return " ".join([marked[1:] if marked[0] in _NO_WORD else marked[:MAX_WORD] for marked in _marked(folded)])


_kept_joined = lru_cache(maxsize=_MAX_CHUNKS)(_joined_at_once)


def _nearest(folder: str) -> Sequence[str]:
    return [part[:MAX_FOLDER_NAME] for part in folder.split("/") if part][-2:]
