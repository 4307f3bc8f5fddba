"""What somebody typed into a search, understood: words, ``-word``, ``"a phrase"``, ``wor*`` (docs/how-to/search.md).

Nothing that can be typed is an error, except when nothing is left to search for.
"""

from __future__ import annotations

import re

from attrs import frozen

from ..errors import Misuse
from .words import MAX_WORD, Run, Script, fold, joined, runs

#: Words and phrases that count; what is typed after so many is left out.
MAX_PIECES = 32

_QUOTES = str.maketrans(dict.fromkeys("“”„‟«»＂", '"'))
_TYPED = re.compile(r'(?P<exclude>-*)(?:"(?P<phrase>[^"]*)"?|(?P<word>[^\s"]+))')


@frozen
class Piece:
    """One typed word or phrase.

    :param terms: that an item must have, all of them.
    :param prefix: that one more term of the item must begin with.
    :param pattern: what the searchable text must contain.
    :param decided: terms and prefix decide alone, without a look at the text.
    :param words: how many it is of.
    """

    terms: tuple[str, ...]
    prefix: str | None
    pattern: str
    decided: bool
    words: int

    def found_in(self, text: str) -> bool:
        return self.pattern in text


@frozen
class Query:
    """:param order: the wanted pieces as one phrase, for ranking; empty for a single one."""

    wanted: tuple[Piece, ...]
    excluded: tuple[Piece, ...]
    order: str


def understand(typed: str) -> Query:
    """:raises Misuse: if there is nothing to search for."""
    wanted: list[Piece] = []
    excluded: list[Piece] = []
    for found in _TYPED.finditer(typed.translate(_QUOTES)):
        piece = _piece(found["phrase"] if found["phrase"] is not None else found["word"])
        into = excluded if found["exclude"] else wanted
        if piece is not None and piece not in into:
            into.append(piece)
    if not wanted:
        raise Misuse(_nothing_wanted(typed, bool(excluded)), "Type at least one word to search for")
    wanted, excluded = wanted[:MAX_PIECES], excluded[:MAX_PIECES]
    return Query(tuple(wanted), tuple(excluded), _order(wanted))


def _piece(typed: str) -> Piece | None:
    """None if there is no letter, digit or symbol in it."""
    found = runs(fold(typed))
    if not found:
        return None
    last = found[-1]
    # Any place in an unspaced run is found anyway; so is a symbol.
    prefixed = typed.endswith("*") and last.script is Script.SPACED and len(last.text) < MAX_WORD
    terms = [term for run in (found[:-1] if prefixed else found) for term in run.terms()]
    decided = len(found) == 1 and len(terms) <= 1
    return Piece(
        terms=tuple(dict.fromkeys(terms)),
        prefix=last.text if prefixed else None,
        pattern=_edge(found[0]) + joined(found) + ("" if prefixed else _edge(last)),
        decided=decided,
        words=len(found),
    )


def _edge(run: Run) -> str:
    """A word ends where it ends; an unspaced run may be a part of a longer one."""
    return "" if run.script is Script.UNSPACED else " "


def _order(wanted: list[Piece]) -> str:
    if len(wanted) < 2:
        return ""
    return "".join(piece.pattern for piece in wanted).replace("  ", " ")


def _nothing_wanted(typed: str, excluded: bool) -> str:
    if excluded:
        return "the query only says what to leave out"
    return "the query has no letter or digit in it" if typed.strip() else "the query is empty"
