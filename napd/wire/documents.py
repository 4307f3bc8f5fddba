"""The JSON documents that `napctl --json` prints: keys fixed by schema version 1 (docs/reference/json.md).

The daemon builds them, the control socket carries them, `napctl` renders them. Sizes in bytes, times RFC 3339
UTC, absent is null, each document has ``"schema": 1``. Keys are never renamed within a schema version.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

SCHEMA = 1


class Problem(Struct, frozen=True):
    """Why a download failed: a stable code and a sentence."""

    code: str
    message: str


class ErrorBody(Struct, frozen=True):
    code: str
    message: str
    hint: str | None = None


class ErrorDocument(Struct, frozen=True):
    error: ErrorBody
    schema: int = SCHEMA


class SearchResult(Struct, frozen=True):
    n: int
    content: str
    name: str
    folder: str | None
    size: int
    sources: int
    users: tuple[str, ...]
    type: str | None
    media: dict[str, float]
    names: int = 1


class SearchDocument(Struct, frozen=True):
    query: str
    results: list[SearchResult]
    truncated: bool
    next: str | None
    took_ms: float
    reason: str | None = None
    schema: int = SCHEMA


class Download(Struct, frozen=True):
    id: int
    content: str
    name: str
    size: int | None
    state: str
    priority: str
    position: int | None
    bytes_done: int
    bytes_received: int
    bytes_per_s: float
    eta_s: float | None
    sources: int
    path: str | None
    error: Problem | None
    added: str
    finished: str | None
    sequential: bool = False


class PartError(Struct, frozen=True):
    """One subject of a command that was only partly done."""

    subject: str
    code: str
    message: str


class DownloadsDocument(Struct, frozen=True, omit_defaults=False):
    """Of `queue`, `get`, `wait` and every change of the queue; `errors` is there only when partly done."""

    downloads: list[Download]
    schema: int = SCHEMA


class PartlyDocument(Struct, frozen=True):
    downloads: list[Download]
    errors: list[PartError]
    schema: int = SCHEMA


class BytesDocument(Struct, frozen=True):
    """Some verified bytes of a content; base64 in JSON."""

    offset: int
    data: bytes
    schema: int = SCHEMA


class CatDocument(Struct, frozen=True):
    """The end of `cat`: so many bytes were said, and they are the content's from `offset` to its end."""

    id: int
    offset: int
    bytes: int
    schema: int = SCHEMA


class SourceScore(Struct, frozen=True):
    """What a source is expected to give, and the parts of which that is made."""

    bytes_per_s: float
    measured: bool
    pace_bytes_per_s: float
    rtt_ms: float
    queue_s: float
    reliability: float


class SourceRow(Struct, frozen=True):
    """`state`: active, queued, connecting, idle, backing_off, unreachable, banned; `why` says it in words.

    `retry_in_s`: when it is tried again; `longest_wait_s`: what that wait can grow to.
    """

    user: str
    peer: str
    state: str
    bytes_per_s: float
    rtt_ms: float | None
    queue_position: int | None
    why: str
    queue_estimate_s: float | None = None
    score: SourceScore | None = None
    retry_in_s: float | None = None
    longest_wait_s: float | None = None


class SourcesDocument(Struct, frozen=True):
    id: int
    sources: list[SourceRow]
    schema: int = SCHEMA


class UploadRow(Struct, frozen=True):
    user: str
    content: str
    name: str
    state: str
    position: int | None
    bytes_sent: int
    bytes_per_s: float
    estimate_s: float | None = None


class UploadsDocument(Struct, frozen=True):
    uploads: list[UploadRow]
    schema: int = SCHEMA


class Skipped(Struct, frozen=True):
    path: str
    reason: str


class ShareRow(Struct, frozen=True):
    """`skipped` lists at most 100 files; `skipped_count` counts all."""

    name: str
    directory: str
    audience: list[str]
    listings: int
    bytes: int
    hashing: int
    state: str
    skipped: list[Skipped]
    skipped_count: int = 0


class SharesDocument(Struct, frozen=True):
    shares: list[ShareRow]
    schema: int = SCHEMA


class CheckDocument(Struct, frozen=True):
    """Of `share check PATH`: whether others can get this path, and why not."""

    path: str
    shared: bool
    share: str | None
    reason: str | None
    content: str | None = None
    size: int | None = None
    schema: int = SCHEMA


class WishRow(Struct, frozen=True):
    """`state`: standing (the index tells at once), searched (now and then), offline, refused (see `error`).

    `found` counts contents; `last` is when the last of them was.
    """

    id: int
    query: str
    get: bool
    added: str
    found: int
    last: str | None
    state: str
    error: Problem | None = None
    ext: tuple[str, ...] = ()
    type: str | None = None
    min_size: int | None = None
    max_size: int | None = None
    min_bitrate: int | None = None
    user: str | None = None


class WishesDocument(Struct, frozen=True):
    """Of `wish list` and every change of the wishes."""

    wishes: list[WishRow]
    schema: int = SCHEMA


class PartlyWishesDocument(Struct, frozen=True):
    wishes: list[WishRow]
    errors: list[PartError]
    schema: int = SCHEMA


class FindRow(Struct, frozen=True):
    """What was found for a wish, as others call it; `download`: the id under which it was queued."""

    wish: int
    content: str
    name: str
    size: int
    time: str
    download: int | None = None


class FindsDocument(Struct, frozen=True):
    """Of `wish found`, the latest last."""

    finds: list[FindRow]
    schema: int = SCHEMA


class UserRow(Struct, frozen=True):
    user: str
    peer: str
    listings: int
    bytes: int
    since: str


class UsersDocument(Struct, frozen=True):
    users: list[UserRow]
    schema: int = SCHEMA


class IndexLink(Struct, frozen=True):
    state: str
    address: str
    since: str | None
    error: str | None


class ShareTotals(Struct, frozen=True):
    listings: int
    bytes: int
    hashing: int


class DownloadTotals(Struct, frozen=True):
    active: int
    queued: int
    waiting: int
    paused: int
    failed: int


class UploadTotals(Struct, frozen=True):
    active: int
    queued: int


class Rates(Struct, frozen=True):
    down_bytes_per_s: float
    up_bytes_per_s: float


class StatusDocument(Struct, frozen=True):
    user: str
    peer: str
    version: str
    index: IndexLink
    shares: ShareTotals
    downloads: DownloadTotals
    uploads: UploadTotals
    rates: Rates
    listen: str
    reachable: bool | None
    uptime_s: float
    schema: int = SCHEMA


class VersionDocument(Struct, frozen=True):
    """The daemon fills `daemon` and `protocol`; napctl adds `client`."""

    client: str
    daemon: str
    protocol: int
    schema: int = SCHEMA


class WhoamiDocument(Struct, frozen=True):
    user: str
    peer: str
    index: str | None
    groups: list[str]
    schema: int = SCHEMA


class LimitDocument(Struct, frozen=True):
    """Rates in bytes per second, null for no limit; `slots` concurrent uploads, `downloads` active downloads."""

    up: float | None
    down: float | None
    slots: int
    downloads: int
    schema: int = SCHEMA


class DoneDocument(Struct, frozen=True):
    """Of a command whose outcome needs no more words (shutdown, reload, rescan)."""

    message: str
    schema: int = SCHEMA


class EventDocument(Struct, frozen=True):
    """Not sent as such: an event's own fields stand beside these three."""

    id: int
    time: str
    event: str
    fields: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA
