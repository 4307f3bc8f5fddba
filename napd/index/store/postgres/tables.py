"""PostgreSQL's side of accounts, catalogues and items: SQL, and nothing else.

Everything here runs on the thread of its connection, and writes inside a transaction that the caller begins and ends.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence

from attrs import define, evolve, field
from pyroaring import BitMap

from ....model import PeerId
from ....wire.catalogue import Entry
from ...cluster.interface import Happening
from ...items import Item
from ..interface import (
    NOWHERE,
    SWEEP_STRIDE,
    Account,
    Applied,
    Change,
    Counts,
    Lapsed,
    NameTaken,
    Opened,
    OutOfStep,
    Position,
    Step,
    Swept,
)
from ..packing import ITEM_COLUMNS, Catalogue, blobs, described, item_of, packed, position_of, unpacked
from ..steps import Digested, check_session, check_step, meet, plan
from .connection import Connection
from .log import Log

#: Catalogues kept in memory between transactions: a first list comes in hundreds of steps.
_CACHED = 64
#: Whoever counts on items being there holds this lock, shared; a sweep, which removes them, alone.
_ITEMS_LOCK = 0x6E617065
#: Whoever makes items holds this one: two processes that make the same in another order would wait for each other.
_MAKING_LOCK = 0x6E617066
#: Changes that a sweep reads at once.
_CHANGES_READ = 1_000


@define
class _Stored(Catalogue):
    """:ivar version: of the row that it was read from or written to."""

    version: int = 0


@define
class Unnumbered:
    """A change that is numbered when its transaction ends."""

    _applied: Applied
    _happening: Happening

    def numbered(self) -> Applied:
        return evolve(self._applied, change=self._happening.number)


@define
class _Held:
    """Items that some catalogue has had at any time since a sweep began, as far as the changes up to `change` tell."""

    items: BitMap = field(factory=BitMap)
    change: int = 0


class Tables:
    """:param new_account_id: makes the immutable id of a new account.
    :param repeated: whether what is asked for may have been committed before.
    """

    def __init__(
        self, connection: Connection, log: Log, new_account_id: Callable[[], str], repeated: Callable[[], bool]
    ) -> None:
        self._sql = connection
        self._log = log
        self._new_account_id = new_account_id
        self._repeated = repeated
        self._cache: dict[int, _Stored] = {}
        self._held = _Held()
        self._items_locked = False

    # --- Transactions ----------------------------------------------------------------------------

    def before_commit(self) -> None:
        """Write the changed catalogues, and then what happened: the clock is locked last."""
        for account, catalogue in self._cache.items():
            if catalogue.changed:
                self._write_catalogue(account, catalogue)
        while len(self._cache) > _CACHED:
            del self._cache[next(iter(self._cache))]
        self._log.write()
        self._items_locked = False

    def undone(self) -> None:
        """After a transaction that failed: what is cached may never have been written."""
        self._cache.clear()
        self._log.drop()
        self._items_locked = False

    # --- Accounts --------------------------------------------------------------------------------

    def account_for(self, user: str, key: PeerId, at: float) -> Account:
        select = 'SELECT number, id, name AS "user", key FROM account WHERE name = %s'
        found = self._sql.rows(select, user)
        if not found:
            self._sql.do(
                "INSERT INTO account (id, name, key, made, seen) VALUES (%s, %s, %s, %s, %s) "
                "ON CONFLICT (name) DO NOTHING",
                self._new_account_id(), user, key, at, at,
            )  # fmt: skip
            # Another node may have been first.
            found = self._sql.rows(select, user)
        account = Account(*found[0])
        if account.key != key:
            raise NameTaken(f"the user name {user} belongs to another key")
        return account

    def open_session(self, account: int, held: Position, at: float, node: int) -> Opened:
        """:param node: where the account is online from now on; 0: nowhere, it is only a session."""
        _, catalogue = self._locked(account)
        # Drawn while the account is locked: its sessions are numbered in their order.
        session = int(self._sql.one("SELECT nextval('session_number')"))
        self._sql.do("UPDATE account SET session = %s, seen = %s WHERE number = %s", session, at, account)
        position = meet(catalogue.position, held)
        dropped = array("I")
        if position == NOWHERE and catalogue.share:
            dropped = catalogue.share.to_array()
            self._changed(account, session, catalogue, NOWHERE, BitMap(), [], catalogue.share)
        elif position != catalogue.position:
            catalogue.position = position
            catalogue.changed = True
        if node:
            self._log.up(account, session, at)
        return Opened(session, position, self._cache[account].share.to_array(), dropped)

    def saw(self, accounts: Sequence[int], at: float) -> None:
        # In one order everywhere, so that two nodes cannot wait for each other.
        self._sql.do(
            "UPDATE account SET seen = %s WHERE number IN "
            "(SELECT number FROM account WHERE number = ANY(%s) ORDER BY number FOR UPDATE)",
            at, list(accounts),
        )  # fmt: skip

    def unseen(self, since: float, limit: int) -> Sequence[Lapsed]:
        # Whoever is online at another node may never have been seen by this one.
        rows = self._sql.rows(
            "SELECT number, session FROM account JOIN catalogue ON catalogue.account = number "
            "WHERE seen < %s AND listings > 0 AND NOT EXISTS (SELECT 1 FROM presence JOIN node "
            "ON node.number = node AND NOT gone WHERE presence.account = catalogue.account) LIMIT %s",
            since, limit,
        )  # fmt: skip
        return [Lapsed(account, session) for account, session in rows]

    # --- Catalogues ------------------------------------------------------------------------------

    def apply(self, step: Step, most: int) -> Unnumbered | Applied:
        session, catalogue = self._locked(step.account)
        try:
            check_step(step, session, catalogue.position)
        except OutOfStep:
            made = self._log.step_made(step) if self._repeated() else None
            if made is None:
                raise
            return Applied(made.number, made.position, self.items(made.added), made.withdrawn)
        self._lock_items(alone=False)
        digested = Digested.of(step)
        known = self._known(digested.all())
        ids = {digest: item for digest, (item, _) in known.items()}
        planned = plan(step, digested, ids, catalogue.share, catalogue.position, most)
        added = [
            Item(known[digest][0], known[digest][1], entry)
            for digest, entry in digested.add.items()
            if digest in known and known[digest][0] in planned.added
        ]
        added += self._make_items(planned.new)
        share = catalogue.share - planned.withdrawn
        share.update(item.id for item in added)
        return self._changed(
            step.account, session, catalogue, planned.position, share, added, planned.withdrawn
        )  # fmt: skip

    def forget(self, account: int, session: int) -> Unnumbered:
        newest, catalogue = self._locked(account)
        check_session(session, newest)
        return self._changed(account, session, catalogue, NOWHERE, BitMap(), [], catalogue.share)

    def holdings(self, account: int) -> array[int]:
        return unpacked(self._sql.one("SELECT share FROM catalogue WHERE account = %s", account) or b"")

    def changes_since(self, number: int, limit: int) -> Sequence[Change]:
        return [
            Change(one.number, one.account, one.position, one.added, one.withdrawn)
            for one in self._log.since(number, limit)
            if one.kind == "announce"
        ]

    def counts(self) -> Counts:
        [(accounts, items, contents, listings, bytes_on_disk)] = self._sql.rows(
            "SELECT (SELECT count(*) FROM account), (SELECT count(*) FROM item), (SELECT count(*) FROM content), "
            "(SELECT coalesce(sum(listings), 0)::bigint FROM catalogue), pg_database_size(current_database())"
        )
        return Counts(accounts, items, contents, listings, bytes_on_disk)

    def _locked(self, account: int) -> tuple[int, _Stored]:
        """The account's newest session and its catalogue; nobody else changes them until the transaction ends."""
        [(session, version)] = self._sql.rows(
            "SELECT session, coalesce(version, 0) FROM account LEFT JOIN catalogue ON account = number "
            "WHERE number = %s FOR UPDATE OF account",
            account,
        )
        kept = self._cache.pop(account, None)
        # Another node may have written it since; not since this transaction did.
        if kept is None or not (kept.changed or kept.version == version):
            kept = self._read_catalogue(account)
        # At the end of the dictionary: the first is the one longest unused.
        self._cache[account] = kept
        return session, kept

    def _read_catalogue(self, account: int) -> _Stored:
        rows = self._sql.rows(
            "SELECT epoch, revision, digest, share, version FROM catalogue WHERE account = %s", account
        )
        if not rows:
            return _Stored(NOWHERE, BitMap())
        [(epoch, revision, digest, share, version)] = rows
        return _Stored(position_of(epoch, revision, digest), BitMap(unpacked(share)), version=version)

    def _write_catalogue(self, account: int, catalogue: _Stored) -> None:
        catalogue.version += 1
        self._sql.do(
            "INSERT INTO catalogue (account, version, epoch, revision, digest, listings, share) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (account) DO UPDATE SET version = excluded.version, "
            "epoch = excluded.epoch, revision = excluded.revision, digest = excluded.digest, "
            "listings = excluded.listings, share = excluded.share",
            account, catalogue.version, *blobs(catalogue.position), len(catalogue.share),
            packed(catalogue.share.to_array()),
        )  # fmt: skip
        catalogue.changed = False

    def _changed(
        self,
        account: int,
        session: int,
        catalogue: _Stored,
        position: Position,
        share: BitMap,
        added: Sequence[Item],
        withdrawn: BitMap,
    ) -> Unnumbered:
        self._cache[account] = _Stored(position, share, True, catalogue.version)
        gone = withdrawn.to_array()
        new = array("I", sorted(item.id for item in added))
        happening = self._log.announced(account, session, position, new, gone)
        return Unnumbered(Applied(0, position, added, gone), happening)

    # --- Items -----------------------------------------------------------------------------------

    def items(self, ids: Sequence[int]) -> Sequence[Item]:
        rows = self._sql.rows(
            f"SELECT {ITEM_COLUMNS} FROM item JOIN content ON number = content "  # noqa: S608
            "WHERE item.id = ANY(%s) ORDER BY item.id",
            list(ids),
        )
        return [item_of(row) for row in rows]

    def items_after(self, after: int, limit: int) -> Sequence[Item]:
        rows = self._sql.rows(
            f"SELECT {ITEM_COLUMNS} FROM item JOIN content ON number = content "  # noqa: S608
            "WHERE item.id > %s ORDER BY item.id LIMIT %s",
            after, limit,
        )  # fmt: skip
        return [item_of(row) for row in rows]

    def sweep(self, after: int) -> Swept:
        self._lock_items(alone=True)
        self._look_at_holdings(begin=after == 0)
        looked_at = [
            item for (item,) in self._sql.rows(
                "SELECT id FROM item WHERE id > %s ORDER BY id LIMIT %s", after, SWEEP_STRIDE
            )
        ]  # fmt: skip
        removed = array("I", (item for item in looked_at if item not in self._held.items))
        if removed:
            rows = self._sql.rows("DELETE FROM item WHERE id = ANY(%s) RETURNING content", list(removed))
            self._sql.do(
                "DELETE FROM content WHERE number = ANY(%s) "
                "AND NOT EXISTS (SELECT 1 FROM item WHERE content = content.number)",
                sorted({content for (content,) in rows}),
            )
            self._log.swept(removed)
        left = array("I", (item for item in looked_at if item in self._held.items))
        return Swept(removed, left, looked_at[-1] if len(looked_at) == SWEEP_STRIDE else None)

    def _look_at_holdings(self, *, begin: bool) -> None:
        """All catalogues once a round; then what has been added to any. Nobody adds anything meanwhile."""
        held = self._held
        if not begin:
            try:
                while changes := self._log.since(held.change, _CHANGES_READ):
                    for change in changes:
                        held.items.update(change.added)
                    held.change = changes[-1].number
            except LookupError:
                begin = True
        if begin:
            held.change = self._log.newest()
            shares = self._sql.rows("SELECT share FROM catalogue WHERE listings > 0")
            held.items = BitMap.union(BitMap(), *(BitMap(unpacked(share)) for (share,) in shares))
        # What this transaction has changed so far is in no log yet.
        held.items = BitMap.union(held.items, *(catalogue.share for catalogue in self._cache.values()))

    def _lock_items(self, *, alone: bool) -> None:
        """Until the transaction ends."""
        if alone:
            self._sql.do("SELECT pg_advisory_xact_lock(%s)", _ITEMS_LOCK)
        elif not self._items_locked:
            self._sql.do("SELECT pg_advisory_xact_lock_shared(%s)", _ITEMS_LOCK)
        self._items_locked = True

    def _known(self, digests: Sequence[bytes]) -> dict[bytes, tuple[int, int]]:
        rows = self._sql.rows("SELECT digest, id, content FROM item WHERE digest = ANY(%b)", list(digests))
        return {digest: (item, content) for digest, item, content in rows}

    def _make_items(self, entries: Mapping[bytes, Entry]) -> list[Item]:
        if not entries:
            return []
        self._sql.do("SELECT pg_advisory_xact_lock(%s)", _MAKING_LOCK)
        contents = self._contents(list({bytes.fromhex(entry.content) for entry in entries.values()}))
        values = [
            (digest, contents[bytes.fromhex(entry.content)], *described(entry)) for digest, entry in entries.items()
        ]
        rows = self._sql.rows(
            "INSERT INTO item (digest, content, size, folder, name, audience, duration_s, bitrate_kbps, width, height) "
            "SELECT * FROM unnest(%b::bytea[], %b::integer[], %b::bigint[], %b::text[], %b::text[], %b::text[], "
            "%b::double precision[], %b::integer[], %b::integer[], %b::integer[]) ON CONFLICT (digest) DO NOTHING "
            "RETURNING digest, id, content",
            *map(list, zip(*values, strict=True)),
        )  # fmt: skip
        made = {digest: (item, content) for digest, item, content in rows}
        if len(made) < len(entries):
            # Another process was first.
            made |= self._known([digest for digest in entries if digest not in made])
        return [Item(*made[digest], entry) for digest, entry in entries.items()]

    def _contents(self, hashes: Sequence[bytes]) -> dict[bytes, int]:
        """Their numbers; those that have none get one."""
        known = self._numbers(hashes)
        new = [content for content in hashes if content not in known]
        if new:
            rows = self._sql.rows(
                "INSERT INTO content (hash) SELECT unnest(%b::bytea[]) ON CONFLICT (hash) DO NOTHING "
                "RETURNING hash, number",
                new,
            )  # fmt: skip
            known |= dict(rows)
            if len(rows) < len(new):
                known |= self._numbers([content for content in new if content not in known])
        return known

    def _numbers(self, hashes: Sequence[bytes]) -> dict[bytes, int]:
        return dict(self._sql.rows("SELECT hash, number FROM content WHERE hash = ANY(%b)", list(hashes)))
