"""Wishes against a scripted index, over real links and on a real database: told once, whatever happens between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred

from napd.background import Background
from napd.discovery.index_client import IndexClient
from napd.errors import DiskFailed, Misuse, NapError, NoSuchThing
from napd.ops.events import Events
from napd.peer.wishes import service
from napd.peer.wishes.rounds import PAUSE_S
from napd.peer.wishes.service import HELD_AGAIN_S, MAX_QUEUED, MAX_WISHES, SEARCHED_AGAIN_S, Wishes
from napd.wire import index as wire
from napd.wire.control import WishAddParams
from tests.support.scripted_index import ScriptedIndex, Visit
from tests.support.wishing import GetList, content, result, wish_store

from .conftest import NOW, Rig

LIMITS = wire.Limits(1000, 10.0, 1000, wishes=200)
#: Of an index of before there were wishes.
OLD_LIMITS = wire.Limits(1000, 10.0, 1000)


class Wisher:
    """A peer's wishes and its index client; `restart` is what a daemon does that was killed."""

    def __init__(self, rig: Rig, state: Path) -> None:
        self.rig = rig
        self.state = state
        self.index: ScriptedIndex = rig.index()
        self.downloads = GetList()
        self._open = ExitStack()
        self.start()

    def start(self) -> None:
        rig = self.rig
        self.client: IndexClient = rig.client(start=False)
        events = Events(lambda: NOW + rig.clock.seconds())
        events.listen(rig.said.append)
        self.store = self._open.enter_context(wish_store(self.state))
        self.wishes = Wishes(
            clock=rig.clock,
            now=lambda: NOW + rig.clock.seconds(),
            rng=Random(1),
            store=self.store,
            discovery=self.client,
            downloads=self.downloads,
            events=events,
            background=Background(lambda name, failure: rig.faults.append(f"{name}: {failure.getTraceback()}")),
        )
        self.wishes.start()
        self.client.start(rig.told, self.wishes)

    def restart(self) -> None:
        self.client.stop()
        self.rig.pass_time(1)
        self.close()
        self.start()

    def close(self) -> None:
        self.wishes.wishes_closed()
        self._open.close()

    def log_in(self, limits: wire.Limits = LIMITS) -> Visit:
        visit = self.index.visit
        visit.log_in(limits=limits)
        return visit

    def adding(self, query: str, **how: Any) -> list[Any]:
        """Filled with the row or the failure when the command is answered."""
        found: list[Any] = []
        ensureDeferred(self.wishes.add(WishAddParams(query, **how))).addBoth(found.append)
        self.rig.pass_time(0.25)
        return found

    def add(self, query: str, *there: wire.Result, **how: Any) -> Any:
        """The row of a wish for which so much is there already."""
        found = self.adding(query, **how)
        if not found:
            visit = self.index.visit
            visit.say(wire.Results(visit.last(wire.Search).id, there))
        (document,) = found
        return document.wishes[0]

    def stay(self, seconds: float, *there: wire.Result) -> None:
        """Online for so long, at an index that answers searches with what is there."""
        visit, end = self.index.visit, self.rig.clock.seconds() + seconds
        asked = len(visit.all(wire.Search))
        while self.rig.clock.seconds() < end:
            self.rig.clock.advance(wire.HEARTBEAT_S)
            visit.say(wire.Ping())
            new = visit.all(wire.Search)[asked:]
            asked += len(new)
            visit.say(*(wire.Results(search.id, there) for search in new))

    def row(self, number: int) -> Any:
        return next(row for row in self.wishes.wishes().wishes if row.id == number)

    def found(self) -> list[tuple[int, int]]:
        """(wish, size of the content) as events told it; `result` makes sizes of numbers."""
        return [(event.fields["wish"], event.fields["size"]) for event in self.rig.events("wish.found")]

    def run(self, work: Any) -> Any:
        outcome: list[Any] = []
        ensureDeferred(work).addBoth(outcome.append)
        self.rig.pass_time(0.25)
        (value,) = outcome
        if hasattr(value, "raiseException"):
            value.raiseException()
        return value


@pytest.fixture
def wisher(rig: Rig, tmp_path: Path) -> Iterator[Wisher]:
    made = Wisher(rig, tmp_path)
    yield made
    made.close()


def searches(visit: Visit) -> list[str]:
    return [search.query for search in visit.all(wire.Search)]


# --- Adding ---------------------------------------------------------------------------------------


def test_a_wish_is_told_to_the_index_before_what_is_there_is_searched_for(wisher: Wisher) -> None:
    visit = wisher.log_in()
    wisher.add(" blue   moon ", ext=("FLAC",), type="audio", min_size=1, max_size=9, min_bitrate=128, user="Bob")
    wish, search = [message for message in visit.heard if isinstance(message, wire.Wish | wire.Search)]
    assert isinstance(wish, wire.Wish)
    filters = ("blue moon", ("flac",), "audio", 1, 9, 128, "bob")
    assert (wish.query, wish.ext, wish.type, wish.min_size, wish.max_size, wish.min_bitrate, wish.user) == filters
    assert search == wire.Search(search.id, *filters, limit=wire.MAX_PAGE)
    assert wish.wish != search.id


def test_what_is_there_already_is_found_at_once(wisher: Wisher) -> None:
    wisher.log_in()
    row = wisher.add("moon", result(1, "moon.txt"), result(2))
    assert (row.id, row.query, row.found, row.state, row.get) == (1, "moon", 2, "standing", False)
    assert wisher.found() == [(1, 1), (1, 2)]
    event = wisher.rig.events("wish.found")[0]
    assert event.fields == {
        "wish": 1,
        "query": "moon",
        "content": content(1),
        "name": "moon.txt",
        "size": 1,
        "users": ["bob"],
    }


def test_the_same_wish_again_is_no_change(wisher: Wisher) -> None:
    visit = wisher.log_in()
    wisher.add("moon")
    again = wisher.add("moon ", get=True)
    assert (again.id, again.get) == (1, True)
    assert len(visit.all(wire.Wish)) == 1
    assert len(wisher.wishes.wishes().wishes) == 1


def test_the_same_wish_twice_at_once_is_one_too(wisher: Wisher) -> None:
    visit = wisher.log_in()
    first, second = wisher.adding("moon"), wisher.adding("moon")
    visit.say(wire.Results(visit.last(wire.Search).id, ()))
    assert [answer[0].wishes[0].id for answer in (first, second)] == [1, 1]
    assert len(visit.all(wire.Wish)) == len(visit.all(wire.Search)) == 1


def test_a_search_that_the_index_has_no_time_for_is_made_in_its_turn(wisher: Wisher) -> None:
    visit = wisher.log_in()
    added = wisher.adding("moon")
    visit.say(wire.Error("limit", "too many searches", visit.last(wire.Search).id))
    assert added[0].wishes[0].state == "standing"
    wisher.stay(PAUSE_S * 1.5, result(1))
    assert wisher.found() == [(1, 1)]


def test_a_wish_that_makes_no_sense_is_refused_with_the_indexs_reason_and_not_kept(wisher: Wisher) -> None:
    visit = wisher.log_in()
    refused = wisher.adding("-live")
    visit.say(wire.Error("usage", "nothing to look for", visit.last(wire.Wish).wish))
    visit.say(wire.Error("usage", "nothing to look for", visit.last(wire.Search).id))
    assert refused[0].check(Misuse) and "nothing to look for" in refused[0].getErrorMessage()
    impossible = wisher.adding("moon", ext=("mp3",), type="video")
    visit.say(wire.Results(visit.last(wire.Search).id, (), reason="mp3 is no video"))
    assert impossible[0].check(Misuse) and "mp3 is no video" in impossible[0].getErrorMessage()
    assert wisher.wishes.wishes().wishes == wisher.store.load() == []
    assert wisher.rig.events("wish.refused") == [], "the command's answer says it"
    assert visit.last(wire.Unwish).wishes == (visit.last(wire.Wish).wish,)


@pytest.mark.parametrize("query", ["", " ", "\t\n"])
def test_a_wish_for_nothing_is_refused_without_asking(wisher: Wisher, query: str) -> None:
    assert wisher.adding(query)[0].check(Misuse)


def test_a_wish_for_what_a_user_has_who_cannot_be_is_refused_without_asking(wisher: Wisher) -> None:
    visit = wisher.log_in()
    (refused,) = wisher.adding("moon", user="Bad Name")
    assert refused.check(Misuse) and "nobody can be called 'Bad Name'" in refused.getErrorMessage()
    assert visit.all(wire.Wish) == visit.all(wire.Search) == []


def test_a_wish_more_than_there_may_be_is_refused_with_the_way_out(wisher: Wisher) -> None:
    for number in range(MAX_WISHES):
        wisher.add(f"w{number}")
    (refused,) = wisher.adding("one more")
    assert refused.check(NapError) and refused.value.code == "limit"
    assert "200 wishes" in str(refused.value) and "napctl wish" in str(refused.value)
    assert wisher.add("w7").id == 8, "one that is there is no new one"


# --- Found as it comes ----------------------------------------------------------------------------


def test_what_is_announced_later_is_told_once(wisher: Wisher) -> None:
    visit = wisher.log_in()
    wisher.add("moon", result(1))
    number = visit.last(wire.Wish).wish
    visit.say(wire.Wished(number), wire.Wished(number, (result(2), result(1))), wire.Wished(number, (result(2),)))
    wisher.rig.pass_time(1)
    assert wisher.found() == [(1, 1), (1, 2)]
    assert wisher.row(1).found == 2
    assert wisher.row(1).last is not None


def test_what_is_found_is_remembered_before_it_is_told(wisher: Wisher, monkeypatch: pytest.MonkeyPatch) -> None:
    visit = wisher.log_in()
    wisher.add("moon")
    committed: Deferred[None] = Deferred()
    keep = wisher.store.keep
    monkeypatch.setattr(wisher.store, "keep", lambda finds: committed.addCallback(lambda _: keep(finds)))
    visit.say(wire.Wished(visit.last(wire.Wish).wish, (result(1),)))
    assert wisher.found() == []
    committed.callback(None)
    assert wisher.found() == [(1, 1)]


def test_each_wish_is_told_of_the_same_content(wisher: Wisher) -> None:
    visit = wisher.log_in()
    for query in ("moon", "river"):
        wisher.add(query)
    for wish in visit.all(wire.Wish):
        visit.say(wire.Wished(wish.wish, (result(1),)))
    assert wisher.found() == [(1, 1), (2, 1)]


def test_nothing_is_told_again_after_a_restart(wisher: Wisher) -> None:
    visit = wisher.log_in()
    wisher.add("moon", result(1))
    wisher.restart()
    visit = wisher.log_in()
    visit.say(wire.Wished(visit.last(wire.Wish).wish, (result(1), result(2))))
    assert wisher.found() == [(1, 1), (1, 2)]


def test_a_daemon_that_stops_tells_first_what_it_has_heard(wisher: Wisher, monkeypatch: pytest.MonkeyPatch) -> None:
    visit = wisher.log_in()
    wisher.add("moon")
    read: Deferred[None] = Deferred()
    unknown = wisher.store.unknown
    monkeypatch.setattr(wisher.store, "unknown", lambda *asked: read.addCallback(lambda _: unknown(*asked)))
    visit.say(wire.Wished(visit.last(wire.Wish).wish, (result(1),)))
    wisher.client.stop()
    stopped: list[Any] = []
    ensureDeferred(wisher.wishes.stop()).addBoth(stopped.append)
    assert stopped == []
    read.callback(None)
    assert stopped == [None]
    assert wisher.found() == [(1, 1)]


def test_what_is_more_than_was_told_is_searched_for(wisher: Wisher) -> None:
    visit = wisher.log_in()
    wisher.add("moon")
    wisher.rig.pass_time(PAUSE_S)
    visit.say(wire.Wished(visit.last(wire.Wish).wish, (result(1),), more=True))
    wisher.rig.pass_time(PAUSE_S * 1.5)
    visit.say(wire.Results(visit.last(wire.Search).id, (result(1), result(2))))
    assert wisher.found() == [(1, 1), (1, 2)]


def test_more_answers_than_can_wait_are_searched_for_instead(wisher: Wisher, monkeypatch: pytest.MonkeyPatch) -> None:
    visit = wisher.log_in()
    wisher.add("moon")
    held: Deferred[None] = Deferred()
    monkeypatch.setattr(service, "MAX_WAITING", 2)
    monkeypatch.setattr(wisher.store, "unknown", lambda wish, contents: held.addCallback(lambda _: set(contents)))
    number = visit.last(wire.Wish).wish
    for one in range(1, 6):
        visit.say(wire.Wished(number, (result(one),)))
    monkeypatch.undo()
    held.callback(None)
    wisher.rig.pass_time(PAUSE_S * 1.5)
    assert wisher.found() == [(1, 1), (1, 2), (1, 3)]
    visit.say(wire.Results(visit.last(wire.Search).id, tuple(result(one) for one in range(1, 6))))
    assert sorted(wisher.found()) == [(1, one) for one in range(1, 6)]


def test_a_wish_that_is_removed_is_told_of_nothing_more(wisher: Wisher) -> None:
    visit = wisher.log_in()
    wisher.add("moon")
    wisher.add("river")
    number = visit.all(wire.Wish)[0].wish
    left = wisher.run(wisher.wishes.remove(["1"]))
    assert [row.id for row in left.wishes] == [2]
    assert visit.last(wire.Unwish).wishes == (number,)
    visit.say(wire.Wished(number, (result(1),)))
    wisher.rig.pass_time(1)
    assert wisher.found() == []


def test_what_the_index_makes_up_is_ignored(wisher: Wisher) -> None:
    visit = wisher.log_in()
    wisher.add("moon")
    visit.say(wire.Wished(999, (result(1),)), wire.Wished(999, reason="no"), wire.Error("usage", "no", 999))
    assert wisher.found() == []
    assert wisher.row(1).state == "standing"


# --- Logins ---------------------------------------------------------------------------------------


def test_after_each_login_all_wishes_are_told_again_and_each_is_searched_for(wisher: Wisher) -> None:
    visit = wisher.log_in()
    for query in ("moon", "river"):
        wisher.add(query)
    visit.hang_up("shutdown")
    assert wisher.row(1).state == "offline"
    wisher.rig.pass_time(5)
    visit = wisher.log_in()
    assert [wish.query for wish in visit.all(wire.Wish)] == ["moon", "river"]
    assert searches(visit) == []
    wisher.rig.pass_time(PAUSE_S)
    (first,) = visit.all(wire.Search)
    visit.say(wire.Results(first.id, (result(1),)))
    wisher.rig.pass_time(PAUSE_S * 1.5)
    assert sorted(searches(visit)) == ["moon", "river"]
    assert [size for _, size in wisher.found()] == [1]


def test_a_wish_made_offline_is_kept_and_told_after_the_next_login(wisher: Wisher) -> None:
    row = wisher.add("moon")
    assert (row.state, row.found) == ("offline", 0)
    visit = wisher.log_in()
    assert [wish.query for wish in visit.all(wire.Wish)] == ["moon"]
    assert wisher.row(1).state == "standing"


def test_a_wish_that_stands_is_searched_for_now_and_then_for_who_comes_back_without_announcing(
    wisher: Wisher,
) -> None:
    visit = wisher.log_in()
    wisher.add("moon")
    wisher.stay(HELD_AGAIN_S / 2 - 30)
    assert len(searches(visit)) == 1
    wisher.stay(HELD_AGAIN_S)
    assert len(searches(visit)) == 2


def test_an_index_that_knows_no_wishes_is_asked_now_and_then(wisher: Wisher) -> None:
    visit = wisher.log_in(OLD_LIMITS)
    assert wisher.add("moon").state == "searched"
    assert visit.all(wire.Wish) == []
    wisher.stay(SEARCHED_AGAIN_S * 1.5 + PAUSE_S, result(1))
    assert wisher.found() == [(1, 1)]
    wisher.run(wisher.wishes.remove(["all"]))
    assert visit.all(wire.Unwish) == []


def test_wishes_that_an_index_has_no_room_for_are_searched_for(wisher: Wisher) -> None:
    for query in ("a", "b", "c"):
        wisher.add(query)
    visit = wisher.log_in(wire.Limits(1000, 10.0, 1000, wishes=2))
    assert [wish.query for wish in visit.all(wire.Wish)] == ["a", "b"]
    visit.say(wire.Error("limit", "over 1 wishes are held", visit.last(wire.Wish).wish))
    assert [row.state for row in wisher.wishes.wishes().wishes] == ["standing", "searched", "searched"]


def test_a_wish_that_the_index_refuses_later_says_why_and_is_asked_for_no_more(wisher: Wisher) -> None:
    wisher.add("-live")
    wisher.add("ext:mp3 type:video")
    visit = wisher.log_in()
    usage, impossible = visit.all(wire.Wish)
    visit.say(wire.Error("usage", "nothing to look for", usage.wish))
    visit.say(wire.Wished(impossible.wish, reason="mp3 is no video"))
    assert [(row.state, row.error.message) for row in wisher.wishes.wishes().wishes] == [
        ("refused", "nothing to look for"),
        ("refused", "mp3 is no video"),
    ]
    assert [event.fields["wish"] for event in wisher.rig.events("wish.refused")] == [1, 2]
    wisher.rig.pass_time(PAUSE_S * 4)
    assert searches(visit) == []


def test_a_search_that_fails_is_tried_again_later(wisher: Wisher) -> None:
    wisher.add("moon")
    visit = wisher.log_in()
    wisher.rig.pass_time(PAUSE_S)
    visit.say(wire.Error("limit", "too many searches", visit.last(wire.Search).id))
    wisher.stay(SEARCHED_AGAIN_S * 1.5 + PAUSE_S)
    assert len(searches(visit)) == 2
    assert wisher.row(1).state == "standing"


# --- Queueing -------------------------------------------------------------------------------------


def test_what_is_found_is_queued_if_it_was_asked_to_be(wisher: Wisher) -> None:
    wisher.log_in()
    wisher.add("moon", result(1), result(2), get=True)
    wisher.add("river", result(3))
    assert wisher.downloads.asked == [content(1), content(2)]
    assert [event.fields.get("download") for event in wisher.rig.events("wish.found")] == [1, 2, None]


def test_a_wish_queues_so_many_a_day_and_tells_the_rest(wisher: Wisher) -> None:
    visit = wisher.log_in()
    wisher.add("e*", *(result(one) for one in range(1, MAX_QUEUED + 21)), get=True)
    assert len(wisher.downloads.asked) == MAX_QUEUED
    assert len(wisher.found()) == MAX_QUEUED + 20
    (limit,) = wisher.rig.events("limit.hit")
    assert limit.fields["limit"] == "wishes.downloads" and "napctl wish found 1" in limit.message
    wisher.restart()
    visit = wisher.log_in()
    visit.say(wire.Wished(visit.last(wire.Wish).wish, (result(900),)))
    assert len(wisher.downloads.asked) == MAX_QUEUED, "over restarts too"
    wisher.rig.clock.advance(86_400)
    wisher.rig.pass_time(40)
    wisher.index.visit.log_in(limits=LIMITS)
    wisher.index.visit.say(wire.Wished(wisher.index.visit.last(wire.Wish).wish, (result(901),)))
    assert wisher.downloads.asked[-1] == content(901)


def test_what_cannot_be_queued_or_kept_is_said_and_found_again(wisher: Wisher) -> None:
    wisher.log_in()
    wisher.downloads.failure = DiskFailed("the queue's journal cannot be written")
    assert wisher.add("moon", result(1), get=True).found == 0
    assert [event.fields["wish"] for event in wisher.rig.events("wish.unsaved")] == [1]
    wisher.downloads.failure = None
    wisher.stay(SEARCHED_AGAIN_S * 1.5 + PAUSE_S, result(1))
    assert wisher.found() == [(1, 1)]
    assert wisher.downloads.asked == [content(1)]


# --- Looking --------------------------------------------------------------------------------------


def test_what_was_found_can_be_looked_at_after_a_restart_too(wisher: Wisher) -> None:
    wisher.log_in()
    wisher.add("moon", result(1))
    wisher.add("river", result(2), get=True)
    wisher.restart()
    rows = wisher.run(wisher.wishes.found([], 100)).finds
    assert [(row.wish, row.name, row.download) for row in rows] == [(1, "1.txt", None), (2, "2.txt", 1)]
    assert [row.wish for row in wisher.run(wisher.wishes.found(["2"], 100)).finds] == [2]
    assert set(wisher.wishes.recent) == {content(1), content(2)}


def test_a_wish_that_does_not_exist_is_named(wisher: Wisher) -> None:
    wisher.add("moon")
    for work in (wisher.wishes.found(["9"], 100), wisher.wishes.remove(["9"])):
        with pytest.raises(NoSuchThing, match="wish 9 does not exist"):
            wisher.run(work)
    with pytest.raises(Misuse, match="is no wish"):
        wisher.run(wisher.wishes.remove(["moon"]))
    partly = wisher.run(wisher.wishes.remove(["1,9"]))
    assert (partly.wishes, [error.subject for error in partly.errors]) == ([], ["9"])
