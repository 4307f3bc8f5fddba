"""What each command line asks of the daemon: one request, with exactly these parameters."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.support import documents
from tests.support.command_line import napctl
from tests.support.fake_daemon import FakeDaemon
from tests.support.napctl_answers import ANSWERS

DOWNLOADS = documents.downloads(documents.download(3))

SEARCHES: list[tuple[list[str], dict[str, Any]]] = [
    (["moon"], {"query": "moon"}),
    (["dark", "side"], {"query": "dark side"}),
    (["moon", "-live"], {"query": "moon -live"}),
    (["-live", "moon"], {"query": "-live moon"}),
    (["-h"], {"query": "-h"}),
    (["moon", "-h", "-q", "-json"], {"query": "moon -h -q -json"}),
    (["-", "moon"], {"query": "- moon"}),
    (['"dark side"', "moon"], {"query": '"dark side" moon'}),
    (["dark side"], {"query": "dark side"}),
    (["wor*", "-lo*"], {"query": "wor* -lo*"}),
    (["moon", "--ext", "flac", "side", "--ext", ".MP3", "-live"], {"query": "moon side -live", "ext": ["flac", "mp3"]}),
    (["--user", "ann", "moon"], {"query": "moon", "user": "ann"}),
    (["moon", "--user", "@ann"], {"query": "moon", "user": "ann"}),
    (["moon", "--user=ann", "-live"], {"query": "moon -live", "user": "ann"}),
    (["--", "moon", "--ext", "-live"], {"query": "moon --ext -live"}),
    (["moon", "--", "-h", "--"], {"query": "moon -h --"}),
    (["moon", "--page", "-cursor"], {"query": "moon", "page": "-cursor"}),
    (
        ["moon", "--type", "Audio", "--min-size", "10M", "--max-size", "10MiB", "--min-bitrate", "192",
         "--sort", "size", "--limit", "5", "--page", "abc"],
        {"query": "moon", "type": "audio", "min_size": 10_000_000, "max_size": 10_485_760, "min_bitrate": 192,
         "sort": "size", "limit": 5, "page": "abc"},
    ),
    (["日本", "café"], {"query": "日本 café"}),
]  # fmt: skip


@pytest.mark.parametrize(("words", "params"), SEARCHES)
def test_a_search_sends_its_words_joined_and_its_options(
    words: list[str], params: dict[str, Any], sockets: Path
) -> None:
    with FakeDaemon(sockets / "s", {"search": documents.SEARCH}) as daemon:
        ran = napctl("search", *words, socket=daemon.path)
    assert ran.status == 0, ran.err
    assert daemon.only_request == ("search", {"sort": "best", "limit": 100} | params)


REQUESTS: list[tuple[list[str], str, dict[str, Any]]] = [
    (["status"], "status", {}),
    (["get", "3"], "get", {"results": ["3"]}),
    (["get", "1,4-6", "9f86d081"], "get", {"results": ["1,4-6", "9f86d081"]}),
    (["get", "3", "--priority", "HIGH", "--name", "x y.mp3"], "get",
     {"results": ["3"], "priority": "high", "name": "x y.mp3"}),
    (["get", "3", "--name", "-rf"], "get", {"results": ["3"], "name": "-rf"}),
    (["get", "3-3", "--name", "x"], "get", {"results": ["3-3"], "name": "x"}),
    (["get", "3", "--to", "/srv/x/../y"], "get", {"results": ["3"], "to": "/srv/y"}),
    (["get", "3", "--sequential"], "get", {"results": ["3"], "sequential": True}),
    (["cat", "3"], "cat", {"id": 3, "offset": 0}),
    (["cat", "3", "--offset", "1MiB"], "cat", {"id": 3, "offset": 1 << 20}),
    (["queue"], "queue.list", {"selectors": []}),
    (["queue", "list"], "queue.list", {"selectors": []}),
    (["queue", "list", "active", "3,5-8"], "queue.list", {"selectors": ["active", "3,5-8"]}),
    (["queue", "active"], "queue.list", {"selectors": ["active"]}),
    (["queue", "3,5-8", "@ann"], "queue.list", {"selectors": ["3,5-8", "@ann"]}),
    (["queue", "9f86d081"], "queue.list", {"selectors": ["9f86d081"]}),
    (["queue", "pause", "3"], "queue.pause", {"selectors": ["3"]}),
    (["queue", "resume", "all"], "queue.resume", {"selectors": ["all"]}),
    (["queue", "retry", "failed", "3"], "queue.retry", {"selectors": ["failed", "3"]}),
    (["queue", "cancel", "@ann"], "queue.cancel", {"selectors": ["@ann"]}),
    (["queue", "priority", "3", "urgent"], "queue.priority", {"selectors": ["3"], "priority": "urgent"}),
    (["queue", "priority", "3", "5", "low"], "queue.priority", {"selectors": ["3", "5"], "priority": "low"}),
    (["queue", "move", "3", "top"], "queue.move", {"selectors": ["3"], "to": "top"}),
    (["queue", "move", "3", "2"], "queue.move", {"selectors": ["3"], "to": "2"}),
    (["queue", "clear"], "queue.clear", {}),
    (["sources", "3"], "sources", {"id": 3}),
    (["uploads"], "uploads", {}),
    (["wait", "3"], "queue.wait", {"selectors": ["3"], "timeout_s": None}),
    (["wait", "3", "4", "--timeout", "2m"], "queue.wait", {"selectors": ["3", "4"], "timeout_s": 120.0}),
    (["wait", "all", "--timeout", "0"], "queue.wait", {"selectors": ["all"], "timeout_s": 0.0}),
    (["--timeout", "5", "wait", "all"], "queue.wait", {"selectors": ["all"], "timeout_s": None}),
    (["watch"], "queue.watch", {"selectors": []}),
    (["watch", "3", "active"], "queue.watch", {"selectors": ["3", "active"]}),
    (["events"], "events", {"follow": False}),
    (["events", "--follow", "--since", "17", "--type", "download.*"], "events",
     {"follow": True, "since": 17, "type": "download.*"}),
    (["share"], "share.list", {}),
    (["share", "list"], "share.list", {}),
    (["share", "add", "/srv/Music"], "share.add", {"directory": "/srv/Music", "audience": []}),
    (["share", "add", "/srv/Music/", "--name", "m", "--to", "staff", "--to", "@ann"], "share.add",
     {"directory": "/srv/Music", "name": "m", "audience": ["staff", "@ann"]}),
    (["share", "remove", "my music"], "share.remove", {"name": "my music"}),
    (["share", "rescan"], "share.rescan", {}),
    (["share", "rescan", "Music"], "share.rescan", {"name": "Music"}),
    (["share", "check", "/srv/Music/a"], "share.check", {"path": "/srv/Music/a"}),
    (["wish"], "wish.list", {}),
    (["wish", "list"], "wish.list", {}),
    (["wish", "add", "moon", "-live"], "wish.add", {"query": "moon -live"}),
    (["wish", "add", "--get", "-live", "moon", "--ext", ".FLAC", "--type", "Audio", "--min-size", "10M", "--max-size",
      "1G", "--min-bitrate", "256", "--user", "@ann", "river"], "wish.add",
     {"query": "-live moon river", "ext": ["flac"], "type": "audio", "min_size": 10_000_000, "max_size": 10**9,
      "min_bitrate": 256, "user": "ann", "get": True}),
    (["wish", "remove", "3"], "wish.remove", {"selectors": ["3"]}),
    (["wish", "remove", "1,4-6", "9"], "wish.remove", {"selectors": ["1,4-6", "9"]}),
    (["wish", "found"], "wish.found", {"selectors": [], "limit": 100}),
    (["wish", "found", "3", "--limit", "7"], "wish.found", {"selectors": ["3"], "limit": 7}),
    (["users"], "users", {"words": ""}),
    (["users", "ann", "b"], "users", {"words": "ann b"}),
    (["whoami"], "whoami", {}),
    (["limit"], "limit", {}),
    (["limit", "--up", "2MB/s", "--down", "none", "--slots", "4", "--downloads", "0"], "limit",
     {"up": 2e6, "down": 0.0, "slots": 4, "downloads": 0}),
    (["version"], "version", {}),
    (["reload"], "reload", {}),
    (["shutdown"], "shutdown", {}),
    (["index"], "index.status", {}),
    (["index", "status"], "index.status", {}),
    (["index", "users", "ann"], "index.users", {"words": "ann"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "method", "params"), REQUESTS, ids=lambda value: " ".join(value) if isinstance(value, list) else None
)
@pytest.mark.parametrize("json", ["before", "after"])
def test_a_command_asks_once(line: list[str], method: str, params: dict[str, Any], json: str, sockets: Path) -> None:
    with FakeDaemon(sockets / "s", ANSWERS) as daemon:
        ran = napctl(*(["--json", *line] if json == "before" else [*line, "--json"]), socket=daemon.path)
    assert ran.status == 0, ran.out
    assert daemon.only_request == (method, params)
    assert daemon.connections == 1
    assert all(document["schema"] == 1 for document in ran.documents)


def test_json_is_taken_between_a_group_and_its_command(sockets: Path) -> None:
    with FakeDaemon(sockets / "s", ANSWERS) as daemon:
        assert napctl("queue", "--json", "list", socket=daemon.path).json == DOWNLOADS


def test_paths_are_sent_absolute_with_links_kept(
    sockets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    with FakeDaemon(sockets / "s", ANSWERS) as daemon:
        for line in (["share", "add", "link"], ["share", "check", "./link/a"], ["get", "3", "--to", "link"]):
            assert napctl(*line, socket=daemon.path).status == 0
    here = os.fspath(tmp_path)
    assert [params.get("directory") or params.get("path") or params.get("to") for _, params in daemon.requests] == [
        f"{here}/link",
        f"{here}/link/a",
        f"{here}/link",
    ]


def test_a_tilde_that_the_shell_left_is_the_home_directory(sockets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    with FakeDaemon(sockets / "s", ANSWERS) as daemon:
        napctl("get", "3", "--to=~/Music", socket=daemon.path)
    assert daemon.only_request[1]["to"] == "/home/ann/Music"


def test_get_wait_asks_both_on_one_connection(sockets: Path) -> None:
    answers = {
        "get": documents.downloads(documents.download(3), documents.download(4)),
        "queue.wait": ANSWERS["queue.wait"],
    }
    with FakeDaemon(sockets / "s", answers) as daemon:
        assert napctl("get", "1-2", "--wait", socket=daemon.path).status == 0
    assert daemon.requests == [
        ("get", {"results": ["1-2"]}),
        ("queue.wait", {"selectors": ["3", "4"], "timeout_s": None}),
    ]
    assert daemon.connections == 1


def test_a_peers_and_an_indexs_status_are_told_apart(sockets: Path) -> None:
    with FakeDaemon(sockets / "peer", {"status": documents.STATUS}) as peer:
        assert "index.lan:6699" in napctl("status", socket=peer.path).out
    with FakeDaemon(sockets / "index", {"status": documents.INDEX_STATUS}) as index:
        assert "database  sqlite" in napctl("status", socket=index.path).out
