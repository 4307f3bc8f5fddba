"""What the parts of a process know of the others, and what a store that several share does for them."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

from attrs import define, field, frozen
from twisted.internet.defer import Deferred

from ...background import Background
from ..catalogues import Catalogues
from ..presence import Online, Presence
from ..store.interface import NOWHERE, Account, IndexStore, Position

#: Seconds for which a node is taken for alive after it said so, by the clock of PostgreSQL.
LEASE_S = 15.0
#: Seconds between two renewals.
RENEW_S = 5.0
#: Seconds without a renewal, by its own clock, after which a node takes no logins and writes nothing.
CUT_OFF_S = LEASE_S * 2 / 3

#: Holdings of several accounts that are read at once, those of the last one besides.
READ_HOLDINGS = 100_000

Kind = Literal["announce", "up", "down", "reached", "condition", "node_down", "swept"]
#: `lost`: the node has been found dead, and is nobody any more; `late`: it might have been.
Renewal = Literal["kept", "late", "lost"]


def _none() -> array[int]:
    return array("I")


@define
class Happening:
    """One row of the log that all nodes follow.

    :ivar node: where it happened; of `node_down`, which one is gone. 0: none.
    :ivar at: of `up`, since when the account is online, in seconds since 1970.
    :ivar added: and `withdrawn` are item ids; of `condition`, `added` are accounts.
    :ivar number: in the order of commits, from 1; given when the transaction ends.
    """

    kind: Kind
    node: int = 0
    account: int = 0
    session: int = 0
    at: float = 0.0
    position: Position = NOWHERE
    added: array[int] = field(factory=_none)
    withdrawn: array[int] = field(factory=_none)
    addresses: Sequence[str] = ()
    number: int = 0


@frozen
class Condition:
    """What a session says of itself beside its catalogue, and where it comes from.

    :param busy: it has no free upload slot.
    :param network: the public one that it connects from (`networks.network_of`).
    :param parts: contents that its peer has parts of; whether each is open.
    """

    busy: bool = False
    network: str | None = None
    parts: Mapping[str, bool] = field(factory=dict)


@frozen
class Present:
    """An account that is online at a node.

    :param since: seconds since 1970.
    """

    account: int
    session: int
    node: int
    since: float
    addresses: Sequence[str]
    condition: Condition = Condition()


@frozen
class NodeState:
    """One of the nodes.

    :param since: seconds since 1970.
    :param lease_s: that are left of its lease; none, or less: it may be found dead any moment.
    :param peers: that are online there.
    """

    node: int
    name: str
    since: float
    lease_s: float
    peers: int


@frozen
class Arrival:
    """:param share: ids of the items that the account held then, sorted."""

    account: Account
    share: array[int]


@frozen
class Standing:
    """Who is online at all nodes, as of this change."""

    change: int
    present: Sequence[Present]


class SharedStore(IndexStore, Protocol):
    """A store that several processes write. While it is away, writes wait, and everything else fails at once."""

    def write_while(self, holds: Callable[[], bool]) -> None:
        """Writes wait while this is false. Called on any thread."""

    def enter(self, name: str) -> Deferred[int]:
        """Become a node, with a lease of `LEASE_S`: its number. Sessions that are opened from now on are there."""

    def renew(self) -> Deferred[Renewal]: ...

    def judge(self) -> Deferred[Sequence[int]]:
        """Find nodes dead whose lease is over, unless the database itself has been back for less than a lease."""

    def wait(self, seconds: float) -> Deferred[None]:
        """Until something happens, or so long."""

    def nodes(self) -> Deferred[Sequence[NodeState]]:
        """All nodes that have not been found dead."""

    def leave(self) -> Deferred[None]:
        """The node ends in good order, after what it has been asked to write."""

    def stand(self, present: Sequence[Present]) -> Deferred[None]:
        """These accounts are online at this node, as far as their sessions are still the newest."""

    def left(self, account: int, session: int) -> Deferred[None]:
        """The session is over."""

    def reached(self, account: int, session: int, addresses: Sequence[str]) -> Deferred[None]:
        """These addresses of the account are proven."""

    def describe(self, present: Sequence[Present]) -> Deferred[None]:
        """These accounts are in these conditions, as far as their sessions are online."""

    def conditions(self, accounts: Sequence[int]) -> Deferred[Sequence[Present]]:
        """Those of these accounts that are online."""

    def standing(self) -> Deferred[Standing]: ...

    def arrivals(self, accounts: Sequence[int], change: int) -> Deferred[Sequence[Arrival]]:
        """The first of these accounts by number, at least one: as many as hold `READ_HOLDINGS` together.

        :param change: as of which. What they announced later comes with the log, and is news only then.
        """

    def log_since(self, number: int, limit: int) -> Deferred[Sequence[Happening]]:
        """What happened after this, oldest first.

        :raises LookupError: the log does not reach back to it, or has never come so far.
        """

    def remembers(self, known: Happening) -> Deferred[bool]:
        """Whether this is still a part of what happened, as far as the log reaches back."""


class Consequences(Protocol):
    """What a process does about what its cluster finds out."""

    def replaced(self, account: int, session: int) -> None:
        """An account (by number) has this session elsewhere: an earlier one here has to go."""

    def node_lost(self) -> None:
        """This process has found another dead."""

    def store_went_back(self) -> None:
        """What this process knows may never have happened: it has to begin anew."""

    def was_lost(self) -> None:
        """Another has found this one dead. Sessions that have not ended when this returns are told to all anew."""


class Cluster(Protocol):
    """What sessions tell the other nodes, if there are any.

    :ivar node: this process's number; it may be another after a while without the store.
    """

    @property
    def node(self) -> int: ...

    def start(self, background: Background, name: str, consequences: Consequences) -> None: ...

    def may_admit(self) -> bool:
        """Whether logins are taken."""

    def arrived(self, online: Online, node: int) -> None:
        """A session that was opened while this process was that node is online."""

    def left(self, account: int, session: int) -> None: ...

    def reached(self, online: Online, addresses: Sequence[str]) -> None: ...

    def said(self, online: Online) -> None:
        """What a session here says of itself is another thing now (`Condition`)."""

    async def nodes(self) -> Sequence[NodeState]:
        """All of them, this one too; none if this process is alone.

        :raises NapError: the store does not answer.
        """

    async def stop(self) -> None: ...


class Alone:
    """A `Cluster` of one."""

    node = 0

    def start(self, background: Background, name: str, consequences: Consequences) -> None:
        """Nobody else is there to be heard of."""

    def may_admit(self) -> bool:
        return True

    def arrived(self, online: Online, node: int) -> None:
        """Everybody who could know does."""

    def left(self, account: int, session: int) -> None:
        """Likewise."""

    def reached(self, online: Online, addresses: Sequence[str]) -> None:
        """Likewise."""

    def said(self, online: Online) -> None:
        """Likewise."""

    async def nodes(self) -> Sequence[NodeState]:
        return ()

    async def stop(self) -> None:
        """Nothing was begun."""


#: Makes the cluster of a process from what is derived from its store.
Join = Callable[[Catalogues, Presence], Cluster]


def alone(catalogues: Catalogues, presence: Presence) -> Cluster:
    return Alone()
