"""An index as its operator wants it: limits, and what is kept of those who leave, from the file to what peers see."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

from tests.support.community import found
from tests.support.processes import IndexProcess, Processes
from tests.support.waiting import until


def configured(processes: Processes, tmp_path: Path, **settings: Any) -> IndexProcess:
    file = tmp_path / "index.toml"
    file.write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
    return processes.index("index", "--config", str(file))


def known(index: IndexProcess) -> dict[str, int]:
    status: dict[str, Any] = index.ctl("index", "status").json
    return dict(status["known"])


def test_limits_are_those_of_the_file_and_peers_are_answered(processes: Processes, tmp_path: Path) -> None:
    index = configured(processes, tmp_path, listings_per_user=3, searches_per_s=0.02, results_per_page=2, connections=3)
    ada, bob, cyd = (processes.peer(name, index=index, start=False) for name in ("ada", "bob", "cyd"))
    for number in range(3):
        (ada.shared / f"heron {number}.txt").write_bytes(b"%d" % number)
    ada.start()
    bob.start()
    until(lambda: known(index)["listings"] == 3, "three listings")

    page = bob.ctl("search", "heron").json
    assert (len(page["results"]), page["truncated"]) == (2, True)
    # One came at once: the next has to wait 50 seconds.
    refused = bob.ctl("search", "heron")
    assert (refused.status, refused.json["error"]["code"]) == (1, "limit")
    index.wait_for_event("limit.hit", limit="index.searches")

    (ada.shared / "heron 3.txt").write_bytes(b"one too many")
    index.wait_for_event("limit.hit", limit="index.listings", user="ada")
    assert known(index)["listings"] == 3

    # Loopback counts as others do in the whole.
    cyd.start()
    cyd.wait_for_event("index.connected")
    dan = processes.peer("dan", index=index)
    assert "over 3 connections" in dan.wait_for_event("index.unreachable")["error"]


def test_an_index_that_keeps_nothing_forgets_at_once_and_after_a_kill(processes: Processes, tmp_path: Path) -> None:
    index = configured(processes, tmp_path, retention_days=0)
    ada, bob = (processes.peer(name, index=index, start=False) for name in ("ada", "bob"))
    (ada.shared / "heron.txt").write_bytes(b"heron")
    (bob.shared / "egret.txt").write_bytes(b"egret")
    ada.start()
    bob.start()
    found(bob, "heron")
    found(ada, "egret")
    ada.kill()
    until(lambda: known(index)["listings"] == 1, "ada's list forgotten")

    index.kill()
    bob.kill()
    index.restart()
    until(lambda: known(index)["listings"] == 0, "bob's list forgotten")
    # Who comes back sends the list again.
    ada.restart()
    bob.restart()
    found(bob, "heron")
    assert known(index) == {"accounts": 2, "listings": 2, "items": 2, "contents": 2}
    status = index.ctl("index", "status").json
    assert status["database_bytes"] > 0 and status["memory_bytes"] > 10_000_000
    assert status["engine"]["items"] == 2


def test_an_index_may_have_as_many_files_open_as_connections(processes: Processes, tmp_path: Path) -> None:
    index = configured(processes, tmp_path, connections=3000)
    soft, hard = resource.prlimit(index.process.pid, resource.RLIMIT_NOFILE)
    assert soft >= min(3000, hard)
