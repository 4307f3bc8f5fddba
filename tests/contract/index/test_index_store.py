"""What every store promises, held against each of them (napd.index.store.interface)."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults

from napd.index.store import interface
from napd.index.store.interface import (
    NOWHERE,
    IndexStore,
    NameTaken,
    OutOfStep,
    Position,
    StaleSession,
    Step,
    TooManyListings,
)
from napd.index.store.memory import MemoryStore
from napd.index.store.postgres.store import PostgresStore
from napd.index.store.sqlite.store import SqliteStore
from napd.index.store.sqlite.tables import Log
from napd.model import PeerId
from napd.wire.catalogue import Entry, catalogue_digest
from tests.support.index_script import entry
from tests.support.postgres import PostgresServer

KEY = PeerId("k" * 52)
OTHER_KEY = PeerId("o" * 52)
EPOCH = "e" * 64
MANY = 1_000_000


def account_ids() -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"account-{next(numbers)}"


def open_postgres(url: str) -> PostgresStore:
    return PostgresStore.open(reactor, url, account_ids(), time.monotonic, Random(1))


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[IndexStore]:
    made: IndexStore
    if request.param == "memory":
        made = MemoryStore(account_ids())
    elif request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        made = open_postgres(server.database())
    else:
        made = SqliteStore.open(reactor, tmp_path / "index.db", account_ids(), Random(1))
    yield made
    pytest_twisted.blockon(as_deferred(made.stop()))


def as_deferred(awaitable: Any) -> Any:
    return awaitable if isinstance(awaitable, Deferred) else ensureDeferred(awaitable)


class Peer:
    """A peer with a session at the store, keeping count of its own revisions."""

    def __init__(self, store: IndexStore, account: int, session: int) -> None:
        self.store = store
        self.account = account
        self.session = session
        self.revision = 0

    @classmethod
    async def login(cls, store: IndexStore, user: str = "ann", key: PeerId = KEY) -> Peer:
        account = await store.account_for(user, key, 1.0)
        opened = await store.open_session(account.number, Position(EPOCH, 1_000_000, "9" * 64), 1.0)
        return cls(store, account.number, opened.session)

    def step(self, *add: Entry, withdraw: tuple[Entry, ...] = (), reset: bool = False, **changes: Any) -> Step:
        base = 0 if reset else self.revision
        values: dict[str, Any] = {
            "account": self.account,
            "session": self.session,
            "epoch": EPOCH,
            "base": base,
            "revision": base + 1,
            "add": add,
            "withdraw": withdraw,
            "reset": reset,
        }
        return Step(**(values | changes))

    async def announce(self, *add: Entry, **how: Any) -> interface.Applied:
        applied = await self.store.apply(self.step(*add, **how), MANY)
        self.revision = applied.position.revision
        return applied

    async def names(self) -> list[str]:
        held = await self.store.items(await self.store.holdings(self.account))
        return sorted(item.entry.name for item in held)


# --- Accounts and sessions ---------------------------------------------------------------------------


async def test_the_first_key_to_use_a_name_owns_it(store: IndexStore) -> None:
    account = await store.account_for("ann", KEY, 1.0)
    assert (account.user, account.key) == ("ann", KEY)
    assert await store.account_for("ann", KEY, 2.0) == account
    with pytest.raises(NameTaken) as caught:
        await store.account_for("ann", OTHER_KEY, 3.0)
    assert caught.value.code == "name_taken"


async def test_accounts_have_ids_and_numbers_of_their_own(store: IndexStore) -> None:
    ann = await store.account_for("ann", KEY, 1.0)
    bob = await store.account_for("bob", KEY, 1.0)
    assert ann.id != bob.id
    assert ann.number != bob.number


async def test_session_numbers_grow_over_all_accounts(store: IndexStore) -> None:
    ann = await store.account_for("ann", KEY, 1.0)
    bob = await store.account_for("bob", OTHER_KEY, 1.0)
    numbers = [(await store.open_session(account.number, NOWHERE, 1.0)).session for account in (ann, bob, ann)]
    assert numbers == sorted(set(numbers))


async def test_a_new_account_holds_nothing(store: IndexStore) -> None:
    account = await store.account_for("ann", KEY, 1.0)
    opened = await store.open_session(account.number, Position(EPOCH, 3, "1" * 64), 1.0)
    assert opened.position == NOWHERE
    assert list(opened.share) == []
    assert list(await store.holdings(account.number)) == []


# --- Steps -------------------------------------------------------------------------------------------


async def test_a_reset_makes_the_catalogue_what_it_says(store: IndexStore) -> None:
    ann = await Peer.login(store)
    applied = await ann.announce(entry("m/a.mp3"), entry("m/b.mp3"), reset=True)
    assert sorted(item.entry.name for item in applied.added) == ["a.mp3", "b.mp3"]
    assert list(applied.withdrawn) == []
    assert await ann.names() == ["a.mp3", "b.mp3"]
    digest = catalogue_digest([entry("m/a.mp3"), entry("m/b.mp3")])
    assert applied.position == Position(EPOCH, 1, digest)


async def test_a_later_reset_drops_what_it_does_not_name_and_keeps_what_it_does(store: IndexStore) -> None:
    ann = await Peer.login(store)
    first = await ann.announce(entry("m/a.mp3"), entry("m/b.mp3"), reset=True)
    ids = {item.entry.name: item.id for item in first.added}
    applied = await ann.announce(entry("m/b.mp3"), entry("m/c.mp3"), reset=True)
    assert [item.entry.name for item in applied.added] == ["c.mp3"]
    assert list(applied.withdrawn) == [ids["a.mp3"]]
    assert applied.position.digest == catalogue_digest([entry("m/b.mp3"), entry("m/c.mp3")])


async def test_steps_add_and_withdraw(store: IndexStore) -> None:
    ann = await Peer.login(store)
    await ann.announce(entry("m/a.mp3"), reset=True)
    await ann.announce(entry("m/b.mp3"), entry("m/c.mp3"))
    applied = await ann.announce(entry("m/d.mp3"), withdraw=(entry("m/a.mp3"), entry("m/b.mp3")))
    assert len(applied.withdrawn) == 2
    assert await ann.names() == ["c.mp3", "d.mp3"]
    assert applied.position == Position(EPOCH, 3, catalogue_digest([entry("m/c.mp3"), entry("m/d.mp3")]))


async def test_adding_what_is_there_and_withdrawing_what_is_not_changes_nothing(store: IndexStore) -> None:
    ann = await Peer.login(store)
    await ann.announce(entry("m/a.mp3"), reset=True)
    applied = await ann.announce(entry("m/a.mp3"), entry("m/a.mp3"), withdraw=(entry("m/z.mp3"),))
    assert (list(applied.added), list(applied.withdrawn)) == ([], [])
    assert applied.position == Position(EPOCH, 2, catalogue_digest([entry("m/a.mp3")]))


async def test_withdrawals_come_before_additions(store: IndexStore) -> None:
    ann = await Peer.login(store)
    await ann.announce(entry("m/a.mp3"), reset=True)
    applied = await ann.announce(entry("m/a.mp3"), withdraw=(entry("m/a.mp3"),))
    assert await ann.names() == ["a.mp3"]
    assert applied.position.digest == catalogue_digest([entry("m/a.mp3")])


async def test_the_same_entry_of_two_accounts_is_one_item(store: IndexStore) -> None:
    ann = await Peer.login(store)
    bob = await Peer.login(store, "bob", OTHER_KEY)
    mine = await ann.announce(entry("m/a.mp3"), reset=True)
    other = await bob.announce(entry("m/a.mp3"), entry("n/a.mp3", seed="m/a.mp3"), reset=True)
    assert mine.added[0] in other.added
    assert len({item.content for item in other.added}) == 1
    assert (await store.counts()) == interface.Counts(accounts=2, items=2, contents=1, listings=3)


async def test_every_field_of_an_entry_comes_back(store: IndexStore) -> None:
    ann = await Peer.login(store)
    full = entry(
        'Müsic/"q"\n/🎉 e\u0301.mp3',
        size=1 << 46,
        audience=("staff", "@account-2"),
        duration_s=12.5,
        bitrate_kbps=320,
        width=1920,
        height=1080,
    )
    await ann.announce(full, entry("m/plain"), reset=True)
    items = await store.items(await store.holdings(ann.account))
    assert {item.entry for item in items} == {full, entry("m/plain")}


async def test_a_step_of_an_old_session_changes_nothing(store: IndexStore) -> None:
    old = await Peer.login(store)
    await old.announce(entry("m/a.mp3"), reset=True)
    new = await Peer.login(store)
    with pytest.raises(StaleSession):
        await old.announce(entry("m/b.mp3"))
    with pytest.raises(StaleSession):
        await old.announce(reset=True)
    assert await new.names() == ["a.mp3"]


@pytest.mark.parametrize("wrong", [{"base": 2}, {"base": 0}, {"epoch": "d" * 64}])
async def test_a_step_from_elsewhere_than_where_the_catalogue_stands_changes_nothing(
    store: IndexStore, wrong: dict[str, Any]
) -> None:
    ann = await Peer.login(store)
    await ann.announce(entry("m/a.mp3"), reset=True)
    with pytest.raises(OutOfStep):
        await ann.announce(entry("m/b.mp3"), **wrong)
    assert await ann.names() == ["a.mp3"]
    # And the way it should be still goes.
    await ann.announce(entry("m/b.mp3"))


async def test_a_catalogue_never_gets_over_its_limit(store: IndexStore) -> None:
    ann = await Peer.login(store)
    await store.apply(ann.step(entry("m/a"), entry("m/b"), reset=True), 2)
    ann.revision = 1
    with pytest.raises(TooManyListings):
        await store.apply(ann.step(entry("m/c")), 2)
    assert await ann.names() == ["a", "b"]
    # Counted as it would be afterwards: known ones again, and one for one, are fine.
    await store.apply(ann.step(entry("m/a"), entry("m/c"), withdraw=(entry("m/b"),)), 2)
    assert await ann.names() == ["a", "c"]
    assert (await store.counts()).items == 3


async def test_steps_asked_for_together_are_applied_in_order(store: IndexStore) -> None:
    ann = await Peer.login(store)
    steps = [ann.step(entry(f"m/{n}"), base=n, revision=n + 1, reset=n == 0) for n in range(200)]
    wrong = ann.step(entry("m/wrong"), base=7, revision=300)
    asked = [as_deferred(store.apply(step, MANY)) for step in [*steps[:100], wrong, *steps[100:]]]
    asked[100].addErrback(lambda failure: failure.trap(OutOfStep))
    await gatherResults(asked)
    assert len(await store.holdings(ann.account)) == 200
    assert (await store.changes_since(0, 1000))[-1].number == 200


# --- Coming back -------------------------------------------------------------------------------------


async def test_a_returning_peer_finds_its_catalogue_where_it_was(store: IndexStore) -> None:
    ann = await Peer.login(store)
    applied = await ann.announce(entry("m/a.mp3"), entry("m/b.mp3"), reset=True)
    opened = await store.open_session(ann.account, applied.position, 5.0)
    assert opened.position == applied.position
    assert opened.share == array("I", sorted(item.id for item in applied.added))


async def test_the_same_digest_is_the_same_catalogue_whatever_it_was_counted_by(store: IndexStore) -> None:
    ann = await Peer.login(store)
    applied = await ann.announce(entry("m/a.mp3"), reset=True)
    held = Position("d" * 64, 77, applied.position.digest)
    opened = await store.open_session(ann.account, held, 5.0)
    assert opened.position == held
    ann.session = opened.session
    await ann.announce(entry("m/b.mp3"), epoch="d" * 64, base=77, revision=78)
    assert await ann.names() == ["a.mp3", "b.mp3"]


async def test_a_peer_that_is_further_on_goes_on_from_what_is_stored(store: IndexStore) -> None:
    ann = await Peer.login(store)
    applied = await ann.announce(entry("m/a.mp3"), reset=True)
    opened = await store.open_session(ann.account, Position(EPOCH, 2, "7" * 64), 5.0)
    assert opened.position == applied.position
    ann.session = opened.session
    await ann.announce(entry("m/b.mp3"))
    assert await ann.names() == ["a.mp3", "b.mp3"]


@pytest.mark.parametrize(
    "held", [Position(EPOCH, 1, "7" * 64), Position(EPOCH, 0, "7" * 64), Position("d" * 64, 9, "7" * 64)]
)
async def test_a_catalogue_that_its_peer_cannot_go_on_from_is_emptied(store: IndexStore, held: Position) -> None:
    ann = await Peer.login(store)
    applied = await ann.announce(entry("m/a.mp3"), reset=True)
    opened = await store.open_session(ann.account, held, 5.0)
    assert (opened.position, list(opened.share)) == (NOWHERE, [])
    assert list(opened.dropped) == [item.id for item in applied.added]
    assert await ann.names() == []
    assert (await store.changes_since(applied.change, 10))[0].withdrawn == array("I", [applied.added[0].id])
    ann.session = opened.session
    again = await ann.announce(entry("m/a.mp3"), reset=True)
    assert again.added == applied.added


# --- The change log, retention, loading --------------------------------------------------------------


async def test_the_change_log_tells_every_change_in_order(store: IndexStore) -> None:
    ann = await Peer.login(store)
    first = await ann.announce(entry("m/a.mp3"), reset=True)
    second = await ann.announce(entry("m/b.mp3"), withdraw=(entry("m/a.mp3"),))
    changes = await store.changes_since(0, 10)
    assert [change.number for change in changes] == [first.change, second.change] == [1, 2]
    assert changes[1] == interface.Change(
        2, ann.account, second.position, array("I", [second.added[0].id]), array("I", [first.added[0].id])
    )
    assert await store.changes_since(1, 10) == changes[1:]
    assert await store.changes_since(0, 1) == changes[:1]
    assert list(await store.changes_since(2, 10)) == []


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch, store: IndexStore, tmp_path: Path) -> Iterator[IndexStore]:
    """A store that keeps five changes."""
    for module in ("memory", "postgres.log"):
        monkeypatch.setattr(f"napd.index.store.{module}.KEPT_CHANGES", 5, raising=True)
    monkeypatch.setattr("napd.index.store.postgres.log.CUT_EVERY", 1)
    if isinstance(store, MemoryStore):
        store = MemoryStore(account_ids())
    if not isinstance(store, SqliteStore):
        yield store
        return
    made = SqliteStore.open(reactor, tmp_path / "forgetful.db", account_ids(), Random(1), log=Log(5, cut_every=1))
    yield made
    pytest_twisted.blockon(as_deferred(made.stop()))


async def test_a_follower_that_is_too_far_behind_is_told_so(forgetful: IndexStore) -> None:
    store = forgetful
    ann = await Peer.login(store)
    for n in range(20):
        await ann.announce(entry(f"m/{n}"), reset=n == 0)
    assert len(await store.changes_since(15, 100)) == 5
    with pytest.raises(LookupError):
        await store.changes_since(3, 100)


async def test_forgetting_empties_the_catalogue_and_keeps_the_name(store: IndexStore) -> None:
    ann = await Peer.login(store)
    applied = await ann.announce(entry("m/a.mp3"), reset=True)
    forgotten = await store.forget(ann.account, ann.session)
    assert list(forgotten.withdrawn) == [applied.added[0].id]
    assert await ann.names() == []
    opened = await store.open_session(ann.account, Position(EPOCH, 1, "7" * 64), 5.0)
    assert opened.position == NOWHERE
    with pytest.raises(NameTaken):
        await store.account_for("ann", OTHER_KEY, 6.0)


async def test_a_catalogue_is_not_forgotten_once_its_peer_is_back(store: IndexStore) -> None:
    gone = await Peer.login(store)
    await gone.announce(entry("m/a.mp3"), reset=True)
    back = await Peer.login(store)
    with pytest.raises(StaleSession):
        await store.forget(gone.account, gone.session)
    assert await back.names() == ["a.mp3"]


async def test_accounts_that_nobody_has_seen_for_long_are_found(store: IndexStore) -> None:
    ann = await Peer.login(store, "ann")
    bob = await Peer.login(store, "bob", OTHER_KEY)
    await Peer.login(store, "empty")
    await ann.announce(entry("m/a.mp3"), reset=True)
    await bob.announce(entry("m/a.mp3"), reset=True)
    await store.saw([bob.account], 100.0)
    assert list(await store.unseen(50.0, 10)) == [interface.Lapsed(ann.account, ann.session)]
    assert {lapsed.account for lapsed in await store.unseen(200.0, 10)} == {ann.account, bob.account}
    assert len(await store.unseen(200.0, 1)) == 1


async def test_a_sweep_takes_items_that_nobody_holds_and_no_others(store: IndexStore) -> None:
    ann = await Peer.login(store)
    first = await ann.announce(entry("m/a"), entry("m/b", seed="x"), entry("m/c", seed="x"), reset=True)
    ids = {item.entry.name: item.id for item in first.added}
    await ann.announce(withdraw=(entry("m/a"), entry("m/b", seed="x")))
    swept = await store.sweep(0)
    assert sorted(swept.removed) == sorted([ids["a"], ids["b"]])
    assert swept.left.tolist() == [ids["c"]]
    assert swept.next is None
    counts = await store.counts()
    assert (counts.items, counts.contents, counts.listings) == (1, 1, 1)
    # What comes back gets numbers that nothing had before.
    again = await ann.announce(entry("m/a"))
    assert again.added[0].id > max(ids.values())
    assert again.added[0].content not in {item.content for item in first.added}


async def test_a_sweep_goes_on_where_it_left_off(store: IndexStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("memory", "sqlite.store", "postgres.tables"):
        monkeypatch.setattr(f"napd.index.store.{module}.SWEEP_STRIDE", 4)
    ann = await Peer.login(store)
    await ann.announce(*(entry(f"m/{n}") for n in range(10)), reset=True)
    await ann.announce(reset=True)
    removed, after = 0, 0
    for _ in range(4):
        swept = await store.sweep(after)
        removed += len(swept.removed)
        if swept.next is None:
            break
        after = swept.next
    assert removed == 10


async def test_a_sweep_tells_what_it_has_looked_at_and_left(store: IndexStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("memory", "sqlite.store", "postgres.tables"):
        monkeypatch.setattr(f"napd.index.store.{module}.SWEEP_STRIDE", 4)
    ann = await Peer.login(store)
    added = (await ann.announce(*(entry(f"m/{n}") for n in range(10)), reset=True)).added
    await ann.announce(withdraw=[item.entry for item in added[:6]])
    await store.sweep(0)
    swept = await store.sweep(added[3].id)
    assert (list(swept.removed), swept.left.tolist()) == (
        [added[4].id, added[5].id],
        [added[6].id, added[7].id],
    )


async def test_what_is_added_between_two_pieces_of_a_sweep_stays(
    store: IndexStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("memory", "sqlite.store", "postgres.tables"):
        monkeypatch.setattr(f"napd.index.store.{module}.SWEEP_STRIDE", 4)
    ann = await Peer.login(store)
    await ann.announce(*(entry(f"m/{n}") for n in range(10)), reset=True)
    await ann.announce(reset=True)
    swept = await store.sweep(0)
    assert swept.next is not None
    # Nobody held it when the sweep began.
    kept = await ann.announce(entry("m/9"))
    while swept.next is not None:
        swept = await store.sweep(swept.next)
        assert kept.added[0].id not in swept.removed
    assert await ann.names() == ["9"]
    assert (await store.counts()).items == 1


async def test_everything_known_can_be_paged_through(store: IndexStore) -> None:
    ann = await Peer.login(store)
    await ann.announce(*(entry(f"m/{n}") for n in range(25)), reset=True)
    seen: list[int] = []
    while page := await store.items_after(seen[-1] if seen else 0, 10):
        seen += [item.id for item in page]
    assert seen == sorted(seen)
    assert len(seen) == 25
    assert [item.id for item in await store.items([seen[3], 999_999, seen[1]])] == [seen[1], seen[3]]


names = st.lists(st.sampled_from("abcdef"), max_size=6).map(lambda found: [entry(f"m/{name}") for name in found])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(names, names, st.booleans()), max_size=8))
async def test_any_run_of_steps_ends_with_the_set_and_the_digest_that_they_describe(
    tmp_path_factory: pytest.TempPathFactory,
    postgres: PostgresServer,
    steps: list[tuple[list[Entry], list[Entry], bool]],
) -> None:
    path = tmp_path_factory.mktemp("store") / "index.db"
    stores: list[IndexStore] = [MemoryStore(account_ids()), SqliteStore.open(reactor, path, account_ids(), Random(1))]
    stores.append(open_postgres(postgres.database()))
    for store in stores:
        ann = await Peer.login(store)
        expected: set[Entry] = set()
        applied = await ann.announce(reset=True)
        for add, withdraw, reset in steps:
            expected = ((set() if reset else expected) - set(withdraw)) | set(add)
            applied = await ann.announce(*add, withdraw=tuple(withdraw), reset=reset)
        assert applied.position.digest == catalogue_digest(expected)
        assert await ann.names() == sorted(found.name for found in expected)
        await store.stop()
