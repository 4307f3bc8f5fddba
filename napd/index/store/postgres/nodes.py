"""PostgreSQL's side of nodes and of who is online where: SQL, and nothing else."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

from pyroaring import BitMap

from ....model import PeerId
from ...cluster.interface import (
    LEASE_S,
    READ_HOLDINGS,
    Arrival,
    Condition,
    Happening,
    NodeState,
    Present,
    Renewal,
    Standing,
)
from ..interface import Account
from ..packing import unpacked
from .connection import Connection
from .log import Log

_ONLINE = "presence JOIN node ON number = node AND NOT gone"
_PRESENT = "account, session, node, presence.since, addresses, busy, network, parts"
_LEASE_FROM_NOW = "clock_timestamp() + make_interval(secs => %s)"
_HASH_BYTES = 32


class Lease:
    """On a connection and a thread of its own, so that no large write holds up a renewal.

    Times are PostgreSQL's: `clock_timestamp`, which goes on within a transaction.
    """

    def __init__(self, connection: Connection) -> None:
        self._sql = connection
        self._log = Log(connection)

    def enter(self, name: str) -> int:
        return int(
            self._sql.one(
                f"INSERT INTO node (name, until) VALUES (%s, {_LEASE_FROM_NOW}) RETURNING number",  # noqa: S608
                name, LEASE_S,
            )
        )  # fmt: skip

    def renew(self, node: int) -> Renewal:
        """One that was over, or had longer to go than any can, was given before the clock was put forward or back."""
        in_time = self._sql.one(
            f"WITH was AS (SELECT until FROM node WHERE number = %s) UPDATE node SET until = {_LEASE_FROM_NOW} "  # noqa: S608
            "FROM was WHERE number = %s AND NOT gone "
            f"RETURNING was.until BETWEEN clock_timestamp() AND {_LEASE_FROM_NOW}",
            node, LEASE_S, node, LEASE_S,
        )  # fmt: skip
        if in_time is None:
            return "lost"
        return "kept" if in_time else "late"

    def judge(self, node: int) -> Sequence[int]:
        """A lease that ran out while PostgreSQL itself was away says nothing: a whole one has to pass first.

        Nor does one whose end the clock has jumped over: then the judge's own is over as well, and it does not judge
        before it has renewed it (`late`). Where the clock was put back, leases begin anew.
        """
        [(over, ahead, may_judge)] = self._sql.rows(
            "SELECT EXISTS (SELECT 1 FROM node WHERE NOT gone AND until < clock_timestamp()), "
            "EXISTS (SELECT 1 FROM node WHERE NOT gone AND until > clock_timestamp() + make_interval(secs => %s)), "
            "EXISTS (SELECT 1 FROM node WHERE number = %s AND NOT gone AND until >= clock_timestamp()) "
            "AND NOT pg_postmaster_start_time() "
            "BETWEEN clock_timestamp() - make_interval(secs => %s) AND clock_timestamp()",
            LEASE_S, node, LEASE_S,
        )  # fmt: skip
        if ahead:
            self._sql.do(
                f"UPDATE node SET until = {_LEASE_FROM_NOW} WHERE NOT gone AND until > {_LEASE_FROM_NOW}",  # noqa: S608
                LEASE_S, LEASE_S,
            )  # fmt: skip
        if not (over and may_judge):
            return ()
        with self._sql.transaction():
            found = self._sql.rows(
                "UPDATE node SET gone = true WHERE NOT gone AND until < clock_timestamp() RETURNING number"
            )
            dead = [number for (number,) in found]
            self._end(dead)
        return dead

    def leave(self, node: int) -> None:
        with self._sql.transaction():
            self._sql.do("UPDATE node SET gone = true WHERE number = %s", node)
            self._end([node])

    def wait(self, seconds: float) -> None:
        for _ in self._sql.sql.notifies(timeout=seconds, stop_after=1):
            return

    def _end(self, nodes: Sequence[int]) -> None:
        """What they say of who is online counts no more (`standing`)."""
        try:
            for node in nodes:
                self._log.add(Happening("node_down", node))
            self._log.write()
        finally:
            self._log.drop()


class Whereabouts:
    """Who is online: written with the other writes of this process, in their order."""

    def __init__(self, connection: Connection, log: Log) -> None:
        self._sql = connection
        self._log = log

    def stand(self, present: Sequence[Present]) -> None:
        # In one order everywhere, so that two nodes cannot wait for each other.
        rows = self._sql.rows(
            "SELECT number, session FROM account WHERE number = ANY(%s) ORDER BY number FOR UPDATE",
            [one.account for one in present],
        )
        newest = dict(rows)
        for one in present:
            if newest.get(one.account) == one.session:
                self._log.up(one.account, one.session, one.since, one.addresses)

    def left(self, account: int, session: int) -> None:
        gone = self._sql.one(
            "DELETE FROM presence WHERE account = %s AND session = %s RETURNING account", account, session
        )  # fmt: skip
        if gone is not None:
            self._log.add(Happening("down", self._log.node, account, session))

    def reached(self, account: int, session: int, addresses: Sequence[str]) -> None:
        known = self._sql.one(
            "UPDATE presence SET addresses = %s WHERE account = %s AND session = %s RETURNING account",
            list(addresses), account, session,
        )  # fmt: skip
        if known is not None:
            self._log.add(Happening("reached", self._log.node, account, session, addresses=addresses))

    def describe(self, present: Sequence[Present]) -> None:
        values = [
            (one.account, one.session, one.condition.busy, one.condition.network, _packed_parts(one.condition.parts))
            for one in present
        ]
        # In one order everywhere, so that two nodes cannot wait for each other.
        self._sql.do(
            "SELECT FROM presence WHERE account = ANY(%s) ORDER BY account FOR UPDATE", [one.account for one in present]
        )
        rows = self._sql.rows(
            "UPDATE presence SET busy = said.busy, network = said.network, parts = said.parts "
            "FROM unnest(%s::integer[], %s::bigint[], %s::boolean[], %s::text[], %s::bytea[]) "
            "AS said (account, session, busy, network, parts) "
            "WHERE presence.account = said.account AND presence.session = said.session RETURNING presence.account",
            *map(list, zip(*values, strict=True)),
        )  # fmt: skip
        if rows:
            accounts = array("I", sorted(account for (account,) in rows))
            self._log.add(Happening("condition", self._log.node, added=accounts))

    # --- Reading ---------------------------------------------------------------------------------

    def nodes(self) -> Sequence[NodeState]:
        rows = self._sql.rows(
            "SELECT number, name, extract(epoch FROM since)::double precision, "
            "extract(epoch FROM until - clock_timestamp())::double precision, "
            "(SELECT count(*) FROM presence WHERE node = number) FROM node WHERE NOT gone ORDER BY number"
        )
        return [NodeState(*row) for row in rows]

    def conditions(self, accounts: Sequence[int]) -> Sequence[Present]:
        rows = self._sql.rows(
            f"SELECT {_PRESENT} FROM {_ONLINE} WHERE account = ANY(%s)",  # noqa: S608
            list(accounts),
        )
        return [_present(*row) for row in rows]

    def standing(self) -> Standing:
        """One statement, so that both are of one moment."""
        rows = self._sql.rows(f"SELECT change, {_PRESENT} FROM clock LEFT JOIN ({_ONLINE}) ON true")  # noqa: S608
        present = [_present(*row) for _, *row in rows if row[0] is not None]
        return Standing(rows[0][0], present)

    def arrivals(self, accounts: Sequence[int], change: int) -> Sequence[Arrival]:
        # One statement, so that shares and what has been done to them since are of one moment.
        rows = self._sql.rows(
            "SELECT number, id, name, key, share, added, withdrawn FROM (SELECT number, id, name, key, "
            "coalesce(share, '') AS share, "
            "sum(coalesce(listings, 0)) OVER (ORDER BY number) - coalesce(listings, 0) AS before FROM account "
            "LEFT JOIN catalogue ON account = number WHERE number = ANY(%s)) AS asked LEFT JOIN (SELECT account, "
            "array_agg(added ORDER BY number DESC) AS added, array_agg(withdrawn ORDER BY number DESC) AS withdrawn "
            "FROM change WHERE number > %s AND kind = 'announce' AND account = ANY(%s) GROUP BY account) AS later "
            "ON later.account = number WHERE before < %s ORDER BY number",
            list(accounts), change, list(accounts), READ_HOLDINGS,
        )  # fmt: skip
        return [
            Arrival(Account(number, id_, user, PeerId(key)), _undone(share, added or (), withdrawn or ()))
            for number, id_, user, key, share, added, withdrawn in rows
        ]


def _undone(share: bytes, added: Sequence[bytes], withdrawn: Sequence[bytes]) -> array[int]:
    """A share as it was before these steps, the last one first."""
    if not added:
        return unpacked(share)
    held = BitMap(unpacked(share))
    for more, less in zip(added, withdrawn, strict=True):
        held -= BitMap(unpacked(more))
        held |= BitMap(unpacked(less))
    return held.to_array()


def _present(
    account: int,
    session: int,
    node: int,
    since: float,
    addresses: list[str],
    busy: bool,
    network: str | None,
    parts: bytes,
) -> Present:
    return Present(
        account, session, node, since, tuple(addresses), Condition(busy, network, _unpacked_parts(parts))
    )  # fmt: skip


def _packed_parts(parts: Mapping[str, bool]) -> bytes:
    return b"".join(bytes.fromhex(content) + bytes([is_open]) for content, is_open in parts.items())


def _unpacked_parts(packed_parts: bytes) -> Mapping[str, bool]:
    size = _HASH_BYTES + 1
    pieces = (packed_parts[at : at + size] for at in range(0, len(packed_parts), size))
    return {piece[:_HASH_BYTES].hex(): bool(piece[_HASH_BYTES]) for piece in pieces}
