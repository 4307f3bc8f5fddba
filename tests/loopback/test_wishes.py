"""Wishes with real processes: what comes is told once, whoever was away or killed meanwhile."""

from __future__ import annotations

from typing import Any

from tests.support.community import found, random_file, waited
from tests.support.processes import PeerProcess, Processes

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


def test_a_wish_that_makes_no_sense_is_refused(processes: Processes) -> None:
    index = processes.index()
    bob = processes.peer("bob", index=index)
    bob.wait_for_event("index.connected")
    refused = bob.ctl("wish", "add", "--", "-live")
    assert refused.status == 2
    assert refused.json["error"]["code"] == "usage"
    assert wishes(bob) == []
