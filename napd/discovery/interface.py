"""What a peer needs to know from outside: who holds a content, who is online, what matches a search."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from enum import StrEnum
from typing import Protocol

from attrs import frozen

from ..errors import NapError
from ..model import ContentId, PeerId
from ..wire import index as wire
from ..wire.catalogue import Entry
from ..wire.control import SearchParams
from ..wire.ticket import Claims


class LinkState(StrEnum):
    """Where the way to the index stands; the words of `napctl status`."""

    ONLINE = "online"
    CONNECTING = "connecting"
    OFFLINE = "offline"
    REFUSED = "refused"


@frozen
class LinkStatus:
    """`since` (seconds since 1970): when this state began; `error`: why it is not online."""

    state: LinkState
    address: str
    since: float | None = None
    error: str | None = None


@frozen
class Holder:
    """A peer that holds a content, and the addresses to try in turn (HOST:PORT).

    `partial`: it is fetching the content, and serves what it has of it.
    """

    peer: PeerId
    user: str
    addresses: tuple[str, ...]
    partial: bool = False


@frozen
class Holders:
    """All that is known of one content from outside: who holds it, and what most of them call it.

    `everyone`: it is offered to everyone, so who fetches it may serve on what it has of it.
    """

    content: ContentId
    holders: tuple[Holder, ...]
    size: int | None
    name: str | None
    everyone: bool = False


@frozen
class Identity:
    """Who this daemon is to the others."""

    user: str
    account: str | None
    groups: tuple[str, ...]
    index: PeerId | None


class Seeker(Protocol):
    """Told what changes outside; implemented by the peer's downloads."""

    def holders_changed(self, found: Holders) -> None:
        """This content's holders are now these: the whole truth, replacing what was told before."""

    def discovery_lost(self) -> None:
        """The index cannot be asked now; what was told last may be out of date, and stays in use."""


class Wisher(Protocol):
    """Told of what it wishes for; implemented by `peer.wishes`."""

    def wishes_open(self, held: frozenset[int], searches_per_s: float) -> None:
        """Logged in. The index tells of these as they are announced; the others must be searched for.

        `searches_per_s`: what it allows, of any kind.
        """

    def wishes_closed(self) -> None:
        """Nothing is told now, and nothing can be searched for."""

    def wish_met(self, wish: int, results: Sequence[wire.Result], more: bool) -> None:
        """These were announced just now; `more`: others too, which a search finds."""

    def wish_refused(self, wish: int, why: NapError) -> None:
        """The index does not hold it: `Misuse` if it makes no sense, else for want of room."""


class CatalogueFeed(Protocol):
    """The peer's catalogue as discovery announces it; implemented by `peer.shares`.

    Every change has a number, counted on within an *epoch* (64 hex digits, new whenever the log is started over).
    All methods are cheap enough for the reactor.
    """

    def position(self) -> CataloguePosition: ...

    def step(self, after: int, limit_bytes: int) -> CatalogueStep | None:
        """The next step after this revision, at most so many bytes of JSON; None when there is nothing newer.

        `after` 0 is the empty catalogue. :raises LookupError: if the log does not reach back to `after`.
        """

    def on_change(self, heard: Callable[[], None]) -> None:
        """Call `heard()` after each change."""


@frozen
class CataloguePosition:
    epoch: str
    revision: int
    digest: str
    listings: int
    bytes: int


@frozen
class CatalogueStep:
    """Entries to add and to withdraw on the way to `revision`; `digest` when that is the newest."""

    revision: int
    add: Sequence[Entry]
    withdraw: Sequence[Entry]
    digest: str | None


class Discovery(Protocol):
    """Implemented by `discovery.index_client`; faked in tests by the contract suite's memory discovery."""

    def status(self) -> LinkStatus: ...

    def identity(self) -> Identity: ...

    def reachable(self) -> bool | None:
        """Whether others can dial this peer; None while nobody has tried."""

    def ticket(self) -> str | None:
        """The present ticket, to be shown to other peers."""

    def check_ticket(self, ticket: str, peer: PeerId) -> Claims:
        """Who that peer is, on the word of our index. :raises Denied: otherwise."""

    def search(self, query: SearchParams) -> Awaitable[wire.Results]:
        """One page, all its parts put together. :raises Unreachable: offline; Misuse: an empty query."""

    def users(self, words: str) -> Awaitable[Sequence[wire.UserRow]]: ...

    def seek(self, contents: Iterable[ContentId]) -> None:
        """Keep the seeker told about these; over reconnects too."""

    def unseek(self, contents: Iterable[ContentId]) -> None: ...

    def offer_parts(self, contents: Iterable[ContentId]) -> None:
        """Have others that seek these told that this peer serves parts of them; over reconnects too.

        At most `wire.index.MAX_PARTIALS` at a time: those beyond are not told of.
        """

    def withdraw_parts(self, contents: Iterable[ContentId]) -> None: ...

    def wish(self, wish: int, query: SearchParams) -> bool:
        """Have the wisher told of what is announced and matches; over reconnects too.

        Whether the index tells of it from now on: not while offline, nor for lack of room, nor if it knows no wishes.
        """

    def unwish(self, wishes: Iterable[int]) -> None: ...
