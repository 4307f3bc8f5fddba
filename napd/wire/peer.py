"""The peer protocol `nap-peer/1`: how bytes are asked for and sent (docs/reference/peer-protocol.md).

One JSON object per line, typed by ``t``; after ``outline``, ``group`` and ``chunk`` exactly `bytes` raw bytes
follow. Order: ``hello`` both ways with a role (one end ``fetch``, the other ``serve``), then the fetching
end's ``ticket``; after ``admitted`` requests flow one way and bulk the other. Requests are answered in the
order in which the server gets to them; chunks of one ``get`` come in order.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from .line import Count, Hex64, LongText, Number, RequestId, ShortText, decoder_for

ALPN = b"nap-peer/1"
VERSION = 1

#: Chunks in one `get`.
MAX_RUN = 16
#: Ranks of requests: 0 urgent, 1 high, 2 normal, 3 low.
NORMAL = 2
LEAST_URGENT = 3
#: Requests that may be open on a connection.
MAX_OUTSTANDING = 256
#: Contents of which one connection is told what is there, at a time.
MAX_HAVES = 64
#: What an end says in its hello that knows `get_have` and `have`.
FEATURE_HAVE = "have"
#: Seconds between pings on a connection that is otherwise silent, and until it counts as dead.
HEARTBEAT_S = 5.0
DEAD_AFTER_S = 15.0

Versions = Annotated[tuple[Annotated[int, Meta(ge=1, le=255)], ...], Meta(min_length=1, max_length=16)]
ChunkNumber = Annotated[int, Meta(ge=0, le=(1 << 26) - 1)]
GroupNumber = Annotated[int, Meta(ge=0, le=(1 << 16) - 1)]


class Hello(Struct, frozen=True, tag="hello", tag_field="t"):
    """Both directions, first; the roles must differ."""

    versions: Versions
    agent: ShortText
    role: Literal["fetch", "serve"]
    features: Annotated[tuple[ShortText, ...], Meta(max_length=32)] = ()


# --- Fetching end to serving end -----------------------------------------------------------------


class Ticket(Struct, frozen=True, tag="ticket", tag_field="t"):
    """The index's word for who this is; may be sent again when renewed."""

    ticket: LongText


class GetOutline(Struct, frozen=True, tag="get_outline", tag_field="t"):
    """Size and group digests of a content."""

    id: RequestId
    content: Hex64


class GetGroup(Struct, frozen=True, tag="get_group", tag_field="t"):
    """The chunk digests of one group."""

    id: RequestId
    content: Hex64
    group: GroupNumber


class Get(Struct, frozen=True, tag="get", tag_field="t"):
    """`count` chunks from number `first` on; a lower `priority` is more urgent.

    `transfer` is the log's word for the download, the same on both ends. `loose`: it may be answered after later ones
    of the content that are loose, too.
    """

    id: RequestId
    content: Hex64
    first: ChunkNumber
    count: Annotated[int, Meta(ge=1, le=MAX_RUN)] = 1
    transfer: ShortText = ""
    priority: Annotated[int, Meta(ge=0, le=LEAST_URGENT)] = NORMAL
    loose: bool = False


class GetHave(Struct, frozen=True, tag="get_have", tag_field="t"):
    """Which chunks of a content are there, now and whenever one comes, until `cancel`."""

    id: RequestId
    content: Hex64


class Cancel(Struct, frozen=True, tag="cancel", tag_field="t"):
    """What is not yet sent for this request need not be; if it was a `get`, answered by `cancelled` in its place."""

    id: RequestId


# --- Serving end to fetching end -----------------------------------------------------------------


class Admitted(Struct, frozen=True, tag="admitted", tag_field="t"):
    """The ticket is good; requests may follow."""


class Outline(Struct, frozen=True, tag="outline", tag_field="t"):
    """The answer to `get_outline`; the group digests follow raw."""

    id: RequestId
    size: Annotated[int, Meta(ge=0, le=1 << 46)]
    bytes: Annotated[int, Meta(ge=0, le=1 << 21)]


class Group(Struct, frozen=True, tag="group", tag_field="t"):
    """The answer to `get_group`; the chunk digests follow raw."""

    id: RequestId
    bytes: Annotated[int, Meta(ge=32, le=1 << 15)]


class Chunk(Struct, frozen=True, tag="chunk", tag_field="t"):
    """One chunk of an answer to `get`; its bytes follow raw (none for the only chunk of an empty content)."""

    id: RequestId
    chunk: ChunkNumber
    bytes: Annotated[int, Meta(ge=0, le=1 << 20)]


class Have(Struct, frozen=True, tag="have", tag_field="t", omit_defaults=True):
    """News for a `get_have`: the chunks of one group that are there, the first in the lowest bit of the first byte.

    `bits` is base64 on the wire; bytes at the end that are 0 may be left out. `whole`: all of the content is there.
    """

    id: RequestId
    group: GroupNumber = 0
    bits: Annotated[bytes, Meta(max_length=128)] = b""
    whole: bool = False


class Cancelled(Struct, frozen=True, tag="cancelled", tag_field="t"):
    """Nothing more comes for this request."""

    id: RequestId


class Queued(Struct, frozen=True, tag="queued", tag_field="t"):
    """All slots are taken: the requests for this content wait at this place (from 1); told again as it changes.

    `estimate_s` is for about how long, from now; None if nothing tells.
    """

    content: Hex64
    position: Count
    estimate_s: Number | None = None


class Gone(Struct, frozen=True, tag="gone", tag_field="t"):
    """Not to be had here: unknown and not allowed look the same."""

    id: RequestId


class Busy(Struct, frozen=True, tag="busy", tag_field="t"):
    """Not now; ask again after so many seconds."""

    id: RequestId
    retry_after_s: Number


# --- Both directions -----------------------------------------------------------------------------


class Ping(Struct, frozen=True, tag="ping", tag_field="t"):
    """Answered by `pong` with the same number."""

    n: Count = 0


class Pong(Struct, frozen=True, tag="pong", tag_field="t"):
    """The answer to `ping`."""

    n: Count = 0


class Error(Struct, frozen=True, tag="error", tag_field="t"):
    """A message was not understood or not allowed now; the connection stays."""

    code: ShortText
    message: LongText
    id: RequestId | None = None


class Bye(Struct, frozen=True, tag="bye", tag_field="t"):
    """The connection ends, and why: ``no_ticket``, ``bad_ticket``, ``expired``, ``banned``, ``version``,
    ``malformed``, ``limit``, ``busy``, ``shutdown``."""

    code: ShortText
    message: LongText


FromFetcher = Hello | Ticket | GetOutline | GetGroup | Get | GetHave | Cancel | Ping | Pong | Error | Bye
FromServer = (
    Hello | Admitted | Outline | Group | Chunk | Have | Cancelled | Queued | Gone | Busy | Ping | Pong | Error | Bye
)

decode_from_fetcher = decoder_for(
    Hello, Ticket, GetOutline, GetGroup, Get, GetHave, Cancel, Ping, Pong, Error, Bye
).decode
decode_from_server = decoder_for(
    Hello, Admitted, Outline, Group, Chunk, Have, Cancelled, Queued, Gone, Busy, Ping, Pong, Error, Bye
).decode
