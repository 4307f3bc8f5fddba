"""Wishes with real processes: what comes is told once, whoever was away or killed meanwhile."""

from __future__ import annotations

import random
from typing import Any

import pytest

from napctl.text import moment
from tests.support.community import found, random_file, waited
from tests.support.processes import IndexProcess, PeerProcess, Processes
from tests.support.waiting import until

#: Seconds from the announcement's commit until a peer has told of it.
TOLD_S = 2.0
#: Seconds within which a search after a login must have been made: a pause, and the busy machine's share.
CAUGHT_UP_S = 30.0


def wishes(peer: PeerProcess) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = peer.ctl("wish", "list").json["wishes"]
    return rows


def test_what_is_there_already_is_found_by_the_command_and_queued_on_request(processes: Processes) -> None:
    index = processes.index()
    ada = processes.peer("ada", index=index, start=False)
    random_file(ada.shared / "Moon River.flac", 5000)
    ada.start()
    bob = processes.peer("bob", index=index)
    found(bob, "moon")

    (told,) = bob.ctl("wish", "add", "moon", "-live", "--ext", "flac", "--get").json["wishes"]
    assert (told["id"], told["query"], told["ext"], told["found"]) == (1, "moon -live", ["flac"], 1)
    event = bob.wait_for_event("wish.found")
    assert (event["wish"], event["name"], event["users"], event["download"]) == (1, "Moon River.flac", ["ada"], 1)
    assert waited(bob).status == 0

    (find,) = bob.ctl("wish", "found").json["finds"]
    assert (find["content"], find["name"], find["download"]) == (event["content"], "Moon River.flac", 1)
    assert bob.ctl("get", find["content"][:8]).json["downloads"][0]["id"] == 1
    assert bob.ctl("wish", "remove", "1").json["wishes"] == []
    assert bob.ctl("wish", "remove", "1").status == 4
    assert bob.ctl("wish", "found").json["finds"] == []


def test_what_came_while_the_wisher_was_dead_is_found_once_it_is_back(processes: Processes) -> None:
    index = processes.index()
    ada, bob = (processes.peer(name, index=index) for name in ("ada", "bob"))
    assert bob.ctl("wish", "add", "moon").json["wishes"][0]["found"] == 0
    bob.kill()

    random_file(ada.shared / "new moon.txt", 100)
    index.wait_for_event("catalogue.announced", user="ada", added=1)
    bob.restart()
    assert bob.wait_for_event("wish.found", timeout=CAUGHT_UP_S)["name"] == "new moon.txt"

    bob.terminate()
    mark = index.mark()
    random_file(ada.shared / "full moon.txt", 101)
    index.wait_for_event("catalogue.announced", after=mark, user="ada", added=1)
    before = bob.mark()
    bob.restart()
    assert bob.wait_for_event("wish.found", after=before, timeout=CAUGHT_UP_S)["name"] == "full moon.txt"
    assert [event["name"] for event in bob.seen("wish.found")] == ["new moon.txt", "full moon.txt"]
    assert wishes(bob)[0]["found"] == 2


def shared(index: IndexProcess, ada: PeerProcess, name: str, size: int) -> float:
    """When the index had committed it."""
    mark = index.mark()
    random_file(ada.shared / name, size)
    return moment(index.wait_for_event("catalogue.announced", after=mark, user="ada", added=1)["time"])


def told_within(bob: PeerProcess, name: str, announced: float) -> None:
    def told() -> list[dict[str, Any]]:
        return [event for event in bob.seen("wish.found") if event["name"] == name]

    first, *_ = until(told, f"{name} told")
    assert moment(first["time"]) - announced < TOLD_S


def standing(bob: PeerProcess) -> None:
    until(lambda: {wish["state"] for wish in wishes(bob)} == {"standing"}, "wishes that stand", every_s=0.1)


def test_what_is_shared_later_is_told_within_two_seconds_also_after_restarts(processes: Processes) -> None:
    index = processes.index()
    ada, bob = (processes.peer(name, index=index) for name in ("ada", "bob"))
    bob.ctl("wish", "add", "moon", "-live")
    bob.ctl("wish", "add", "ri*", "--min-size", "1k", "--get")
    told_within(bob, "moon 1.txt", shared(index, ada, "moon 1.txt", 100))

    bob.kill()
    bob.restart()
    standing(bob)
    told_within(bob, "moon 2.txt", shared(index, ada, "moon 2.txt", 101))

    bob.terminate()
    index.kill()
    index.restart()
    bob.restart()
    standing(bob)
    until(lambda: ada.ctl("status").json["index"]["state"] == "online", "ada online", every_s=0.1)
    told_within(bob, "moon river.txt", shared(index, ada, "moon river.txt", 2000))
    shared(index, ada, "moon live.txt", 103)
    until(lambda: bob.seen("wish.found", wish=2, download=1), "the other wish's find")
    assert waited(bob).status == 0
    names = [(event["wish"], event["name"]) for event in bob.seen("wish.found")]
    assert sorted(names) == [(1, "moon 1.txt"), (1, "moon 2.txt"), (1, "moon river.txt"), (2, "moon river.txt")]


def test_a_wish_that_was_answered_is_there_after_a_kill(processes: Processes) -> None:
    bob = processes.peer("bob")
    for number in range(1, 4):
        assert bob.ctl("wish", "add", f"moon{number}").json["wishes"][0]["id"] == number
        bob.kill()
        bob.restart()
        assert [wish["query"] for wish in wishes(bob)] == [f"moon{n}" for n in range(1, number + 1)]
    bob.ctl("wish", "remove", "2")
    bob.kill()
    bob.restart()
    assert [wish["id"] for wish in wishes(bob)] == [1, 3]


@pytest.mark.slow
def test_kills_at_any_moment_lose_no_find_and_tell_none_twice(processes: Processes) -> None:
    chance = random.Random(4)
    index = processes.index()
    ada, bob = (processes.peer(name, index=index) for name in ("ada", "bob"))
    bob.ctl("wish", "add", "moon", "--get")
    names = [f"moon {number}.txt" for number in range(30)]
    for number, name in enumerate(names):
        random_file(ada.shared / name, 1000 + number, seed=number)
        if number % 5 == 4:
            before = len(bob.seen("wish.found"))
            until(lambda b=before: len(bob.seen("wish.found")) > b, "something told", CAUGHT_UP_S)  # type: ignore[misc]
            until(lambda: chance.random() < 0.1, "a moment")
            bob.kill()
            bob.restart()
    until(lambda: wishes(bob)[0]["found"] == len(names), "all finds", 60, every_s=0.2)
    finds = bob.ctl("wish", "found").json["finds"]
    assert sorted(find["name"] for find in finds) == sorted(names)
    assert all(find["download"] for find in finds)
    told = [event["content"] for event in bob.seen("wish.found")]
    assert len(told) == len(set(told))
    assert waited(bob).status == 0


def test_a_wish_that_makes_no_sense_is_refused(processes: Processes) -> None:
    index = processes.index()
    bob = processes.peer("bob", index=index)
    bob.wait_for_event("index.connected")
    refused = bob.ctl("wish", "add", "--", "-live")
    assert refused.status == 2
    assert refused.json["error"]["code"] == "usage"
    assert wishes(bob) == []
