"""The daemons themselves: status, version, limits, events."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from napd.wire.documents import (
    DoneDocument,
    IndexLink,
    LimitDocument,
    StatusDocument,
    VersionDocument,
)
from napd.wire.index_documents import EngineTotals, IndexNode, IndexStatusDocument, KnownTotals

from ..page import Cell, Page, facts
from ..text import age_text, count_text, moment, rate_text, size_text, span_text, visible

_LINK_COLOURS = {"online": "green", "connecting": "yellow", "offline": "red", "refused": "red"}
_LEVEL_COLOURS = {"warn": "yellow", "error": "red", "debug": "dim"}
_REACHABLE = {True: "reachable from outside", False: "not reachable from outside", None: "reachability not known yet"}
#: Content ids and peer ids: on a terminal their beginning is enough to tell them apart.
_ID = re.compile("[0-9a-f]{64}|[a-z2-7]{52}")
_SHORT_ID = 12
#: Keys of an event that its line has a place for.
_PLACED = frozenset({"schema", "id", "time", "event", "level", "message"})


def status(document: StatusDocument, page: Page) -> list[str]:
    shares, downloads, uploads, rates = document.shares, document.downloads, document.uploads, document.rates
    hashing = f", {count_text(shares.hashing, 'file')} to hash" if shares.hashing else ""
    reach = _REACHABLE[document.reachable]
    return facts(
        page,
        [
            ("user", Cell(document.user, "bold")),
            ("peer", document.peer),
            ("index", _link(document.index, page)),
            ("shares", f"{count_text(shares.listings, 'file')}, {size_text(shares.bytes)}{hashing}"),
            (
                "downloads",
                _counts(
                    downloads.active,
                    "active",
                    downloads.queued,
                    "queued",
                    downloads.waiting,
                    "waiting",
                    downloads.paused,
                    "paused",
                    downloads.failed,
                    "failed",
                ),
            ),
            ("uploads", _counts(uploads.active, "active", uploads.queued, "queued")),
            ("rates", f"down {rate_text(rates.down_bytes_per_s)}, up {rate_text(rates.up_bytes_per_s)}"),
            ("listens", Cell(f"{document.listen}, {reach}", "yellow" if document.reachable is False else None)),
            ("daemon", f"version {document.version}, up {span_text(document.uptime_s)}"),
        ],
    )


def _link(link: IndexLink, page: Page) -> Cell:
    since = f" for {age_text(link.since, page.now)}" if link.since is not None else ""
    # Most errors begin with the address that failed.
    named = link.error is not None and link.address in link.error
    address = "" if named else f", {link.address}"
    error = f": {link.error}" if link.error else ""
    return Cell(f"{link.state}{since}{address}{error}", _LINK_COLOURS.get(link.state))


def _counts(*pairs: int | str) -> str:
    """`2 active, 5 queued`: what is not 0, or the first word with its 0."""
    counted = list(zip(pairs[::2], pairs[1::2], strict=True))
    return ", ".join(f"{number:,} {word}" for number, word in counted if number) or f"0 {counted[0][1]}"


def index_status(document: IndexStatusDocument, page: Page) -> list[str]:
    memory = _sized(document.memory_bytes, " of memory")
    return facts(
        page,
        [
            ("index", Cell(document.index, "bold")),
            ("peers", f"{document.peers:,} online"),
            (
                "listings",
                f"{document.listings:,} of {count_text(document.contents, 'content')}, {size_text(document.bytes)}",
            ),
            ("known", _known(document.known)),
            ("searches", f"{document.searches:,}, {count_text(document.wishes, 'wish', 'wishes')} held"),
            ("engine", _engine(document.engine)),
            ("listens", document.listen),
            ("database", f"{document.database}{_sized(document.database_bytes)}"),
            *(("" if n else "nodes", _node(node, page)) for n, node in enumerate(document.nodes or ())),
            ("daemon", f"version {document.version}, up {span_text(document.uptime_s)}{memory}"),
        ],
    )


def _node(node: IndexNode, page: Page) -> Cell:
    here = ", this one" if node.here else ""
    place = f"{node.node} at {node.name}{here}: {count_text(node.peers, 'peer')}, up {age_text(node.since, page.now)}"
    if node.lease_s > 0:
        return Cell(place)
    return Cell(f"{place}, its lease is over for {span_text(-node.lease_s)}", "yellow")


def _known(known: KnownTotals | None) -> str:
    if known is None:
        return "the database does not answer"
    offered = f"{count_text(known.listings, 'listing')} of {count_text(known.contents, 'content')}"
    return f"{count_text(known.accounts, 'user')}, {offered}"


def _engine(engine: EngineTotals | None) -> str:
    if engine is None:
        return "?"
    return f"{count_text(engine.items, 'entry', 'entries')}, {count_text(engine.terms, 'word')}"


def _sized(size: int | None, of: str = "") -> str:
    return "" if size is None else f", {size_text(size)}{of}"


def version(document: VersionDocument, page: Page) -> list[str]:
    return facts(
        page,
        [("napctl", document.client), ("daemon", document.daemon), ("protocol", str(document.protocol))],
    )


def limits(document: LimitDocument, page: Page) -> list[str]:
    return facts(
        page,
        [
            ("up", _limit(document.up)),
            ("down", _limit(document.down)),
            ("slots", f"{count_text(document.slots, 'upload')} at once"),
            ("downloads", f"{count_text(document.downloads, 'download')} at once"),
        ],
    )


def _limit(rate: float | None) -> str:
    return f"{size_text(rate)}/s" if rate else "no limit"


def done(document: DoneDocument, page: Page) -> list[str]:
    return [visible(document.message)]


def event(document: Mapping[str, Any], page: Page) -> str:
    """`2026-01-02 03:04:05  download.finished  Complete. name=a.txt bytes=12  #17`, in local time."""
    level = str(document.get("level", ""))
    colour = _LEVEL_COLOURS.get(level)
    fields = " ".join(
        f"{visible(str(key))}={_value(value, short=page.width is not None)}"
        for key, value in document.items()
        if key not in _PLACED
    )
    message = visible(str(document.get("message") or ""))
    name = visible(str(document.get("event", "")))
    parts = [
        page.paint(_local(str(document.get("time", ""))), "dim"),
        page.paint(f"{name:<24}", colour or "bold"),
        page.paint(message, colour),
        page.paint(fields, "dim"),
        page.paint(f"#{document.get('id', '')}", "dim"),
    ]
    return " ".join(part for part in parts if part)


def _local(time: str) -> str:
    try:
        return datetime.fromtimestamp(moment(time)).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return visible(time)


def _value(value: Any, *, short: bool) -> str:
    text = visible(",".join(map(str, value)) if isinstance(value, list) else str(value))
    if short and _ID.fullmatch(text):
        return f"{text[:_SHORT_ID]}…"
    return f'"{text}"' if " " in text or not text else text
