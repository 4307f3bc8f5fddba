"""What `napctl index` prints of an index, as JSON (docs/reference/json.md)."""

from __future__ import annotations

from msgspec import Struct

from .documents import SCHEMA


class KnownTotals(Struct, frozen=True):
    """What an index remembers, online or not."""

    accounts: int
    listings: int
    items: int
    contents: int


class EngineTotals(Struct, frozen=True):
    """What an index's search engine has in memory: distinct entries, and distinct words of their names."""

    items: int
    terms: int


class IndexNode(Struct, frozen=True):
    """A process of an index of several. `lease_s`: left of its lease; `here`: it is the one that was asked."""

    node: int
    name: str
    since: str
    lease_s: float
    peers: int
    here: bool


class IndexStatusDocument(Struct, frozen=True):
    """`peers`, `listings`, `contents`, `bytes`: what is online. `known` is null while the database does not answer.

    So is `nodes`; it is empty where there is but one process.
    """

    index: str
    version: str
    peers: int
    listings: int
    contents: int
    bytes: int
    searches: int
    listen: str
    database: str
    uptime_s: float
    known: KnownTotals | None = None
    engine: EngineTotals | None = None
    wishes: int = 0
    database_bytes: int | None = None
    memory_bytes: int | None = None
    nodes: list[IndexNode] | None = None
    schema: int = SCHEMA
