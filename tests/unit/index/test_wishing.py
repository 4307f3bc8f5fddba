"""Very many wishes: what is announced is compared with a few of them, and the reactor gets its turn in between."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from attrs import define, evolve, field
from pyroaring import BitMap
from pytest import MonkeyPatch
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from napd.index import standing, wishing
from napd.index.engine import MemoryEngine
from napd.index.items import Asker, Item
from napd.index.language import understand
from napd.index.presence import Online, Presence
from napd.index.query import Choice, Piece
from napd.index.search import Found
from napd.index.store.interface import Account
from napd.index.table import ItemTable
from napd.index.wishing import Wishing
from tests.support.index_script import content, entry


@define(eq=False)
class Listener:
    """A session that wishes, and what it is told."""

    asker: Asker
    told: list[tuple[int, list[str], bool]] = field(factory=list)

    def tell_wished(self, number: int, results: Sequence[Found], *, more: bool) -> None:
        self.told.append((number, [result.shown.name for result in results], more))


class Turning(Clock):
    """A clock on which each call is a turn of its own, however soon it is to come."""

    def callLater(self, when: float, what: Any, *args: Any, **named: Any) -> Any:
        return super().callLater(max(when, 0.001), what, *args, **named)


class Rig:
    """One that offers things, and one that wishes."""

    def __init__(self) -> None:
        self.clock = Turning()
        self.table = ItemTable()
        self.presence = Presence(self.table)
        self.engine = MemoryEngine(self.table, self.presence)
        self.faults: list[Failure] = []
        self.wishing = Wishing(
            self.clock, self.table, self.presence, self.engine, lambda _, failure: self.faults.append(failure)
        )
        self.online: Online = self.presence.connect(Account(1, "a-1", "bob", "key"), 1, 0.0)
        self.listener = Listener(Asker(2, "a-2", "peer"))
        self.items = 0

    def wish(self, typed: str, number: int) -> bool:
        return self.wishing.hold(self.listener, number, understand(typed))

    def announce(self, *names: str) -> None:
        items = []
        for name in names:
            self.items += 1
            items.append(Item(self.items, self.items, entry(f"f/{name}", seed=content(self.items))))
        self.engine.learn(items)
        ids = BitMap(item.id for item in items)
        self.presence.add(self.online, ids)
        self.wishing.announced("bob", ids, ids)

    def settle(self) -> None:
        for _ in range(1_000):
            self.clock.advance(0.01)


def test_with_100_000_wishes_an_announcement_of_500_is_compared_with_few() -> None:
    rig = Rig()
    # Each wishes for a common word with one that few others have.
    rig.announce(*(f"common {n}.mp3" for n in range(100)))
    rig.settle()
    like = understand("common rare")
    for n in range(100_000):
        rare = Piece((f"rare{n}",), None, f" rare{n} ", decided=True, words=1)
        assert rig.wishing.hold(rig.listener, n, evolve(like, wanted=(like.wanted[0], Choice((rare,)))))
    rig.announce(*(f"common rare{n * 200} more.mp3" for n in range(500)))
    rig.settle()
    assert sorted(number for number, _, _ in rig.listener.told) == [n * 200 for n in range(500)]
    assert rig.wishing.looks == 500


def test_equal_wishes_are_looked_at_once() -> None:
    rig = Rig()
    for n in range(5_000):
        assert rig.wish("moon", n)
    rig.announce("moon.mp3")
    rig.settle()
    assert rig.wishing.looks == 1
    assert len(rig.listener.told) == 5_000


def test_a_few_steps_are_done_in_one_turn(monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(wishing, "STEPS", 10)
    rig = Rig()
    for n in range(40):
        rig.wish(f"moon -x{n}", n)
    rig.announce("moon.mp3")
    looks = [0]
    while rig.clock.getDelayedCalls() and looks[-1] < 40:
        rig.clock.advance(0.001)
        looks.append(rig.wishing.looks)
    assert looks[-1] == 40
    assert max(after - before for before, after in pairwise(looks)) <= 10


def test_a_few_results_are_told_in_one_turn(monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(wishing, "RESULTS", 10)
    rig = Rig()
    for n in range(40):
        rig.wish("moon", n)
    rig.announce("moon.mp3")
    told = [0]
    while rig.clock.getDelayedCalls():
        rig.clock.advance(0.001)
        told.append(len(rig.listener.told))
    assert told[-1] == 40
    assert max(after - before for before, after in pairwise(told)) <= 10


def test_who_announces_more_waits_until_what_was_announced_is_compared(monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(wishing, "MAX_BACKLOG", 3)
    rig = Rig()
    rig.wish("moon", 1)
    assert rig.wishing.room().called
    rig.announce("moon 1", "moon 2", "moon 3")
    room = rig.wishing.room()
    assert not room.called
    rig.settle()
    assert room.called
    assert rig.listener.told == [(1, ["moon 1", "moon 2", "moon 3"], False)]


def test_a_fault_is_told_and_stops_neither_those_who_announce_nor_what_others_are_told(
    monkeypatch: MonkeyPatch,
) -> None:
    monkeypatch.setattr(wishing, "MAX_BACKLOG", 1)
    rig = Rig()
    rig.wish("moon", 1)
    rig.wish("moon", 2)
    seen: list[int] = []

    class Faulty(Listener):
        def tell_wished(self, number: int, results: Sequence[Found], *, more: bool) -> None:
            raise ZeroDivisionError

    rig.wishing.hold(Faulty(Asker(3, "a-3", "other")), 1, understand("moon"))
    row = rig.table.get
    monkeypatch.setattr(rig.table, "get", lambda item: seen.append(item) or (1 / 0 if item == 1 else row(item)))
    rig.announce("moon 1", "moon 2")
    room = rig.wishing.room()
    rig.settle()
    assert room.called
    assert seen == [1, 2]
    assert sorted(rig.listener.told) == [(1, ["moon 2"], False), (2, ["moon 2"], False)]
    assert [failure.type for failure in rig.faults] == [ZeroDivisionError, ZeroDivisionError]


def test_so_many_different_wishes_may_hang_on_one_word_and_others_find_another(monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "MAX_ON_KEY", 3)
    monkeypatch.setattr(standing, "MAX_ON_ANYTHING", 1)
    rig = Rig()
    assert all(rig.wish(f"moon -x{n}", n) for n in range(3))
    assert not rig.wish("moon -x3", 3)
    assert rig.wish("moon -x2", 4), "one that is there already"
    assert rig.wish("moon sun", 5)
    assert rig.wish("size>1", 6)
    assert not rig.wish("size>2", 7)
    rig.wishing.drop(rig.listener, (0, 6))
    assert rig.wish("moon -x3", 3)
    assert rig.wish("size>2", 7)
    rig.announce("moon sun.mp3")
    rig.settle()
    assert sorted(number for number, _, _ in rig.listener.told) == [1, 2, 3, 4, 5, 7]


def test_nothing_is_left_of_wishes_that_are_dropped() -> None:
    rig = Rig()
    for n, typed in enumerate(("moon", "moo*", "sun OR moo*", "ext:mp3", "type:audio", "user:ann", "size>1", "moon")):
        rig.wish(typed, n)
    rig.wishing.leave(rig.listener)
    assert len(rig.wishing) == 0
    assert len(rig.wishing._standing) == 0
    assert rig.wishing._standing._by_key == {}
    rig.announce("moon.mp3")
    assert not rig.clock.getDelayedCalls()
