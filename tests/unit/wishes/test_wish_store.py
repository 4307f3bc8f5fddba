"""Wishes and finds on the disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from napd.errors import DiskFailed
from napd.peer.wishes.store import WishStore
from napd.peer.wishes.wish import Find, Query, Wish
from tests.support.wishing import NoThread, content, wish_store

MOON = Query("moon", ext=("flac", "mp3"), type="audio", min_size=1, max_size=9, min_bitrate=256, user="bob")


def now(work: Deferred[Any]) -> Any:
    """The result, which is there."""
    found: list[Any] = []
    work.addBoth(found.append)
    (outcome,) = found
    if hasattr(outcome, "raiseException"):
        outcome.raiseException()
    return outcome


def find(wish: int, number: int, at: float = 5.0, download: int | None = None) -> Find:
    return Find(wish, content(number), f"{number}.txt", number, at, download)


def test_wishes_and_finds_outlive_the_daemon(tmp_path: Path) -> None:
    with wish_store(tmp_path) as store:
        assert now(store.add(MOON, True, 3.0)) == Wish(1, MOON, True, 3.0)
        assert now(store.keep([find(1, 7), find(1, 8, download=4)])) == [find(1, 7), find(1, 8, download=4)]
    with wish_store(tmp_path) as store:
        assert store.load() == [Wish(1, MOON, True, 3.0, found=2, last=5.0)]
        assert now(store.finds([1], 10)) == [find(1, 7), find(1, 8, download=4)]


def test_the_same_wish_is_one_and_keeps_its_get(tmp_path: Path) -> None:
    with wish_store(tmp_path) as store:
        first = now(store.add(MOON, False, 3.0))
        assert now(store.add(MOON, True, 4.0)) == Wish(first.id, MOON, True, 3.0)
        assert now(store.add(MOON, False, 5.0)).get
        assert now(store.add(Query("moon"), False, 5.0)).id == first.id + 1, "no number is skipped"


def test_ids_are_never_used_again(tmp_path: Path) -> None:
    with wish_store(tmp_path) as store:
        assert now(store.add(MOON, False, 1.0)).id == 1
        now(store.remove([1]))
    with wish_store(tmp_path) as store:
        assert now(store.add(MOON, False, 2.0)).id == 2


def test_a_find_is_kept_once_for_each_wish(tmp_path: Path) -> None:
    with wish_store(tmp_path) as store:
        now(store.add(MOON, False, 1.0))
        now(store.add(Query("other"), False, 1.0))
        now(store.keep([find(1, 7)]))
        assert now(store.unknown(1, [content(7), content(8)])) == {content(8)}
        assert now(store.keep([find(1, 7, at=9.0), find(1, 8)])) == [find(1, 8)]
        assert now(store.keep([find(2, 7)])) == [find(2, 7)]
        assert [wish.found for wish in store.load()] == [2, 1]


def test_what_was_found_goes_with_its_wish(tmp_path: Path) -> None:
    with wish_store(tmp_path) as store:
        now(store.add(MOON, False, 1.0))
        now(store.keep([find(1, 7)]))
        now(store.remove([1]))
        assert now(store.finds([1], 10)) == []
        assert now(store.keep([find(1, 8)])) == [], "nothing is kept of a wish that is gone"


def test_of_more_finds_than_are_remembered_the_oldest_are_forgotten_and_all_are_counted(tmp_path: Path) -> None:
    with wish_store(tmp_path, max_finds=3) as store:
        now(store.add(MOON, False, 1.0))
        for number in range(1, 6):
            now(store.keep([find(1, number, at=float(number))]))
        assert [one.content for one in now(store.finds([1], 10))] == [content(3), content(4), content(5)]
        assert store.load()[0].found == 5


def test_the_latest_finds_of_several_wishes_come_last(tmp_path: Path) -> None:
    with wish_store(tmp_path) as store:
        for text in ("a", "b"):
            now(store.add(Query(text), False, 1.0))
        for number in range(1, 7):
            now(store.keep([find(1 + number % 2, number, at=float(number))]))
        assert [one.size for one in now(store.finds([1, 2], 3))] == [4, 5, 6]


def test_what_was_queued_is_counted_from_a_time_on(tmp_path: Path) -> None:
    with wish_store(tmp_path) as store:
        now(store.add(MOON, True, 1.0))
        now(store.keep([find(1, 1, at=10.0, download=1)]))
        now(store.keep([find(1, 2, at=20.0, download=2), find(1, 3, at=20.0)]))
        assert [now(store.queued_since(1, since)) for since in (5.0, 10.0, 20.0)] == [2, 1, 0]


def test_a_database_that_cannot_be_written_is_a_failure_with_a_name(tmp_path: Path) -> None:
    with wish_store(tmp_path) as store:
        now(store.add(MOON, False, 1.0))
    connection = sqlite3.connect(f"file:{tmp_path / 'wishes.sqlite'}?mode=ro", uri=True, isolation_level=None)
    store = WishStore(connection, NoThread())
    with pytest.raises(DiskFailed, match="the wishes cannot be read or written"):
        now(store.add(Query("new"), False, 1.0))
    connection.close()
