"""The control protocol: JSON-RPC 2.0, one object per line, over the UNIX socket (docs/reference/control-protocol.md).

::

    → {"jsonrpc":"2.0","id":1,"method":"queue.list","params":{"selector":"active"}}
    ← {"jsonrpc":"2.0","id":1,"result":{"schema":1,"downloads":[…]}}
    ← {"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"…","data":{"code":"not_found","hint":null}}}

Lines may be up to `MAX_LINE_BYTES` here: the socket is the owner's own. A method with `follow` or `watch` in it pushes
notifications ``{"jsonrpc":"2.0","method":"event","params":{…}}`` *before* its reply; the reply ends the stream.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from ..errors import NapError
from ..model import Priority
from .index import FileKind, SortOrder
from .line import Count

#: Lines on the control socket hold whole documents: 10,000 downloads are some 5 MB.
MAX_LINE_BYTES = 64 << 20
PROTOCOL = 1

Selectors = Annotated[tuple[str, ...], Meta(min_length=1, max_length=10_000)]
MAX_CONTROL_REQUESTS = 256


class Request(Struct, frozen=True):
    """`id` null or absent makes it a notification, which gets no reply."""

    method: str
    jsonrpc: Literal["2.0"] = "2.0"
    id: int | str | None = None
    params: msgspec.Raw = msgspec.Raw(b"{}")


# --- Parameters, one class per method; the method's name is the tag in METHODS -----------------------


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters."""


class SearchParams(Struct, frozen=True, forbid_unknown_fields=True):
    query: str
    ext: tuple[str, ...] = ()
    type: FileKind | None = None
    min_size: Count | None = None
    max_size: Count | None = None
    min_bitrate: Count | None = None
    user: str | None = None
    sort: SortOrder = "best"
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    page: str | None = None


class GetParams(Struct, frozen=True, forbid_unknown_fields=True):
    """`results` are RESULT arguments as typed (``3``, ``1,4-6``, hex); `to` an absolute directory.

    `sequential`: from the beginning to the end, for somebody who reads while it comes.
    """

    results: Selectors
    priority: Priority | None = None
    to: str | None = None
    name: str | None = None
    sequential: bool = False


class Selection(Struct, frozen=True, forbid_unknown_fields=True):
    """SELECTOR arguments as typed."""

    selectors: Selectors


class ListParams(Struct, frozen=True, forbid_unknown_fields=True):
    selectors: tuple[str, ...] = ()


class PriorityParams(Struct, frozen=True, forbid_unknown_fields=True):
    selectors: Selectors
    priority: Priority


class MoveParams(Struct, frozen=True, forbid_unknown_fields=True):
    """`to` is top, up, down, bottom or a position from 1 within the priority."""

    selectors: Selectors
    to: str


class SourcesParams(Struct, frozen=True, forbid_unknown_fields=True):
    id: Annotated[int, Meta(ge=1)]


class CatParams(Struct, frozen=True, forbid_unknown_fields=True):
    """Pushes ``bytes`` notifications (a BytesDocument each) from `offset` on, in order, until all are said."""

    id: Annotated[int, Meta(ge=1)]
    offset: Count = 0


class WaitParams(Struct, frozen=True, forbid_unknown_fields=True):
    """`timeout_s` null waits for ever."""

    selectors: Selectors
    timeout_s: Annotated[float, Meta(ge=0, le=1e9)] | None = None


class WatchParams(Struct, frozen=True, forbid_unknown_fields=True):
    """Pushes ``downloads`` notifications (a DownloadsDocument each) every `every_s` until all have ended."""

    selectors: tuple[str, ...] = ()
    every_s: Annotated[float, Meta(ge=0.1, le=60)] = 0.5


class EventsParams(Struct, frozen=True, forbid_unknown_fields=True):
    """Pushes ``event`` notifications: those after `since` (null: the remembered ones), then live ones if `follow`."""

    follow: bool = False
    since: int | None = None
    type: str | None = None


class ShareAddParams(Struct, frozen=True, forbid_unknown_fields=True):
    directory: str
    name: str | None = None
    audience: tuple[str, ...] = ()


class ShareNameParams(Struct, frozen=True, forbid_unknown_fields=True):
    name: str


class ShareRescanParams(Struct, frozen=True, forbid_unknown_fields=True):
    name: str | None = None


class ShareCheckParams(Struct, frozen=True, forbid_unknown_fields=True):
    path: str


class UsersParams(Struct, frozen=True, forbid_unknown_fields=True):
    words: str = ""


class WishAddParams(Struct, frozen=True, forbid_unknown_fields=True):
    """As `SearchParams`; `get`: what is found is queued."""

    query: str
    ext: tuple[str, ...] = ()
    type: FileKind | None = None
    min_size: Count | None = None
    max_size: Count | None = None
    min_bitrate: Count | None = None
    user: str | None = None
    get: bool = False


class WishFoundParams(Struct, frozen=True, forbid_unknown_fields=True):
    """`selectors`: wish ids as typed (``3``, ``1,4-6``, ``all``), none for all; at most the latest `limit` finds."""

    selectors: tuple[str, ...] = ()
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class LimitParams(Struct, frozen=True, forbid_unknown_fields=True):
    """What is absent stays; a rate of 0 takes the limit away."""

    up: Annotated[float, Meta(ge=0, le=1e15)] | None = None
    down: Annotated[float, Meta(ge=0, le=1e15)] | None = None
    slots: Annotated[int, Meta(ge=0, le=1000)] | None = None
    downloads: Annotated[int, Meta(ge=0, le=1000)] | None = None


#: Methods that both daemons answer.
COMMON_METHODS: dict[str, type[Struct]] = {
    "version": Nothing,
    "status": Nothing,
    "events": EventsParams,
    "reload": Nothing,
    "shutdown": Nothing,
}

#: Methods of the peer's socket.
PEER_METHODS: dict[str, type[Struct]] = COMMON_METHODS | {
    "search": SearchParams,
    "get": GetParams,
    "queue.list": ListParams,
    "queue.pause": Selection,
    "queue.resume": Selection,
    "queue.retry": Selection,
    "queue.cancel": Selection,
    "queue.priority": PriorityParams,
    "queue.move": MoveParams,
    "queue.clear": Nothing,
    "queue.wait": WaitParams,
    "queue.watch": WatchParams,
    "sources": SourcesParams,
    "cat": CatParams,
    "uploads": Nothing,
    "share.list": Nothing,
    "share.add": ShareAddParams,
    "share.remove": ShareNameParams,
    "share.rescan": ShareRescanParams,
    "share.check": ShareCheckParams,
    "users": UsersParams,
    "whoami": Nothing,
    "limit": LimitParams,
    "wish.add": WishAddParams,
    "wish.list": Nothing,
    "wish.remove": Selection,
    "wish.found": WishFoundParams,
}

#: Methods of the index's socket; `index.status` and plain `status` are the same.
INDEX_METHODS: dict[str, type[Struct]] = COMMON_METHODS | {
    "index.status": Nothing,
    "index.users": UsersParams,
}

# JSON-RPC's own error numbers; everything of ours is SERVER_ERROR with a code in `data`.
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
SERVER_ERROR = -32000

_encode = msgspec.json.Encoder().encode


def result_line(request_id: int | str | None, document: Any) -> bytes:
    return _encode({"jsonrpc": "2.0", "id": request_id, "result": document}) + b"\n"


def notification_line(method: str, document: Any) -> bytes:
    return _encode({"jsonrpc": "2.0", "method": method, "params": document}) + b"\n"


def error_line(request_id: int | str | None, error: NapError, number: int = SERVER_ERROR) -> bytes:
    body = {
        "code": number,
        "message": error.message,
        "data": {"code": error.code, "hint": error.hint},
    }
    return _encode({"jsonrpc": "2.0", "id": request_id, "error": body}) + b"\n"


def request_line(request_id: int, method: str, params: dict[str, Any]) -> bytes:
    body = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
    return _encode(body) + b"\n"
