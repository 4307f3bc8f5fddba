"""What is written: accounts, sessions, catalogues and the change log, in SQL; items are `ItemTables`'.

Everything here happens inside a transaction that the caller begins and ends.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from attrs import frozen
from pyroaring import BitMap

from ....errors import NapError
from ..interface import KEPT_CHANGES, NOWHERE, Account, NameTaken
from ..packing import Catalogue, blobs, deserialized, position_of, serialized
from ..steps import Digested, check_session, check_step, meet, plan
from .clock import Clock
from .items import ItemTables
from .reading import Reading
from .requests import AccountFor, Apply, Done, Forget, Gone, OpenedSession, OpenSession, Request, Saw, Sweep
from .rows import Row, digest_of_row

#: Catalogues kept in memory between transactions: a first list comes in hundreds of steps.
_CACHED = 64
#: Changes that a sweep reads at once.
_CHANGES_READ = 1_000
#: How often the change log is cut, in changes.
CUT_EVERY = 1_000


@frozen
class Log:
    """How many changes are kept, and how often the others are removed."""

    kept: int = KEPT_CHANGES
    cut_every: int = CUT_EVERY


class Tables:
    """One writer's view of the database; what others write is seen at the next transaction."""

    def __init__(self, connection: sqlite3.Connection, log: Log) -> None:
        self._sql = connection
        self._log = log
        self._reading = Reading(connection)
        self._items = ItemTables(connection)
        self._clock = Clock.read(connection)
        self._version = -1
        self._catalogues: dict[int, Catalogue] = {}
        self._changes: list[tuple[object, ...]] = []
        #: Items that some catalogue has had at any time since a sweep began, up to this change.
        self._held = BitMap()
        self._held_at = 0

    # --- Transactions ----------------------------------------------------------------------------

    def begin(self) -> None:
        version = self._one("PRAGMA data_version")
        if version != self._version:
            # Somebody else has written, or it is the first time.
            self._catalogues.clear()
            self._version = version
        self._clock = Clock.read(self._sql)
        self._items.begin(self._clock)
        self._changes.clear()

    def before_commit(self) -> None:
        """Write what is still in memory: each changed catalogue once, however many steps it had."""
        self._flush()
        while len(self._catalogues) > _CACHED:
            del self._catalogues[next(iter(self._catalogues))]

    def undone(self) -> None:
        """After a rollback: what is in memory may never have been written."""
        self._catalogues.clear()

    def _flush(self) -> None:
        self._items.flush()
        self._sql.executemany("INSERT INTO change VALUES (?, ?, ?, ?, ?, ?, ?)", self._changes)
        self._changes.clear()
        changed = [(account, one) for account, one in self._catalogues.items() if one.changed]
        self._sql.executemany(
            "INSERT OR REPLACE INTO catalogue VALUES (?, ?, ?, ?, ?, ?)",
            [
                (account, *blobs(one.position), len(one.share), serialized(one.share))
                for account, one in changed
            ],
        )  # fmt: skip
        for _, one in changed:
            one.changed = False
        self._clock.write(self._sql)

    # --- Requests --------------------------------------------------------------------------------

    def answer(self, requests: Sequence[Request]) -> list[Any]:
        """The answers, or a `NapError` for a request that was refused and has changed nothing."""
        answers: list[Any] = []
        # A sweep forgets what was looked up.
        for _, some in groupby(requests, lambda request: isinstance(request, Sweep)):
            piece = list(some)
            digested = iter(self._look_up(piece))
            for request in piece:
                try:
                    answers.append(self._answer(request, digested))
                except NapError as error:
                    answers.append(error)
        return answers

    def _look_up(self, requests: Sequence[Request]) -> list[Digested[int]]:
        """The entries of each step among them; what is known of all of these is looked up at once."""
        asked: list[Digested[int]] = []
        add: dict[bytes, Row] = {}
        withdraw: list[bytes] = []
        for request in requests:
            if isinstance(request, Apply):
                digests = [digest_of_row(row) for row in request.add]
                add.update(zip(digests, request.add, strict=True))
                gone = [digest_of_row(row) for row in request.withdraw]
                withdraw += gone
                asked.append(Digested.from_digests({digest: at for at, digest in enumerate(digests)}, gone))
        self._items.look_up(add, withdraw)
        return asked

    def _answer(self, request: Request, digested: Iterator[Digested[int]]) -> object:
        match request:
            case Apply():
                return self._apply(request, next(digested))
            case AccountFor():
                return self._account_for(request)
            case OpenSession():
                return self._open_session(request)
            case Forget():
                return self._forget(request)
            case Saw():
                self._sql.executemany(
                    "UPDATE account SET seen = ? WHERE number = ?",
                    [(request.at, account) for account in request.accounts],
                )
                return None
            case Sweep():
                return self._sweep(request)

    def _account_for(self, request: AccountFor) -> Account:
        row = self._sql.execute("SELECT number, id, user, key FROM account WHERE user = ?", (request.user,)).fetchone()
        if row is None:
            made = self._sql.execute(
                "INSERT INTO account (id, user, key, made, seen) VALUES (?, ?, ?, ?, ?)",
                (request.id, request.user, request.key, request.at, request.at),
            )
            self._clock.accounts += 1
            # None only for statements that are no INSERT.
            return Account(made.lastrowid or 0, request.id, request.user, request.key)
        if row[3] != request.key:
            raise NameTaken(f"the user name {request.user} belongs to another key")
        return Account(*row)

    def _open_session(self, request: OpenSession) -> OpenedSession:
        self._clock.session += 1
        session = self._clock.session
        self._sql.execute(
            "UPDATE account SET session = ?, seen = ? WHERE number = ?", (session, request.at, request.account)
        )
        catalogue = self._catalogue(request.account)
        position = meet(catalogue.position, request.held)
        if position == NOWHERE and catalogue.share:
            dropped = catalogue.share
            self._changed(request.account, Catalogue(NOWHERE, BitMap()), BitMap(), dropped)
            return OpenedSession(session, NOWHERE, b"", dropped.to_array().tobytes())
        if position != catalogue.position:
            catalogue.position = position
            catalogue.changed = True
        return OpenedSession(session, position, catalogue.share.to_array().tobytes(), b"")

    def _apply(self, step: Apply, digested: Digested[int]) -> Done:
        catalogue = self._catalogue(step.account)
        check_step(step, self._session(step.account), catalogue.position)
        known = self._items.known(digested.all())
        ids = {digest: item for digest, (item, _) in known.items()}
        planned = plan(step, digested, ids, catalogue.share, catalogue.position, step.most)
        places, items, contents = array("I"), array("I"), array("I")
        for digest, place in digested.add.items():
            if digest in planned.new:
                item, content = self._items.make(digest, step.add[place])
            else:
                item, content = known[digest]
                if item not in planned.added:
                    continue
            places.append(place)
            items.append(item)
            contents.append(content)
        added = BitMap(items)
        share = (catalogue.share - planned.withdrawn) | added
        change = self._changed(step.account, Catalogue(planned.position, share), added, planned.withdrawn)
        return Done(
            change,
            planned.position,
            places.tobytes(),
            items.tobytes(),
            contents.tobytes(),
            planned.withdrawn.to_array().tobytes(),
        )

    def _forget(self, request: Forget) -> Done:
        check_session(request.session, self._session(request.account))
        share = self._catalogue(request.account).share
        change = self._changed(request.account, Catalogue(NOWHERE, BitMap()), BitMap(), share)
        return Done(change, NOWHERE, b"", b"", b"", share.to_array().tobytes())

    def _changed(self, account: int, catalogue: Catalogue, added: BitMap, withdrawn: BitMap) -> int:
        """Returns the number of the change."""
        clock = self._clock
        clock.change += 1
        clock.listings += len(added) - len(withdrawn)
        self._changes.append(
            (clock.change, account, *blobs(catalogue.position), serialized(added), serialized(withdrawn))
        )
        if clock.change % self._log.cut_every == 0:
            self._sql.execute("DELETE FROM change WHERE number <= ?", (clock.change - self._log.kept,))
        catalogue.changed = True
        self._catalogues[account] = catalogue
        return clock.change

    def _session(self, account: int) -> int:
        """Its newest."""
        return self._one("SELECT session FROM account WHERE number = ?", account)

    def _catalogue(self, account: int) -> Catalogue:
        catalogue = self._catalogues.pop(account, None)
        if catalogue is None:
            row = self._sql.execute(
                "SELECT epoch, revision, digest, share FROM catalogue WHERE account = ?", (account,)
            ).fetchone()
            if row is None:
                catalogue = Catalogue(NOWHERE, BitMap())
            else:
                catalogue = Catalogue(position_of(*row[:3]), deserialized(row[3]))
        # At the end of the dictionary: the first is the one longest unused.
        self._catalogues[account] = catalogue
        return catalogue

    def _one(self, sql: str, *values: object) -> int:
        row = self._sql.execute(sql, values).fetchone()
        return int(row[0])

    # --- Sweeping --------------------------------------------------------------------------------

    def _sweep(self, request: Sweep) -> Gone:
        self._flush()
        self._look_at_holdings(begin=request.after == 0)
        rows = self._sql.execute(
            "SELECT id FROM item WHERE id > ? ORDER BY id LIMIT ?", (request.after, request.stride)
        )
        looked_at = BitMap([item for (item,) in rows])
        removed, left = (looked_at - self._held).to_array(), (looked_at & self._held).to_array()
        self._items.remove(removed)
        return Gone(removed.tobytes(), left.tobytes(), looked_at.max() if len(looked_at) == request.stride else None)

    def _look_at_holdings(self, *, begin: bool) -> None:
        """All catalogues once a round; then what has been added to any."""
        if not begin:
            try:
                while changes := self._reading.changes_since(self._held_at, _CHANGES_READ):
                    for change in changes:
                        self._held.update(change.added)
                    self._held_at = changes[-1].number
            except LookupError:
                begin = True
        if begin:
            shares = self._sql.execute("SELECT share FROM catalogue WHERE listings > 0")
            self._held = BitMap()
            for (share,) in shares:
                self._held |= deserialized(share)
            self._held_at = self._clock.change
