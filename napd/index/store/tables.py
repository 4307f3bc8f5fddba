"""SQLite's side of the store: SQL, and nothing else.

Everything here runs on the store's thread, and writes inside a transaction that the caller begins and ends.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from pyroaring import BitMap

from ...model import PeerId
from ...wire.catalogue import Entry
from ..items import Item
from .interface import (
    KEPT_CHANGES,
    NOWHERE,
    SWEEP_STRIDE,
    Account,
    Applied,
    Change,
    Counts,
    Lapsed,
    NameTaken,
    Opened,
    Position,
    Step,
    Swept,
)
from .packing import ITEM_COLUMNS, Catalogue, blobs, described, item_of, packed, position_of, unpacked
from .steps import Digested, check_session, check_step, meet, plan

T = TypeVar("T")

#: Values bound to one statement; SQLite's own limit was 999 for long.
_BOUND = 900
#: Catalogues kept in memory between transactions: a first list comes in hundreds of steps.
_CACHED = 64
#: Changes that a sweep reads at once.
_CHANGES_READ = 1_000
#: How often the change log is cut, in changes.
CUT_EVERY = 1_000


class Tables:
    """:param new_account_id: makes the immutable id of a new account."""

    def __init__(self, connection: sqlite3.Connection, new_account_id: Callable[[], str]) -> None:
        self._sql = connection
        self._new_account_id = new_account_id
        self._cache: dict[int, Catalogue] = {}
        #: Items that some catalogue has had at any time since a sweep began, up to this change.
        self._held = BitMap()
        self._held_at = 0

    # --- Transactions ----------------------------------------------------------------------------

    def write_back(self) -> None:
        """Write the changed catalogues: once per transaction, however many steps they had in it."""
        for account, catalogue in self._cache.items():
            if catalogue.changed:
                self._write_catalogue(account, catalogue)
        while len(self._cache) > _CACHED:
            del self._cache[next(iter(self._cache))]

    def drop_cache(self) -> None:
        """After a rollback: what is cached may never have been written."""
        self._cache.clear()

    # --- Accounts --------------------------------------------------------------------------------

    def account_for(self, user: str, key: PeerId, at: float) -> Account:
        row = self._sql.execute("SELECT number, id, user, key FROM account WHERE user = ?", (user,)).fetchone()
        if row is None:
            account_id = self._new_account_id()
            made = self._sql.execute(
                "INSERT INTO account (id, user, key, made, seen) VALUES (?, ?, ?, ?, ?)",
                (account_id, user, key, at, at),
            )
            return Account(_row_id(made), account_id, user, key)
        if row[3] != key:
            raise NameTaken(f"the user name {user} belongs to another key")
        return Account(*row)

    def open_session(self, account: int, held: Position, at: float) -> Opened:
        self._sql.execute("UPDATE clock SET session = session + 1")
        session = self._one("SELECT session FROM clock")
        self._sql.execute("UPDATE account SET session = ?, seen = ? WHERE number = ?", (session, at, account))
        catalogue = self._catalogue(account)
        position = meet(catalogue.position, held)
        if position == NOWHERE and catalogue.share:
            dropped = catalogue.share.to_array()
            self._changed(account, Catalogue(NOWHERE, BitMap()), [], catalogue.share)
            return Opened(session, NOWHERE, array("I"), dropped)
        if position != catalogue.position:
            catalogue.position = position
            catalogue.changed = True
        return Opened(session, position, catalogue.share.to_array())

    def saw(self, accounts: Sequence[int], at: float) -> None:
        self._sql.executemany("UPDATE account SET seen = ? WHERE number = ?", ((at, account) for account in accounts))

    def unseen(self, since: float, limit: int) -> Sequence[Lapsed]:
        rows = self._sql.execute(
            "SELECT number, session FROM account JOIN catalogue ON account = number "
            "WHERE seen < ? AND listings > 0 LIMIT ?",
            (since, limit),
        )
        return [Lapsed(account, session) for account, session in rows]

    # --- Catalogues ------------------------------------------------------------------------------

    def apply(self, step: Step, most: int) -> Applied:
        session = self._one("SELECT session FROM account WHERE number = ?", step.account)
        catalogue = self._catalogue(step.account)
        check_step(step, session, catalogue.position)
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
        return self._changed(step.account, Catalogue(planned.position, share), added, planned.withdrawn)

    def forget(self, account: int, session: int) -> Applied:
        check_session(session, self._one("SELECT session FROM account WHERE number = ?", account))
        share = self._catalogue(account).share
        return self._changed(account, Catalogue(NOWHERE, BitMap()), [], share)

    def holdings(self, account: int) -> array[int]:
        row = self._sql.execute("SELECT share FROM catalogue WHERE account = ?", (account,)).fetchone()
        return unpacked(row[0] if row else b"")

    def changes_since(self, number: int, limit: int) -> Sequence[Change]:
        before_oldest = self._one("SELECT coalesce((SELECT min(number) - 1 FROM change), change) FROM clock")
        if number < before_oldest:
            raise LookupError(f"the change log no longer reaches back to {number}")
        rows = self._sql.execute(
            "SELECT number, account, epoch, revision, digest, added, withdrawn FROM change WHERE number > ? "
            "ORDER BY number LIMIT ?",
            (number, limit),
        )
        return [
            Change(change, account, position_of(epoch, revision, digest), unpacked(added), unpacked(withdrawn))
            for change, account, epoch, revision, digest, added, withdrawn in rows
        ]

    def counts(self) -> Counts:
        return Counts(
            accounts=self._one("SELECT count(*) FROM account"),
            items=self._one("SELECT count(*) FROM item"),
            contents=self._one("SELECT count(*) FROM content"),
            listings=self._one("SELECT coalesce(sum(listings), 0) FROM catalogue"),
            bytes_on_disk=self._one("PRAGMA page_count") * self._one("PRAGMA page_size"),
        )

    def _changed(self, account: int, catalogue: Catalogue, added: Sequence[Item], withdrawn: BitMap) -> Applied:
        gone = withdrawn.to_array()
        new = array("I", sorted(item.id for item in added))
        position = catalogue.position
        number = self._one("SELECT change FROM clock") + 1
        self._sql.execute(
            "INSERT INTO change (number, account, epoch, revision, digest, added, withdrawn) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (number, account, *blobs(position), packed(new), packed(gone)),
        )
        if number % CUT_EVERY == 0:
            self._sql.execute("DELETE FROM change WHERE number <= ?", (number - KEPT_CHANGES,))
        self._sql.execute("UPDATE clock SET change = ?", (number,))
        catalogue.changed = True
        self._cache[account] = catalogue
        return Applied(number, position, added, gone)

    def _catalogue(self, account: int) -> Catalogue:
        catalogue = self._cache.pop(account, None)
        if catalogue is None:
            row = self._sql.execute(
                "SELECT epoch, revision, digest, share FROM catalogue WHERE account = ?", (account,)
            ).fetchone()
            if row is None:
                catalogue = Catalogue(NOWHERE, BitMap())
            else:
                catalogue = Catalogue(position_of(*row[:3]), BitMap(unpacked(row[3])))
        # At the end of the dictionary: the first is the one longest unused.
        self._cache[account] = catalogue
        return catalogue

    def _write_catalogue(self, account: int, catalogue: Catalogue) -> None:
        self._sql.execute(
            "INSERT OR REPLACE INTO catalogue (account, epoch, revision, digest, listings, share) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (account, *blobs(catalogue.position), len(catalogue.share), packed(catalogue.share.to_array())),
        )
        catalogue.changed = False

    # --- Items -----------------------------------------------------------------------------------

    def items(self, ids: Sequence[int]) -> Sequence[Item]:
        found: list[Item] = []
        for some in _pieces(sorted(ids)):
            rows = self._sql.execute(
                f"SELECT {ITEM_COLUMNS} FROM item JOIN content ON number = content "  # noqa: S608
                f"WHERE item.id IN ({_marks(some)}) ORDER BY item.id",
                some,
            )
            found += map(item_of, rows)
        return found

    def items_after(self, after: int, limit: int) -> Sequence[Item]:
        rows = self._sql.execute(
            f"SELECT {ITEM_COLUMNS} FROM item JOIN content ON number = content WHERE item.id > ? "  # noqa: S608
            "ORDER BY item.id LIMIT ?",
            (after, limit),
        )
        return [item_of(row) for row in rows]

    def sweep(self, after: int) -> Swept:
        self._look_at_holdings(begin=after == 0)
        held = self._held
        rows = self._sql.execute("SELECT id FROM item WHERE id > ? ORDER BY id LIMIT ?", (after, SWEEP_STRIDE))
        looked_at = _column(rows)
        removed = [item for item in looked_at if item not in held]
        contents: set[int] = set()
        for some in _pieces(removed):
            contents.update(
                _column(self._sql.execute(f"SELECT content FROM item WHERE id IN ({_marks(some)})", some))  # noqa: S608
            )
        self._sql.executemany("DELETE FROM item WHERE id = ?", ((item,) for item in removed))
        self._sql.executemany(
            "DELETE FROM content WHERE number = ?1 AND NOT EXISTS (SELECT 1 FROM item WHERE content = ?1)",
            ((content,) for content in contents),
        )
        return Swept(removed, looked_at[-1] if len(looked_at) == SWEEP_STRIDE else None)

    def _look_at_holdings(self, *, begin: bool) -> None:
        """All catalogues once a round; then what has been added to any."""
        if not begin:
            try:
                while changes := self.changes_since(self._held_at, _CHANGES_READ):
                    for change in changes:
                        self._held.update(change.added)
                    self._held_at = changes[-1].number
            except LookupError:
                begin = True
        if begin:
            self.write_back()
            shares = self._sql.execute("SELECT share FROM catalogue WHERE listings > 0")
            self._held = BitMap()
            for (share,) in shares:
                self._held |= BitMap(unpacked(share))
            self._held_at = self._one("SELECT change FROM clock")

    def _known(self, digests: Sequence[bytes]) -> dict[bytes, tuple[int, int]]:
        known: dict[bytes, tuple[int, int]] = {}
        for some in _pieces(digests):
            rows = self._sql.execute(
                f"SELECT digest, id, content FROM item WHERE digest IN ({_marks(some)})",  # noqa: S608
                some,
            )
            known.update((digest, (item, content)) for digest, item, content in rows)
        return known

    def _make_items(self, entries: Mapping[bytes, Entry]) -> list[Item]:
        return [self._make_item(digest, entry) for digest, entry in entries.items()]

    def _make_item(self, digest: bytes, entry: Entry) -> Item:
        content_hash = bytes.fromhex(entry.content)
        row = self._sql.execute("SELECT number FROM content WHERE hash = ?", (content_hash,)).fetchone()
        if row is None:
            content = _row_id(self._sql.execute("INSERT INTO content (hash) VALUES (?)", (content_hash,)))
        else:
            content = int(row[0])
        made = self._sql.execute(
            "INSERT INTO item (digest, content, size, folder, name, audience, duration_s, bitrate_kbps, width, height) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (digest, content, *described(entry)),
        )
        return Item(_row_id(made), content, entry)

    def _one(self, sql: str, *values: object) -> int:
        row = self._sql.execute(sql, values).fetchone()
        return int(row[0])


def _pieces(values: Sequence[T]) -> Iterable[Sequence[T]]:
    return (values[at : at + _BOUND] for at in range(0, len(values), _BOUND))


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


def _column(rows: Iterable[tuple[int]]) -> list[int]:
    return [value for (value,) in rows]


def _row_id(made: sqlite3.Cursor) -> int:
    # None only for statements that are no INSERT.
    return made.lastrowid or 0
