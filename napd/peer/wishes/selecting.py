"""Which wishes the arguments of a command name. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ...errors import Misuse, NapError, NoSuchThing, printable
from ...wire.documents import PartError
from ..selection import is_numbers, numbers


def select(selectors: Sequence[str], known: Collection[int]) -> tuple[list[int], list[PartError]]:
    """The wishes named by ids (``3``, ``1,4-6``) or ``all``, each once, and what was wrong with the other arguments.

    :raises NapError: if something was wrong and nothing right.
    """
    chosen: dict[int, None] = {}
    errors: list[PartError] = []
    first: NapError | None = None
    for selector in selectors:
        if selector == "all":
            chosen.update(dict.fromkeys(known))
            continue
        if not is_numbers(selector):
            named = printable(selector, 60)
            raise Misuse(f"{named!r} is no wish", "Say wish ids (3, or 1,4-6) or all; they are listed by: napctl wish")
        for number in numbers(selector):
            if number in known:
                chosen[number] = None
                continue
            error = NoSuchThing(f"wish {number} does not exist", "List them: napctl wish")
            first = first or error
            errors.append(PartError(str(number), error.code, error.message))
    if first is not None and not chosen:
        raise first
    return list(chosen), errors
