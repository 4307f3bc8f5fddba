"""The durable part of the index: accounts and their catalogues. Nothing in it changes when a peer disconnects.

Every method returns a Deferred; what has been answered is committed. Calls take effect in the order they are made,
whether or not their answers are awaited.
A store that cannot work (a full or broken disk) fails each of them with `StoreFailed` and has changed nothing. Only one
that ends in the middle, with the process that writes it, may have made a change that it did not answer.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from attrs import field, frozen

from ...errors import Denied, NapError
from ...model import PeerId
from ...wire.catalogue import Entry
from ..items import Item

if TYPE_CHECKING:
    # The writer's process has no reactor, and does without what Twisted takes.
    from twisted.internet.defer import Deferred

_ZEROS = "0" * 64
#: Changes that the log keeps; whoever is further behind loads everything afresh.
KEPT_CHANGES = 10_000
#: Item ids looked at by one `sweep`, so that it holds up the writer for milliseconds.
SWEEP_STRIDE = 50_000


class NameTaken(Denied):
    """The user name belongs to another key."""

    code = "name_taken"


class StaleSession(NapError):
    """A later session of the account took over: nothing was changed."""

    code = "replaced"


class OutOfStep(NapError):
    """The step does not start where the catalogue stands: nothing was changed, the full list is needed."""

    code = "out_of_step"


class TooManyListings(NapError):
    """The step would take the catalogue over its limit: nothing was changed."""

    code = "limit"


class StoreFailed(NapError):
    """The store itself cannot work now: nothing was changed, later it may."""

    code = "store_failed"


@frozen
class Account:
    """`number` is the store's own, `id` the immutable one that audiences and tickets name."""

    number: int
    id: str
    user: str
    key: PeerId


@frozen
class Position:
    """Where a catalogue stands; `epoch` and `digest` in 64 hex digits."""

    epoch: str = _ZEROS
    revision: int = 0
    digest: str = _ZEROS


#: The position of a catalogue that nobody has announced.
NOWHERE = Position()


@frozen
class Opened:
    """A new session; the catalogue's position, and its items as sorted ids.

    `dropped`: what it held until now, if its peer cannot go on from there and has to send its list anew.
    """

    session: int
    position: Position
    share: array[int]
    dropped: array[int] = field(factory=lambda: array("I"))


@frozen
class Step:
    """One announce. Withdrawals first, then additions; `reset` empties the catalogue before both."""

    account: int
    session: int
    epoch: str
    base: int
    revision: int
    add: Sequence[Entry] = ()
    withdraw: Sequence[Entry] = ()
    reset: bool = False


@frozen
class Applied:
    """What a step came to. Entries that were there already, or were not there to withdraw, are in neither list."""

    change: int
    position: Position
    added: Sequence[Item]
    withdrawn: Sequence[int]


@frozen
class Change:
    """An entry of the change log; `added` and `withdrawn` are item ids."""

    number: int
    account: int
    position: Position
    added: Sequence[int]
    withdrawn: Sequence[int]


@frozen
class Lapsed:
    """An account that has not been seen for long, and its last session."""

    account: int
    session: int


@frozen
class Swept:
    """Items that nobody held and that are gone now; `next` is where to go on, None at the end.

    `left`: those that were looked at and are still there, in order. Between the first and the last id of both lists
    there are no others.
    """

    removed: Sequence[int]
    left: array[int]
    next: int | None


@frozen
class Counts:
    """All that is remembered, online or not. `bytes_on_disk`: what that takes there; None where nobody can say."""

    accounts: int
    items: int
    contents: int
    listings: int
    bytes_on_disk: int | None = field(default=None, eq=False)


class IndexStore(Protocol):
    """Implemented by `SqliteStore`, `PostgresStore` and `MemoryStore`; tests/contract/index holds them to this."""

    #: How `index status` names it; no passwords in it.
    name: str

    def account_for(self, user: str, key: PeerId, at: float) -> Deferred[Account]:
        """The account of this name, made if there is none (open login: the first key to use a name owns it).

        :raises NameTaken: it belongs to another key.
        """

    def open_session(self, account: int, held: Position, at: float) -> Deferred[Opened]:
        """Give the account a new session: a number higher than any before it, of any account.

        From now on only this session can change the catalogue. `held` is what the peer says it has (see `steps.meet`):
        with the same digest the two are the same set, and the catalogue takes over the peer's epoch and revision; a
        catalogue from which the peer cannot go on is emptied.
        """

    def apply(self, step: Step, most: int) -> Deferred[Applied]:
        """Change a catalogue, all of it or nothing.

        :param most: listings that the catalogue may have afterwards.
        :raises StaleSession: the step's session is not the account's newest.
        :raises OutOfStep: `base` is not the stored revision of the same epoch.
        :raises TooManyListings: over `most`.
        """

    def holdings(self, account: int) -> Deferred[array[int]]:
        """Ids of the items in the account's catalogue, sorted."""

    def items(self, ids: Sequence[int]) -> Deferred[Sequence[Item]]:
        """These items, by id; without those that are gone."""

    def items_after(self, after: int, limit: int) -> Deferred[Sequence[Item]]:
        """The next items in the order of their ids: pages through everything that is known."""

    def changes_since(self, number: int, limit: int) -> Deferred[Sequence[Change]]:
        """Changes after this one, oldest first.

        :raises LookupError: the log no longer reaches back that far.
        """

    def forget(self, account: int, session: int) -> Deferred[Applied]:
        """Empty an account's catalogue; the name stays its key's.

        :raises StaleSession: the account has had another session since this one.
        """

    def saw(self, accounts: Sequence[int], at: float) -> Deferred[None]:
        """These accounts are online at this time: retention counts from here."""

    def unseen(self, since: float, limit: int) -> Deferred[Sequence[Lapsed]]:
        """Accounts with a catalogue that nobody has seen since then."""

    def sweep(self, after: int) -> Deferred[Swept]:
        """Remove items without a holder, looking at `SWEEP_STRIDE` ids after this one."""

    def counts(self) -> Deferred[Counts]: ...

    def stop(self) -> Deferred[None]:
        """Finish what was asked, then let go of everything."""
