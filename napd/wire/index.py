"""The index protocol `nap-index/1`: messages between a peer and the index (docs/reference/index-protocol.md).

One JSON object per line, typed by ``t``; never raw bytes. Order: ``hello`` both ways, ``login``, then
``welcome`` or ``bye``; after the welcome anything else, in any order. Requests carry an ``id`` that the
answer repeats; a session may have `MAX_OUTSTANDING` of them open.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from .catalogue import Entry
from .line import (
    Address,
    Count,
    Hex64,
    LongText,
    Number,
    PeerIdText,
    RequestId,
    ShortText,
    UserName,
    decoder_for,
)

ALPN = b"nap-index/1"
VERSION = 1

#: Seconds between heartbeats, and until a silent link counts as dead.
HEARTBEAT_S = 5.0
DEAD_AFTER_S = 15.0
#: Announce batches that may be under way without an acknowledgement.
ANNOUNCE_WINDOW = 8
#: Listings in a batch; the line limit usually ends one earlier.
MAX_BATCH = 500
#: Requests with an id that a session may have open.
MAX_OUTSTANDING = 64
#: Contents that a session may be seeking.
MAX_SEEKS = 20_000
#: Contents named in one seek or unseek.
MAX_SEEK_BATCH = 500
#: Results in one page of a search.
MAX_PAGE = 1_000
#: Wishes that a session may have, as far as the protocol goes; an index allows as many or fewer.
MAX_WISHES = 10_000
#: Wishes named in one `unwish`; results told of one wish in one `wished`.
MAX_UNWISH_BATCH = 500
MAX_WISHED = 50
#: Users told by name for one result; `sources` counts all of them.
MAX_USERS_TOLD = 64
#: Sources told for one content; those among them that have only parts of it.
MAX_SOURCES_TOLD = 64
MAX_PARTIAL_TOLD = 32
#: Contents that a session may have parts of, as others are told.
MAX_PARTIALS = 256

Versions = Annotated[tuple[Annotated[int, Meta(ge=1, le=255)], ...], Meta(min_length=1, max_length=16)]
Features = Annotated[tuple[ShortText, ...], Meta(max_length=32)]
FileKind = Literal["audio", "video", "image", "document", "archive", "program"]
SortOrder = Literal["best", "sources", "size", "name"]


class Hello(Struct, frozen=True, tag="hello", tag_field="t"):
    """Both directions, first.  ``{"t":"hello","versions":[1],"agent":"napd/0.1.0","features":[]}``"""

    versions: Versions
    agent: ShortText
    features: Features = ()


# --- Peer to index -------------------------------------------------------------------------------


class Login(Struct, frozen=True, tag="login", tag_field="t"):
    """Peer → index: who this is, what it can be reached at, and which catalogue it holds.

    `credential` is absent in open login. `port` is the peer's listening port (0: does not listen);
    `advertise` are further addresses it believes to be reachable at.
    """

    user: UserName
    epoch: Hex64
    revision: Count
    digest: Hex64
    listings: Count
    bytes: Count
    port: Annotated[int, Meta(ge=0, le=65535)]
    advertise: Annotated[tuple[Address, ...], Meta(max_length=8)] = ()
    credential: LongText | None = None


class Announce(Struct, frozen=True, tag="announce", tag_field="t"):
    """Peer → index: one step of the catalogue, from revision `base` to `revision` of `epoch`.

    `reset` drops what the index held first (`base` is 0 then). The last step of a run carries `digest`, what the
    catalogue's digest is after it; listings and bytes are the whole catalogue's. Answered by `Ack` after commit, or
    `Resync`.
    """

    epoch: Hex64
    base: Count
    revision: Count
    add: Annotated[tuple[Entry, ...], Meta(max_length=MAX_BATCH)] = ()
    withdraw: Annotated[tuple[Entry, ...], Meta(max_length=MAX_BATCH)] = ()
    reset: bool = False
    digest: Hex64 | None = None


class Search(Struct, frozen=True, tag="search", tag_field="t", omit_defaults=True):
    """Peer → index: `query` is what the user typed, filters among the words; the other fields have to hold besides."""

    id: RequestId
    query: LongText
    ext: Annotated[tuple[ShortText, ...], Meta(max_length=16)] = ()
    type: FileKind | None = None
    min_size: Count | None = None
    max_size: Count | None = None
    min_bitrate: Count | None = None
    user: UserName | None = None
    sort: SortOrder = "best"
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 100
    cursor: ShortText | None = None


class Wish(Struct, frozen=True, tag="wish", tag_field="t", omit_defaults=True):
    """Peer → index: a search that stands: tell me what matches of all that is announced from now on.

    `wish` is the peer's own number for it; one that it has already is replaced. The other fields are a search's.
    """

    wish: RequestId
    query: LongText
    ext: Annotated[tuple[ShortText, ...], Meta(max_length=16)] = ()
    type: FileKind | None = None
    min_size: Count | None = None
    max_size: Count | None = None
    min_bitrate: Count | None = None
    user: UserName | None = None


class Unwish(Struct, frozen=True, tag="unwish", tag_field="t"):
    """Peer → index: these wishes stand no more."""

    wishes: Annotated[tuple[RequestId, ...], Meta(max_length=MAX_UNWISH_BATCH)]


class Slots(Struct, frozen=True, tag="slots", tag_field="t"):
    """Peer → index: so many uploads could begin now; until it is said, some could."""

    free: Annotated[int, Meta(ge=0, le=10_000)]


class Seek(Struct, frozen=True, tag="seek", tag_field="t"):
    """Peer → index: tell me who holds these, now and whenever it changes."""

    contents: Annotated[tuple[Hex64, ...], Meta(max_length=MAX_SEEK_BATCH)]


class Unseek(Struct, frozen=True, tag="unseek", tag_field="t"):
    """Peer → index: these are of no interest any more."""

    contents: Annotated[tuple[Hex64, ...], Meta(max_length=MAX_SEEK_BATCH)]


class Partial(Struct, frozen=True, tag="partial", tag_field="t", omit_defaults=True):
    """Peer → index: I have parts of `add`, and serve them; of `drop` no more, which goes first."""

    add: Annotated[tuple[Hex64, ...], Meta(max_length=MAX_PARTIALS)] = ()
    drop: Annotated[tuple[Hex64, ...], Meta(max_length=MAX_PARTIALS)] = ()


class Users(Struct, frozen=True, tag="users", tag_field="t"):
    """Peer → index: who is online; `words` filter by user name."""

    id: RequestId
    words: LongText = ""


# --- Index to peer -------------------------------------------------------------------------------


class Limits(Struct, frozen=True):
    """What the index allows this session. `wishes`: 0 from an index that knows none."""

    listings: Count
    searches_per_s: Number
    page: Count
    wishes: Count = 0


class Welcome(Struct, frozen=True, tag="welcome", tag_field="t"):
    """Index → peer: logged in. `epoch`, `revision`, `digest`: the catalogue that the index has of this account."""

    session: Count
    account: ShortText
    user: UserName
    groups: Annotated[tuple[ShortText, ...], Meta(max_length=64)]
    ticket: LongText
    time: Number
    observed: Address
    limits: Limits
    epoch: Hex64
    revision: Count
    digest: Hex64


class Ticket(Struct, frozen=True, tag="ticket", tag_field="t"):
    """Index → peer: a renewed ticket."""

    ticket: LongText


class Ack(Struct, frozen=True, tag="ack", tag_field="t"):
    """Index → peer: everything up to `revision` is committed and searchable."""

    epoch: Hex64
    revision: Count


class Resync(Struct, frozen=True, tag="resync", tag_field="t"):
    """Index → peer: the catalogues are out of step; send the full list (a reset from revision 0)."""

    reason: ShortText


class Result(Struct, frozen=True):
    """One content that matches, under the name that most of its online holders give it.

    `names`: how many different ones they give it, this one among them.
    """

    content: Hex64
    name: ShortText
    folder: LongText | None
    size: Count
    sources: Count
    users: Annotated[tuple[UserName, ...], Meta(max_length=MAX_USERS_TOLD)]
    type: FileKind | None
    media: dict[ShortText, Number] = field(default_factory=dict)
    names: Count = 1


class Results(Struct, frozen=True, tag="results", tag_field="t"):
    """Index → peer: a part of a search's page; `last` closes it, and only then the rest counts.

    `reason`: why nothing at all can match what was asked; there are no results then.
    """

    id: RequestId
    results: tuple[Result, ...]
    last: bool = True
    truncated: bool = False
    next: ShortText | None = None
    took_ms: Number = 0.0
    reason: ShortText | None = None


class Wished(Struct, frozen=True, tag="wished", tag_field="t"):
    """Index → peer: what was announced and matches a wish; without results: the answer to the `wish` itself.

    `more`: there is more than is told. `reason`: nothing can match the wish, so it is not held.
    """

    wish: RequestId
    results: Annotated[tuple[Result, ...], Meta(max_length=MAX_WISHED)] = ()
    more: bool = False
    reason: ShortText | None = None


class Source(Struct, frozen=True):
    """A peer that holds a content, and where to dial it, best address first; none: not reachable."""

    peer: PeerIdText
    user: UserName
    addresses: Annotated[tuple[Address, ...], Meta(max_length=16)]
    partial: bool = False


class Sources(Struct, frozen=True, tag="sources", tag_field="t"):
    """Index → peer: who holds a sought content *now*: the whole truth, replacing what was told before.

    `size` and `name` are what most holders of the whole claim; null when there is none. `everyone`: it may be served on
    to anybody.
    """

    content: Hex64
    sources: Annotated[tuple[Source, ...], Meta(max_length=MAX_SOURCES_TOLD)]
    size: Count | None = None
    name: ShortText | None = None
    everyone: bool = False


class UserRow(Struct, frozen=True):
    """An online user, as everyone may see it; `since` in seconds of index time."""

    user: UserName
    peer: PeerIdText
    listings: Count
    bytes: Count
    since: Number


class UserList(Struct, frozen=True, tag="user_list", tag_field="t"):
    """Index → peer: a part of the answer to `users`; `last` closes it."""

    id: RequestId
    users: tuple[UserRow, ...]
    last: bool = True


class Reachable(Struct, frozen=True, tag="reachable", tag_field="t"):
    """Index → peer: where its own dial-back reached this peer; empty: nowhere."""

    addresses: tuple[Address, ...]


# --- Both directions -----------------------------------------------------------------------------


class Ping(Struct, frozen=True, tag="ping", tag_field="t"):
    """Either end, every `HEARTBEAT_S`; the index adds its time in seconds since 1970."""

    time: Number | None = None


class Pong(Struct, frozen=True, tag="pong", tag_field="t"):
    """The answer to a ping."""


class Error(Struct, frozen=True, tag="error", tag_field="t"):
    """A request could not be served; the connection stays."""

    code: ShortText
    message: LongText
    id: RequestId | None = None


class Bye(Struct, frozen=True, tag="bye", tag_field="t"):
    """The connection ends, and why.

    Codes: ``name_taken``, ``bad_name``, ``bad_credential``, ``banned``, ``replaced``, ``version``, ``malformed``,
    ``limit``, ``shutdown``. After ``replaced`` and every refusal the peer does not come back by itself.
    """

    code: ShortText
    message: LongText


#: Codes of `Bye` after which a peer stops trying: a person has to act.
FINAL_CODES = frozenset({"name_taken", "bad_name", "bad_credential", "banned", "replaced", "version"})

FromPeer = (
    Hello
    | Login
    | Announce
    | Search
    | Wish
    | Unwish
    | Slots
    | Seek
    | Unseek
    | Partial
    | Users
    | Ping
    | Pong
    | Error
    | Bye
)
FromIndex = (
    Hello
    | Welcome
    | Ticket
    | Ack
    | Resync
    | Results
    | Wished
    | Sources
    | UserList
    | Reachable
    | Ping
    | Pong
    | Error
    | Bye
)

decode_from_peer = decoder_for(
    Hello, Login, Announce, Search, Wish, Unwish, Slots, Seek, Unseek, Partial, Users, Ping, Pong, Error, Bye
).decode
decode_from_index = decoder_for(
    Hello, Welcome, Ticket, Ack, Resync, Results, Wished, Sources, UserList, Reachable, Ping, Pong, Error, Bye
).decode
