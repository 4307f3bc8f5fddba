"""What happens to a shared index, numbered in the order of commits; every node follows it.

The clock's row is locked by the last statements of a transaction: whoever has the number before has committed.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from ...cluster.interface import Happening, Kind
from ..interface import Position, Step
from ..packing import blobs, packed, position_of, unpacked
from .connection import Connection, CutOff

#: Changes that the log keeps: some minutes of the busiest. Whoever is further behind loads everything afresh.
KEPT_CHANGES = 100_000
#: How often the log is cut, in changes.
CUT_EVERY = 1_000
#: What listeners are woken by. It carries nothing: what happened is read from the log.
CHANNEL = "napd_index"

_COLUMNS = "number, kind, node, account, session, at, epoch, revision, digest, added, withdrawn, addresses"


class Log:
    """Written at the end of each transaction of one connection, and read through it.

    :ivar node: this process's number while it has a lease, else 0.
    """

    def __init__(self, connection: Connection) -> None:
        self._sql = connection
        self._happened: list[Happening] = []
        self.node = 0

    # --- Writing ---------------------------------------------------------------------------------

    def announced(
        self, account: int, session: int, position: Position, added: array[int], withdrawn: array[int]
    ) -> Happening:
        return self.add(
            Happening("announce", self.node, account, session, 0.0, position, added=added, withdrawn=withdrawn)
        )

    def up(self, account: int, session: int, since: float, addresses: Sequence[str] = ()) -> None:
        """The account is online at this node. In what condition is said later."""
        self._sql.do(
            "INSERT INTO presence (account, session, node, since, addresses) VALUES (%s, %s, %s, %s, %s) "
            "ON CONFLICT (account) DO UPDATE SET session = excluded.session, node = excluded.node, "
            "since = excluded.since, addresses = excluded.addresses, "
            "busy = DEFAULT, network = DEFAULT, parts = DEFAULT",
            account, session, self.node, since, list(addresses),
        )  # fmt: skip
        self.add(Happening("up", self.node, account, session, since, addresses=addresses))

    def swept(self, items: array[int]) -> None:
        self.add(Happening("swept", self.node, withdrawn=items))

    def add(self, happening: Happening) -> Happening:
        """Remembered until the end of the transaction, which numbers it."""
        self._happened.append(happening)
        return happening

    def write(self) -> None:
        """The last of a transaction.

        :raises CutOff: this node has been found dead.
        """
        happened, self._happened = self._happened, []
        if not happened:
            return
        last = int(self._sql.one("UPDATE clock SET change = change + %s RETURNING change", len(happened)))
        # A statement of its own: it sees what was committed before the clock could be had.
        if self.node and self._sql.one("SELECT gone FROM node WHERE number = %s", self.node) is not False:
            raise CutOff("this node has been found dead")
        for number, one in enumerate(happened, last - len(happened) + 1):
            one.number = number
        self._sql.do_each(
            f"INSERT INTO change ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",  # noqa: S608
            [_row(one) for one in happened],
        )
        if last // CUT_EVERY != (last - len(happened)) // CUT_EVERY:
            self._sql.do("DELETE FROM change WHERE number <= %s", last - KEPT_CHANGES)
        self._sql.do("SELECT pg_notify(%s, '')", CHANNEL)

    def drop(self) -> None:
        """The transaction was undone."""
        self._happened.clear()

    # --- Reading ---------------------------------------------------------------------------------

    def newest(self) -> int:
        return int(self._sql.one("SELECT change FROM clock"))

    def since(self, number: int, limit: int) -> Sequence[Happening]:
        """What happened after this one, oldest first.

        :raises LookupError: the log does not reach back to it, or has never come so far.
        """
        [(before_oldest, newest)] = self._sql.rows(
            "SELECT coalesce((SELECT min(number) - 1 FROM change), change), change FROM clock"
        )
        if not before_oldest <= number <= newest:
            raise LookupError(f"the change log reaches from {before_oldest} to {newest}, not back to {number}")
        rows = self._sql.rows(
            f"SELECT {_COLUMNS} FROM change WHERE number > %s ORDER BY number LIMIT %s",  # noqa: S608
            number, limit,
        )  # fmt: skip
        return [_happening(*row) for row in rows]

    def remembers(self, known: Happening) -> bool:
        """Whether this row is still what it was, or has been cut off the log's old end."""
        rows = self._sql.rows(f"SELECT {_COLUMNS} FROM change WHERE number = %s", known.number)  # noqa: S608
        if rows:
            return _happening(*rows[0]) == known
        return known.number <= int(
            self._sql.one("SELECT coalesce((SELECT min(number) - 1 FROM change), change) FROM clock")
        )

    def step_made(self, step: Step) -> Happening | None:
        """The change that this step came to, if it was made."""
        rows = self._sql.rows(
            f"SELECT {_COLUMNS} FROM change WHERE kind = 'announce' AND account = %s AND session = %s "  # noqa: S608
            "AND epoch = %s AND revision = %s ORDER BY number DESC LIMIT 1",
            step.account, step.session, bytes.fromhex(step.epoch), step.revision,
        )  # fmt: skip
        return _happening(*rows[0]) if rows else None


def _row(one: Happening) -> tuple[object, ...]:
    return (
        one.number, one.kind, one.node, one.account, one.session, one.at, *blobs(one.position),
        packed(one.added), packed(one.withdrawn), list(one.addresses),
    )  # fmt: skip


def _happening(
    number: int,
    kind: Kind,
    node: int,
    account: int,
    session: int,
    at: float,
    epoch: bytes,
    revision: int,
    digest: bytes,
    added: bytes,
    withdrawn: bytes,
    addresses: list[str],
) -> Happening:
    position = position_of(epoch, revision, digest)
    return Happening(
        kind, node, account, session, at, position, unpacked(added), unpacked(withdrawn), tuple(addresses), number
    )
