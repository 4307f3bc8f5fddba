"""A search, understood: what an item has to have in its names, of which attributes it has to be, and who offers it."""

from __future__ import annotations

from attrs import frozen

from .attributes import ANY, Attributes
from .table import Row
from .words import MAX_WORD, Run, Script, fold, joined, runs

#: Letters of a word that has a beginning looked up: of one letter there are too many.
MIN_PREFIX = 2


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

    def needs(self, other: Piece) -> bool:
        """Whether every text that this one is found in has the other one too."""
        return other.pattern in self.pattern


@frozen
class Choice:
    """Pieces of which one is enough, joined by OR, those of most words first. By far the most are of a single one."""

    pieces: tuple[Piece, ...]

    def found_in(self, text: str) -> bool:
        return any(piece.pattern in text for piece in self.pieces)

    def decided(self) -> bool:
        return all(piece.decided for piece in self.pieces)


@frozen
class Query:
    """Made by `napd.index.language.understand`.

    :param wanted: all of these; none if attributes or users alone are asked for.
    :param excluded: none of these.
    :param order: the wanted pieces as one phrase, for ranking; empty for a single one, and where there is a choice.
    :param users: what one of these offers; None: whoever.
    :param impossible: why nothing can match, whatever there is.
    """

    wanted: tuple[Choice, ...]
    excluded: tuple[Piece, ...] = ()
    order: str = ""
    attributes: Attributes = ANY
    users: tuple[str, ...] | None = None
    impossible: str | None = None

    def fits(self, row: Row) -> bool:
        """Whether an item is what is wanted, whoever offers it: the exact check."""
        text = row.text
        return (
            all(choice.found_in(text) for choice in self.wanted)
            and not any(piece.pattern in text for piece in self.excluded)
            and self.attributes.met_by(row.name, row.size, row.media)
        )


def piece(typed: str) -> Piece | None:
    """One word or phrase; None if there is no letter, digit or symbol in it."""
    found = runs(fold(typed))
    if not found:
        return None
    last = found[-1]
    # Any place in an unspaced run is found anyway; so is a symbol.
    prefixed = typed.endswith("*") and last.script is Script.SPACED and MIN_PREFIX <= len(last.text) < MAX_WORD
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
