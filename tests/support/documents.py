"""Documents as the daemons send them, for tests of what shows them. Names are as hostile as names get."""

from __future__ import annotations

from typing import Any

#: The moment that ages in these documents are told from: 2026-01-02T03:04:05Z.
NOW = 1767323045.0

PEER = "kz3pq7wm2v5hx4nd6ybt" + "a" * 32
OTHER_PEER = "b" * 52
CONTENT = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

#: A terminal must get none of it as it is: an escape sequence, a new line, a tab, a reversed text.
HOSTILE = "\x1b[31mred\x1b[0m\n\tsneaky \u202egpj.exe"
#: Wide and combining characters, an emoji of several code points, rich's markup, quotes.
WIDE = "日本語 cafe\u0301 👩\u200d🚀 [bold]not markup[/bold] 'quoted'.mp3"


def download(id: int, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "id": id,
        "content": CONTENT,
        "name": "big file.bin",
        "size": 64_200_000,
        "state": "queued",
        "priority": "normal",
        "position": id,
        "bytes_done": 0,
        "bytes_received": 0,
        "bytes_per_s": 0.0,
        "eta_s": None,
        "sources": 1,
        "path": None,
        "error": None,
        "added": "2026-01-02T03:00:00.000Z",
        "finished": None,
        "sequential": False,
    }
    return values | changes


def downloads(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"schema": 1, "downloads": list(rows), **more}


def done(id: int, **changes: Any) -> dict[str, Any]:
    ended = {
        "state": "done",
        "position": None,
        "bytes_done": 64_200_000,
        "bytes_received": 64_200_000,
        "path": "/srv/downloads/big file.bin",
        "finished": "2026-01-02T03:04:00.000Z",
    }
    return download(id, **(ended | changes))


def failed(id: int, code: str = "disk", message: str = "the disk failed", **changes: Any) -> dict[str, Any]:
    ended = {"state": "failed", "position": None, "error": {"code": code, "message": message}}
    return download(id, **(ended | changes))


QUEUE = downloads(
    download(3, state="active", priority="urgent", position=1, bytes_done=27_000_000, bytes_received=27_000_000,
             bytes_per_s=12_345_678.9, eta_s=3.2, sources=2),
    download(12, position=2, name=WIDE, size=1_500_000_000),
    download(13, state="waiting", position=3, name=CONTENT, size=None, sources=0),
    download(14, state="paused", priority="low", position=4, name=HOSTILE, bytes_done=64_199_999),
    failed(4, "no_space", "no space left in /srv/downloads", name="-rf"),
    done(2),
    download(5, state="cancelled", position=None, priority="high", name="a" * 255),
)  # fmt: skip

SEARCH: dict[str, Any] = {
    "schema": 1,
    "query": "moon",
    "results": [
        {
            "n": 1, "content": CONTENT, "name": "moon.flac", "folder": "albums/dark side", "size": 31_400_000,
            "sources": 3, "users": ["ann", "bob", "carol"], "type": "audio",
            "media": {"duration_s": 225.4, "bitrate_kbps": 1011}, "names": 2,
        },
        {
            "n": 2, "content": "ab" * 32, "name": WIDE, "folder": None, "size": 0, "sources": 1, "users": ["bob"],
            "type": None, "media": {}, "names": 1,
        },
        {
            "n": 3, "content": "cd" * 32, "name": HOSTILE, "folder": "x/\x1b]0;title\x07", "size": 999_999,
            "sources": 1, "users": ["ann"], "type": "video", "media": {"width": 1920, "height": 1080}, "names": 1,
        },
    ],
    "truncated": True,
    "next": "eyJhIjoxfQ",
    "took_ms": 3.1415,
    "reason": None,
}  # fmt: skip

SOURCES: dict[str, Any] = {
    "schema": 1,
    "id": 3,
    "sources": [
        {"user": "ann", "peer": PEER, "state": "active", "bytes_per_s": 12_000_000.0, "rtt_ms": 0.4,
         "queue_position": None, "why": "serves 16 chunks in flight", "queue_estimate_s": None},
        {"user": "bob", "peer": OTHER_PEER, "state": "backing_off", "bytes_per_s": 0.0, "rtt_ms": None,
         "queue_position": 2, "why": "192.0.2.1:6699 refused; tried again in 8 s",
         "queue_estimate_s": 12.5},
    ],
}  # fmt: skip

UPLOADS: dict[str, Any] = {
    "schema": 1,
    "uploads": [
        {"user": "bob", "content": CONTENT, "name": "big file.bin", "state": "active", "position": None,
         "bytes_sent": 1_048_576, "bytes_per_s": 5_000_000.0, "estimate_s": None},
        {"user": "carol", "content": CONTENT, "name": HOSTILE, "state": "queued", "position": 1,
         "bytes_sent": 0, "bytes_per_s": 0.0, "estimate_s": 130.5},
    ],
}  # fmt: skip

SHARES: dict[str, Any] = {
    "schema": 1,
    "shares": [
        {"name": "Music", "directory": "/srv/Music", "audience": ["everyone"], "listings": 1204,
         "bytes": 64_200_000_000, "hashing": 12, "state": "scanning",
         "skipped": [{"path": ".hidden", "reason": "hidden"}, {"path": HOSTILE, "reason": "not readable"}],
         "skipped_count": 14},
        {"name": "disk2", "directory": "/mnt/disk2", "audience": ["staff", "@ann"], "listings": 1, "bytes": 12,
         "hashing": 0, "state": "unavailable", "skipped": [], "skipped_count": 0},
    ],
}  # fmt: skip

CHECK: dict[str, Any] = {
    "schema": 1, "path": "/srv/Music/.hidden", "shared": False, "share": "Music", "reason": "hidden",
    "content": None, "size": None,
}  # fmt: skip

WISHES: dict[str, Any] = {
    "schema": 1,
    "wishes": [
        {
            "id": 1,
            "query": "moon river",
            "get": False,
            "added": "2026-01-01T03:04:05.000Z",
            "found": 1204,
            "last": "2026-01-02T03:01:05.000Z",
            "state": "standing",
            "error": None,
            "ext": ["flac", "mp3"],
            "type": None,
            "min_size": None,
            "max_size": None,
            "min_bitrate": None,
            "user": None,
        },
        {
            "id": 2,
            "query": HOSTILE,
            "get": True,
            "added": "2026-01-02T03:04:05.000Z",
            "found": 0,
            "last": None,
            "state": "refused",
            "error": {"code": "usage", "message": "mp3 is no video"},
            "ext": ["mp3"],
            "type": "video",
            "min_size": 1000,
            "max_size": 2_000_000,
            "min_bitrate": 256,
            "user": "bob",
        },
    ],
}

FINDS: dict[str, Any] = {
    "schema": 1,
    "finds": [
        {
            "wish": 1,
            "content": CONTENT,
            "name": WIDE,
            "size": 31_400_000,
            "time": "2026-01-02T03:01:05.000Z",
            "download": None,
        },
        {
            "wish": 2,
            "content": CONTENT[::-1],
            "name": HOSTILE,
            "size": 5,
            "time": "2026-01-02T03:04:00.000Z",
            "download": 12,
        },
    ],
}

USERS: dict[str, Any] = {
    "schema": 1,
    "users": [
        {"user": "ann", "peer": PEER, "listings": 1204, "bytes": 64_200_000_000, "since": "2026-01-02T01:00:00Z"},
        {"user": "bob", "peer": OTHER_PEER, "listings": 0, "bytes": 0, "since": "2026-01-02T03:04:00Z"},
    ],
}

STATUS: dict[str, Any] = {
    "schema": 1,
    "user": "ann",
    "peer": PEER,
    "version": "0.1.0",
    "index": {"state": "online", "address": "index.lan:6699", "since": "2026-01-02T01:00:00Z", "error": None},
    "shares": {"listings": 1205, "bytes": 64_200_000_012, "hashing": 12},
    "downloads": {"active": 1, "queued": 1, "waiting": 1, "paused": 1, "failed": 1},
    "uploads": {"active": 1, "queued": 1},
    "rates": {"down_bytes_per_s": 12_345_678.9, "up_bytes_per_s": 5_000_000.0},
    "listen": "192.0.2.7:41231",
    "reachable": True,
    "uptime_s": 7443.2,
}

INDEX_STATUS: dict[str, Any] = {
    "schema": 1, "index": PEER, "version": "0.1.0", "peers": 3, "listings": 2410, "contents": 1205,
    "bytes": 128_400_000_024, "searches": 17, "listen": "0.0.0.0:6699", "database": "sqlite", "uptime_s": 59.9,
    "known": {"accounts": 12, "listings": 9310, "items": 4520, "contents": 4100},
    "engine": {"items": 4520, "terms": 12_345}, "wishes": 1,
    "database_bytes": 12_300_288, "memory_bytes": 81_264_640,
}  # fmt: skip

NODES: list[dict[str, Any]] = [
    {
        "node": 7,
        "name": "one.example:6699",
        "since": "2025-12-21T03:04:05.000Z",
        "lease_s": 12.1,
        "peers": 1204,
        "here": True,
    },
    {"node": 9, "name": HOSTILE, "since": "2026-01-02T00:00:00.000Z", "lease_s": -6.2, "peers": 1, "here": False},
]

VERSION: dict[str, Any] = {"schema": 1, "client": "", "daemon": "0.1.0", "protocol": 1}
WHOAMI: dict[str, Any] = {"schema": 1, "user": "ann", "peer": PEER, "index": None, "groups": []}
LIMITS: dict[str, Any] = {"schema": 1, "up": 2_000_000.0, "down": None, "slots": 4, "downloads": 3}
STOPPING: dict[str, Any] = {"schema": 1, "message": "nappeer stops"}

EVENTS: list[dict[str, Any]] = [
    {"schema": 1, "id": 1767323045000001, "time": "2026-01-02T03:04:05.000Z", "event": "download.finished",
     "level": "info", "message": "Complete, synced, under its final name.", "download": 3, "name": "big file.bin"},
    {"schema": 1, "id": 1767323045000002, "time": "2026-01-02T03:04:05.001Z", "event": "peer.misbehaved",
     "level": "warn", "message": HOSTILE, "peer": OTHER_PEER},
    {"schema": 1, "id": 1767323045000003, "time": "2026-01-02T03:04:05.002Z", "event": "wish.found",
     "level": "info", "message": "Wish 1 (moon): moon.flac", "wish": 1, "users": ["ann", "bob"]},
]  # fmt: skip

CODES = ("usage", "not_found", "denied", "unreachable", "timeout", "integrity", "no_space", "disk", "whatever")

PIECES = [{"schema": 1, "offset": 0, "data": "bW9v"}, {"schema": 1, "offset": 3, "data": "bgD/"}]
CAT = {"schema": 1, "id": 3, "offset": 0, "bytes": 6}
