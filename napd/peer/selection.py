"""What SELECTOR and RESULT arguments mean: text to downloads and to contents. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from attrs import frozen

from ..errors import Misuse, NapError, NoSuchThing
from ..model import ContentId, DownloadState
from ..wire.documents import PartError
from .item import Item
from .queue import Queue

#: Numbers named in one argument; ``1-9999999`` is a mistake.
MAX_NAMED = 100_000

_STATES = {state.value: state for state in DownloadState}
_NUMBERS = re.compile(r"\d{1,7}(-\d{1,7})?(,\d{1,7}(-\d{1,7})?)*", re.ASCII)
_HEX = re.compile(r"[0-9a-f]{8,64}")


@frozen
class Selected:
    """What the arguments named: each download once, in queue order; and what was wrong with the others."""

    items: list[Item]
    errors: list[PartError]


def select(queue: Queue, selectors: Sequence[str], holds_from: Callable[[Item, str], bool]) -> Selected:
    """The downloads that these selectors name.

    :param holds_from: whether a download has this user among its sources (for ``@user``).
    :raises NapError: if every selector is wrong; a set that matches nothing is not wrong.
    """
    chosen: dict[int, Item] = {}
    errors: list[PartError] = []
    first: NapError | None = None
    worked = False
    for selector in selectors:
        for subject, part in _parts(selector):
            try:
                for item in _one(queue, part, holds_from):
                    chosen[item.id] = item
                worked = True
            except NapError as error:
                first = first or error
                errors.append(PartError(subject, error.code, error.message))
    if first is not None and not worked:
        raise first
    positions = queue.positions()
    after_all = len(positions) + 1
    items = sorted(chosen.values(), key=lambda item: (positions.get(item.id, after_all), item.id))
    return Selected(items, errors)


def numbers(text: str) -> Iterator[int]:
    """The numbers in ``3``, ``3,5-8``; the text must have that form.

    :raises Misuse: for a backward range or absurdly many.
    """
    named = 0
    for part in text.split(","):
        low, _, high = part.partition("-")
        first, last = int(low), int(high or low)
        named += last - first + 1
        if last < first:
            raise Misuse(f"the range {part} runs backwards")
        if named > MAX_NAMED:
            raise Misuse(f"{text} names over {MAX_NAMED} numbers")
        yield from range(first, last + 1)


def is_numbers(text: str) -> bool:
    return _NUMBERS.fullmatch(text) is not None


def content_of_prefix(prefix: str, known: Iterable[ContentId]) -> ContentId:
    """The one known content that begins so.

    :raises NoSuchThing: none does. :raises Misuse: several do, or this is no prefix of eight or more hex digits.
    """
    text = prefix.lower()
    if _HEX.fullmatch(text) is None:
        raise Misuse(
            f"{prefix!r} is neither a number nor a content id",
            "A content id is 64 hex digits, or a prefix of 8 or more",
        )
    if len(text) == 64:
        return ContentId(text)
    found = {content for content in known if content.startswith(text)}
    if not found:
        raise NoSuchThing(f"no content begins with {text}", "Search for it, or give all 64 digits")
    if len(found) > 1:
        raise Misuse(f"{text} is the beginning of {len(found)} contents", "Give more digits")
    return found.pop()


def _parts(selector: str) -> Iterator[tuple[str, str]]:
    """A list of numbers counts as that many subjects, each of which may be wrong on its own."""
    if is_numbers(selector):
        for number in numbers(selector):
            yield str(number), str(number)
    else:
        yield selector, selector


def _one(queue: Queue, selector: str, holds_from: Callable[[Item, str], bool]) -> Iterable[Item]:
    if selector == "all":
        return list(queue)
    if selector in _STATES:
        state = _STATES[selector]
        return [item for item in queue if item.state is state]
    if selector.startswith("@") and len(selector) > 1:
        user = selector[1:].lower()
        return [item for item in queue if holds_from(item, user)]
    if is_numbers(selector):
        return [queue.get(int(selector))]
    if _HEX.fullmatch(selector.lower()) is None:
        raise Misuse(
            f"{selector!r} selects nothing",
            "Say download ids (3,5-8), all, active, queued, waiting, paused, failed, done, @user or a content id",
        )
    content = content_of_prefix(selector, (item.content for item in queue))
    item = queue.of_content(content)
    if item is None:
        raise NoSuchThing(f"no download has the content {selector}", "List them: napctl queue")
    return [item]
