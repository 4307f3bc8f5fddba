"""One JSON object per line: the framing that all three protocols share, with its limits.

Encoding ends each line with LF. Decoding turns *every* failure into `RemoteProtocolError`: fatal when
the line cannot be understood at all, not fatal when it is a well-formed message of an unknown type or
with a value out of bounds (those are answered with an `error` and the connection stays).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import Meta, Struct

from ..errors import LocalProtocolError, RemoteProtocolError, printable

#: Longest line in either direction, its LF not counted.
MAX_LINE_BYTES = 64 * 1024

# Bounds, shared by the message modules. JSON numbers are exact up to 2**53 - 1.
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Number = Annotated[float, Meta(ge=0, le=2**53 - 1)]
RequestId = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Hex64 = Annotated[str, Meta(min_length=64, max_length=64, pattern=r"\A[0-9a-f]{64}\Z")]
PeerIdText = Annotated[str, Meta(min_length=52, max_length=52, pattern=r"\A[a-z2-7]{52}\Z")]
USER_NAME = r"\A[a-z0-9][a-z0-9._-]{0,31}\Z"
UserName = Annotated[str, Meta(max_length=32, pattern=USER_NAME)]
ShortText = Annotated[str, Meta(max_length=256)]
LongText = Annotated[str, Meta(max_length=4096)]
#: HOST:PORT, an IPv6 host in brackets.
Address = Annotated[str, Meta(min_length=3, max_length=262)]

M = TypeVar("M", bound=Struct)

_encoder = msgspec.json.Encoder()


def encode(message: Struct) -> bytes:
    """The message as one line, LF included.

    :raises LocalProtocolError: if it would be longer than a line may be.
    """
    try:
        line = _encoder.encode(message)
    except (UnicodeEncodeError, TypeError, ValueError) as error:
        raise LocalProtocolError(f"{type(message).__name__} cannot be encoded: {error}") from error
    if len(line) > MAX_LINE_BYTES:
        raise LocalProtocolError(f"{type(message).__name__} is {len(line)} bytes, over a line's limit")
    return line + b"\n"


class _Head(Struct):
    """What can be read of a message that is otherwise not understood."""

    t: str = ""
    id: Any = None


class Decoder(Generic[M]):
    """Decodes lines into one protocol direction's message types.

    :param messages: the union of message types, each tagged by ``t``.
    """

    def __init__(self, messages: Any, types: tuple[type[Struct], ...]) -> None:
        self._decoder: msgspec.json.Decoder[M] = msgspec.json.Decoder(messages)
        self._head = msgspec.json.Decoder(_Head)
        self._known = frozenset(str(kind.__struct_config__.tag) for kind in types)

    def decode(self, line: bytes) -> M:
        """
        :raises RemoteProtocolError: always and only that; its `fatal` says whether to hang up.
        """
        try:
            return self._decoder.decode(line)
        except msgspec.ValidationError as error:
            raise self._refusal(line, str(error)) from error
        except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError) as error:
            raise RemoteProtocolError(f"not a message: {printable(str(error))}") from error

    def _refusal(self, line: bytes, reason: str) -> RemoteProtocolError:
        try:
            head = self._head.decode(line)
        except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError):
            return RemoteProtocolError(f"not a message: {printable(reason)}")
        about = head.id if type(head.id) is int and 0 <= head.id < 2**53 else None
        if head.t not in self._known:
            what = f"unknown message type {printable(head.t, 40)!r}"
            return RemoteProtocolError(what, code="unknown_type", fatal=False, about=about)
        what = f"{head.t}: {printable(reason)}"
        return RemoteProtocolError(what, code="out_of_bounds", fatal=False, about=about)


def decoder_for(*types: type[Struct]) -> Decoder[Any]:
    """A decoder for exactly these message types."""
    union: Any = types[0]
    for kind in types[1:]:
        union = union | kind
    return Decoder(union, types)


def understand(
    line: bytes, decode: Callable[[bytes], M], answer: Callable[[str, str, int | None], None], *, greeted: bool
) -> M | None:
    """What a line says; None if it is not for us to understand, which is answered, and the connection stays.

    :param answer: says an `error` with this code, text, and id of what it is about.
    :param greeted: whether the other end has said `hello`; before, it may say that or `bye`, and nothing else.
    :raises RemoteProtocolError: hang up.
    """
    try:
        message = decode(line)
    except RemoteProtocolError as error:
        if error.fatal:
            raise
        answer(error.code, error.message[:4096], error.about)
        return None
    if not greeted and message.__struct_config__.tag not in ("hello", "bye"):
        raise RemoteProtocolError("spoke before hello", code="order")
    return message
