"""A store in memory: everything is as in the durable one, until the process ends."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Sequence

from attrs import define, field
from pyroaring import BitMap
from twisted.internet.defer import Deferred, maybeDeferred

from ...model import PeerId
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
from .steps import Digested, check_session, check_step, meet, plan


@define
class _Remembered:
    account: Account
    seen: float
    session: int = 0
    position: Position = NOWHERE
    share: BitMap = field(factory=BitMap)


class MemoryStore:
    """:param new_account_id: makes the immutable id of a new account."""

    name = "memory"

    def __init__(self, new_account_id: Callable[[], str]) -> None:
        self._new_account_id = new_account_id
        self._by_user: dict[str, int] = {}
        self._accounts: dict[int, _Remembered] = {}
        self._contents: dict[str, int] = {}
        self._ids: dict[bytes, int] = {}
        self._items: dict[int, Item] = {}
        self._digests: dict[int, bytes] = {}
        self._changes: deque[Change] = deque(maxlen=KEPT_CHANGES)
        self._last_item = 0
        self._last_content = 0
        self._change = 0
        self._session = 0

    def account_for(self, user: str, key: PeerId, at: float) -> Deferred[Account]:
        return maybeDeferred(self._account_for, user, key, at)

    def open_session(self, account: int, held: Position, at: float) -> Deferred[Opened]:
        return maybeDeferred(self._open_session, account, held, at)

    def apply(self, step: Step, most: int) -> Deferred[Applied]:
        return maybeDeferred(self._apply, step, most)

    def holdings(self, account: int) -> Deferred[array[int]]:
        return maybeDeferred(lambda: self._accounts[account].share.to_array())

    def items(self, ids: Sequence[int]) -> Deferred[Sequence[Item]]:
        return maybeDeferred(lambda: [self._items[item] for item in sorted(ids) if item in self._items])

    def items_after(self, after: int, limit: int) -> Deferred[Sequence[Item]]:
        return maybeDeferred(lambda: [self._items[item] for item in sorted(self._items) if item > after][:limit])

    def changes_since(self, number: int, limit: int) -> Deferred[Sequence[Change]]:
        return maybeDeferred(self._changes_since, number, limit)

    def forget(self, account: int, session: int) -> Deferred[Applied]:
        return maybeDeferred(self._forget, account, session)

    def saw(self, accounts: Sequence[int], at: float) -> Deferred[None]:
        return maybeDeferred(self._saw, accounts, at)

    def unseen(self, since: float, limit: int) -> Deferred[Sequence[Lapsed]]:
        return maybeDeferred(
            lambda: [
                Lapsed(number, kept.session)
                for number, kept in self._accounts.items()
                if kept.share and kept.seen < since
            ][:limit]
        )

    def sweep(self, after: int) -> Deferred[Swept]:
        return maybeDeferred(self._sweep, after)

    def counts(self) -> Deferred[Counts]:
        return maybeDeferred(
            lambda: Counts(
                accounts=len(self._accounts),
                items=len(self._items),
                contents=len(self._contents),
                listings=sum(len(kept.share) for kept in self._accounts.values()),
            )
        )

    def stop(self) -> Deferred[None]:
        return maybeDeferred(lambda: None)

    # --- What each comes to ----------------------------------------------------------------------

    def _account_for(self, user: str, key: PeerId, at: float) -> Account:
        number = self._by_user.get(user)
        if number is None:
            number = len(self._accounts) + 1
            account = Account(number, self._new_account_id(), user, key)
            self._accounts[number] = _Remembered(account, at)
            self._by_user[user] = number
        account = self._accounts[number].account
        if account.key != key:
            raise NameTaken(f"the user name {user} belongs to another key")
        return account

    def _open_session(self, account: int, held: Position, at: float) -> Opened:
        kept = self._accounts[account]
        self._session += 1
        kept.session = self._session
        kept.seen = at
        position = meet(kept.position, held)
        dropped = kept.share.to_array() if position == NOWHERE else array("I")
        if dropped:
            self._changed(kept, NOWHERE, BitMap(), (), kept.share)
        kept.position = position
        return Opened(kept.session, kept.position, kept.share.to_array(), dropped)

    def _apply(self, step: Step, most: int) -> Applied:
        kept = self._accounts[step.account]
        check_step(step, kept.session, kept.position)
        digested = Digested.of(step)
        planned = plan(step, digested, self._ids, kept.share, kept.position, most)
        added = [self._items[item] for item in planned.added]
        for digest, entry in planned.new.items():
            self._last_item += 1
            content = self._contents.get(entry.content)
            if content is None:
                self._last_content += 1
                content = self._contents[entry.content] = self._last_content
            item = Item(self._last_item, content, entry)
            self._ids[digest] = item.id
            self._items[item.id] = item
            self._digests[item.id] = digest
            added.append(item)
        share = kept.share - planned.withdrawn
        share.update(item.id for item in added)
        return self._changed(kept, planned.position, share, added, planned.withdrawn)

    def _changed(
        self, kept: _Remembered, position: Position, share: BitMap, added: Sequence[Item], withdrawn: BitMap
    ) -> Applied:
        kept.position = position
        kept.share = share
        self._change += 1
        gone = withdrawn.to_array()
        ids = array("I", sorted(item.id for item in added))
        self._changes.append(Change(self._change, kept.account.number, position, ids, gone))
        return Applied(self._change, position, added, gone)

    def _changes_since(self, number: int, limit: int) -> Sequence[Change]:
        if number < self._change - len(self._changes):
            raise LookupError(f"the change log no longer reaches back to {number}")
        return [change for change in self._changes if change.number > number][:limit]

    def _forget(self, account: int, session: int) -> Applied:
        kept = self._accounts[account]
        check_session(session, kept.session)
        return self._changed(kept, NOWHERE, BitMap(), (), kept.share)

    def _saw(self, accounts: Sequence[int], at: float) -> None:
        for account in accounts:
            self._accounts[account].seen = at

    def _sweep(self, after: int) -> Swept:
        looked_at = [item for item in sorted(self._items) if item > after][:SWEEP_STRIDE]
        held = BitMap.union(BitMap(), *(kept.share for kept in self._accounts.values()))
        removed = [item for item in looked_at if item not in held]
        for item in removed:
            del self._items[item]
            del self._ids[self._digests.pop(item)]
        used = {item.content for item in self._items.values()}
        self._contents = {content: number for content, number in self._contents.items() if number in used}
        left = array("I", (item for item in looked_at if item in held))
        return Swept(removed, left, looked_at[-1] if len(looked_at) == SWEEP_STRIDE else None)
