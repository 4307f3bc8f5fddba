"""What the writer is asked for, and what it answers.

Both are msgpack, each message with its length before it as u32 little-endian. The writer takes requests in their order
and answers those of one transaction together, after its commit: a list with an `Answer` for each.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from struct import Struct as Layout
from typing import Any, TypeAlias

import msgspec

from ....errors import NapError
from ....model import PeerId
from ..interface import NameTaken, OutOfStep, Position, StaleSession, StoreFailed, TooManyListings
from .rows import Row

LENGTH = Layout("<I")
#: Bytes of a message: a step of a long line with room to spare, and the answers to a whole transaction.
MAX_REQUEST = 16 << 20


class AccountFor(msgspec.Struct, tag="account", array_like=True, frozen=True):
    """Answered with an `Account`. :ivar id: of the account, if it has to be made."""

    id: str
    user: str
    key: PeerId
    at: float


class OpenSession(msgspec.Struct, tag="open", array_like=True, frozen=True):
    """Answered with `OpenedSession`."""

    account: int
    held: Position
    at: float


class Apply(msgspec.Struct, tag="apply", array_like=True, frozen=True):
    """A `Step`. Answered with `Done`."""

    account: int
    session: int
    epoch: str
    base: int
    revision: int
    reset: bool
    most: int
    add: Sequence[Row]
    withdraw: Sequence[Row]


class Forget(msgspec.Struct, tag="forget", array_like=True, frozen=True):
    """Answered with `Done`."""

    account: int
    session: int


class Saw(msgspec.Struct, tag="saw", array_like=True, frozen=True):
    """Answered with nothing."""

    accounts: Sequence[int]
    at: float


class Sweep(msgspec.Struct, tag="sweep", array_like=True, frozen=True):
    """Answered with `Gone`. :ivar stride: items to look at."""

    after: int
    stride: int


Request: TypeAlias = AccountFor | OpenSession | Apply | Forget | Saw | Sweep


class OpenedSession(msgspec.Struct, array_like=True, frozen=True):
    """`Opened`; lists of ids as native uint32s."""

    session: int
    position: Position
    share: bytes
    dropped: bytes


class Done(msgspec.Struct, array_like=True, frozen=True):
    """`Applied`. What was added, as native uint32s: its place in the request's `add`, its item, its content."""

    change: int
    position: Position
    places: bytes
    items: bytes
    contents: bytes
    withdrawn: bytes


class Gone(msgspec.Struct, array_like=True, frozen=True):
    """`Swept`; lists of ids as native uint32s."""

    removed: bytes
    left: bytes
    next: int | None


class Answer(msgspec.Struct, array_like=True, frozen=True):
    """:ivar refused: code and message of an error, or `FAULT` and a traceback; then `value` is nil."""

    value: msgspec.Raw
    refused: tuple[str, str] | None = None


#: Something failed that never should.
FAULT = "fault"

_REFUSALS: dict[str, type[NapError]] = {
    kind.code: kind for kind in (NameTaken, StaleSession, OutOfStep, TooManyListings, StoreFailed)
}


class WriterFault(Exception):
    """A bug in the writer; the text is its traceback."""


def error_of(refused: tuple[str, str]) -> Exception:
    code, message = refused
    kind = _REFUSALS.get(code)
    return WriterFault(message) if kind is None else kind(message)


def ids_of(blob: bytes) -> array[int]:
    return array("I", blob)


encode = msgspec.msgpack.Encoder().encode
decode_request: Callable[[Any], Request] = msgspec.msgpack.Decoder(Request).decode
decode_answers = msgspec.msgpack.Decoder(list[Answer]).decode


def framed(message: Any) -> bytes:
    body = encode(message)
    return LENGTH.pack(len(body)) + body
