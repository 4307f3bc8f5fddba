"""A ticket: the index's signed word for who a peer is (docs/reference/tickets.md).

Text form: base64url of the claims' JSON, a dot, base64url of the signature, no padding. The signature
covers ``nap/ticket/1`` NUL and the exact bytes of the JSON. Signing and checking keys is `napd.net.identity`'s.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from ..errors import Denied
from .line import Number, PeerIdText, ShortText, UserName

PURPOSE = "ticket"
#: How long a ticket is good for; it is renewed over the live link well before.
LIFETIME_S = 24 * 3600.0
#: Disagreement between clocks that is forgiven.
LEEWAY_S = 300.0


class Claims(Struct, frozen=True):
    """What the index says of a peer; times are seconds since 1970 by the index's clock."""

    index: PeerIdText
    account: ShortText
    user: UserName
    peer: PeerIdText
    groups: Annotated[tuple[ShortText, ...], Meta(max_length=64)]
    issued: Number
    expires: Number
    key: PeerIdText


_decode_claims = msgspec.json.Decoder(Claims).decode


def signed_bytes(body: bytes) -> bytes:
    """What a ticket's signature covers."""
    return b"nap/" + PURPOSE.encode() + b"/1\0" + body


def pack(body: bytes, signature: bytes) -> str:
    return f"{_to_text(body)}.{_to_text(signature)}"


def unpack(ticket: str) -> tuple[Claims, bytes, bytes]:
    """The claims, their exact bytes, and the signature, which is *not* checked here.

    :raises Denied: if this is no ticket at all.
    """
    try:
        body_text, signature_text = ticket.split(".")
        body, signature = _to_bytes(body_text), _to_bytes(signature_text)
        return _decode_claims(body), body, signature
    except (ValueError, binascii.Error, msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Denied("the ticket is not one", code="bad_ticket") from error


def check(claims: Claims, *, index: str, peer: str, now: float) -> None:
    """Whether these claims hold for this peer at this index time.

    :raises Denied: `bad_ticket` for another index or peer, `expired` when its time is over.
    """
    if claims.index != index:
        raise Denied("the ticket is of another index", code="bad_ticket")
    if claims.peer != peer:
        raise Denied("the ticket belongs to another peer", code="bad_ticket")
    if not claims.issued - LEEWAY_S <= now <= claims.expires + LEEWAY_S:
        raise Denied("the ticket has expired", code="expired")


def _to_text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _to_bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
