"""What people type for sizes, rates and times."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TypeVar

import click

from napd.errors import Misuse, printable
from napd.sizes import parse_size

#: A year: longer than anybody waits, short enough for any clock's arithmetic.
MAX_SECONDS = 366 * 86400.0

#: Words that `queue move` takes instead of a position.
PLACES = ("top", "up", "down", "bottom")

T = TypeVar("T")

_RATE_SUFFIX = re.compile(r"\s*(?:/\s*s(?:ec)?|ps)\s*\Z", re.IGNORECASE)
_SECONDS = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*(ms|s|m|min|h|d)?\s*", re.IGNORECASE)
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_UNLIMITED = frozenset({"none", "off", "unlimited"})


def parse_rate(text: str) -> float:
    """Bytes per second: a size, with or without `/s`; `none` and 0 take a limit away.

    :raises Misuse: for anything else.
    """
    bare = _RATE_SUFFIX.sub("", text)
    if bare.strip().lower() in _UNLIMITED:
        return 0.0
    try:
        return float(parse_size(bare))
    except Misuse as error:
        raise Misuse(
            f"{printable(text, 40)!r} is no rate", "Write bytes per second as 500k, 10MB/s or 10MiB/s, or none"
        ) from error


def parse_seconds(text: str) -> float:
    """Seconds, or a number with its unit: `30`, `1.5s`, `500ms`, `2m`, `1h`.

    :raises Misuse: for anything else.
    """
    match = _SECONDS.fullmatch(text)
    if match is None:
        raise Misuse(f"{printable(text, 40)!r} is no time", "Write seconds as 30 or 0.5, or 500ms, 2m, 1h")
    seconds = float(match[1]) * _UNIT_SECONDS[(match[2] or "s").lower()]
    if not math.isfinite(seconds) or seconds > MAX_SECONDS:
        raise Misuse(f"{printable(text, 40)!r} is more than a year", "Leave the option out to wait for ever")
    return seconds


def parse_place(text: str) -> str:
    """Where `queue move` moves to: top, up, down, bottom, or a position from 1.

    :raises Misuse: for anything else.
    """
    place = text.lower()
    if place in PLACES or (re.fullmatch("[0-9]{1,9}", place) and int(place) >= 1):
        return place
    raise Misuse(f"{printable(text, 40)!r} is no place", "It is top, up, down, bottom or a position from 1")


def parsed(parse: Callable[[str], T]) -> Callable[[click.Context, click.Parameter, str | None], T | None]:
    """A click callback that parses a parameter's text; a `Misuse` becomes click's usage error, which names it."""

    def callback(ctx: click.Context, param: click.Parameter, value: str | None) -> T | None:
        if value is None:
            return None
        try:
            return parse(value)
        except Misuse as error:
            raise click.BadParameter(f"{error.message}. {error.hint}", ctx, param) from error

    return callback
