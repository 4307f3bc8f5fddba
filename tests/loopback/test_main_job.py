"""The main job with real processes: share, search, get."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from tests.support.community import MIB, download, found, gone, random_file, received, saved, waited, when
from tests.support.processes import Processes
from tests.support.waiting import until


def test_share_search_get_and_the_documents_on_the_way(processes: Processes) -> None:
    index = processes.index()
    ada, bob = (processes.peer(name, index=index, start=False) for name in ("ada", "bob"))
    data = random_file(ada.shared / "Album" / "Song of Songs.mp3", 3 * MIB + 17)
    ada.start()
    bob.start()

    (result,) = found(bob, "song", "album")
    assert result["name"] == "Song of Songs.mp3"
    assert result["folder"] == "shared/Album"
    assert (result["n"], result["size"], result["sources"], result["users"]) == (1, len(data), 1, ["ada"])
    assert result["type"] == "audio"

    got = bob.ctl("get", "1", "--priority", "high")
    assert got.status == 0
    (queued,) = got.json["downloads"]
    assert (queued["id"], queued["priority"], queued["content"]) == (1, "high", result["content"])

    outcome = waited(bob)
    assert outcome.status == 0
    (done,) = outcome.json["downloads"]
    assert (done["state"], done["bytes_done"], done["bytes_received"]) == ("done", len(data), len(data))
    assert done["path"] == str(bob.downloads / "Song of Songs.mp3")
    assert saved(bob) == data
    assert not list(bob.downloads.glob(".napd"))

    started = ada.wait_for_event("upload.started")
    finished = bob.wait_for_event("download.finished")
    assert started["transfer"] == finished["transfer"]
    assert started["user"] == "bob"


def test_status_whoami_users_and_version_tell_the_truth(processes: Processes) -> None:
    index = processes.index()
    ada, bob = (processes.peer(name, index=index, start=False) for name in ("ada", "bob"))
    random_file(ada.shared / "one.txt", 1000)
    ada.start()
    bob.start()
    found(bob, "one")

    status = until(lambda: (s := ada.ctl("status").json)["reachable"] and s, "ada reachable")
    assert status["index"]["state"] == "online"
    assert status["index"]["address"] == index.address
    assert status["shares"] == {"listings": 1, "bytes": 1000, "hashing": 0}
    assert status["listen"] == ada.address
    assert status["peer"] == ada.id
    who = bob.ctl("whoami").json
    assert (who["user"], who["peer"], who["index"], who["groups"]) == ("bob", bob.id, index.id, [])
    users = {row["user"]: row for row in bob.ctl("users").json["users"]}
    assert (users["ada"]["peer"], users["ada"]["listings"], users["ada"]["bytes"]) == (ada.id, 1, 1000)
    version = bob.ctl("version").json
    assert version["client"] == version["daemon"]
    at_the_index = index.ctl("index", "status").json
    assert (at_the_index["peers"], at_the_index["listings"], at_the_index["contents"]) == (2, 1, 1)
    assert at_the_index["index"] == index.id
    assert {row["user"] for row in index.ctl("index", "users").json["users"]} == {"ada", "bob"}


def test_two_sources_serve_at_once(processes: Processes) -> None:
    index = processes.index()
    ada, bob, cyd = (processes.peer(name, index=index, start=False) for name in ("ada", "bob", "cyd"))
    data = random_file(ada.shared / "big.bin", 24 * MIB)
    random_file(bob.shared / "the same by another name.bin", 24 * MIB)
    for peer in (ada, bob, cyd):
        peer.start()
    for peer in (ada, bob):
        assert peer.ctl("limit", "--up", "6MiB").json["up"] == 6 * MIB
    until(lambda: (r := cyd.ctl("search", "bin").json["results"]) and r[0]["sources"] == 2, "two sources", every_s=0.1)

    cyd.ctl("get", "1")
    received(cyd, 8 * MIB)
    rows = cyd.ctl("sources", "1").json["sources"]
    assert {row["user"] for row in rows if row["state"] == "active"} == {"ada", "bob"}
    assert waited(cyd).status == 0

    assert saved(cyd) == data
    sent = [peer.wait_for_event("upload.finished")["bytes"] for peer in (ada, bob)]
    assert min(sent) > 6 * MIB


def test_files_come_and_go_in_search_as_they_do_on_the_disk(processes: Processes) -> None:
    index = processes.index()
    ada, bob = (processes.peer(name, index=index) for name in ("ada", "bob"))
    ada.wait_for_event("index.connected")
    bob.wait_for_event("index.connected")

    random_file(ada.shared / "sub" / "heron.txt", 100)
    found(bob, "heron", timeout=5)
    (ada.shared / "sub" / "heron.txt").rename(ada.shared / "egret.txt")
    found(bob, "egret", timeout=5)
    gone(bob, "heron", timeout=5)
    random_file(ada.shared / "egret.txt", 200, seed=2)
    until(lambda: found(bob, "egret")[0]["size"] == 200, "the new content")
    (ada.shared / "egret.txt").unlink()
    gone(bob, "egret", timeout=5)


def test_of_two_copies_one_may_go(processes: Processes) -> None:
    index = processes.index()
    ada, bob = (processes.peer(name, index=index, start=False) for name in ("ada", "bob"))
    for name in ("first.txt", "second.txt"):
        random_file(ada.shared / name, 100)
    ada.start()
    bob.start()
    (result,) = found(bob, "txt", count=1)
    assert result["sources"] == 1

    (ada.shared / "first.txt").unlink()
    gone(bob, "first")
    (left,) = found(bob, "second")
    assert left["content"] == result["content"]
    assert bob.ctl("get", left["content"], "--wait").status == 0


def test_a_directory_can_be_shared_and_withdrawn_while_it_runs(processes: Processes, tmp_path: Path) -> None:
    index = processes.index()
    ada, bob = (processes.peer(name, index=index) for name in ("ada", "bob"))
    random_file(tmp_path / "More Music" / "lark.ogg", 100)

    added = ada.ctl("share", "add", str(tmp_path / "More Music"), "--name", "more")
    assert added.status == 0
    assert [row["name"] for row in added.json["shares"]] == ["more"]
    found(bob, "lark")
    assert ada.ctl("share", "remove", "more").status == 0
    gone(bob, "lark")
    assert ada.ctl("share", "remove", "more").status == 4


#: Names as they are on the disk, and as they are saved at the other end.
NAMES = {
    b"with spaces and 'quotes' \"double\".txt": "with spaces and 'quotes' \"double\".txt",
    b"new\nline.txt": "new_line.txt",
    "emoji 🎧 and snow ☃.txt".encode(): "emoji 🎧 and snow ☃.txt",
    "decomposed e\u0301.txt".encode(): "decomposed e\u0301.txt",
    b"-leading dash.txt": "-leading dash.txt",
    b"n" * 251 + b".txt": "n" * 251 + ".txt",
    "ü".encode() * 125 + b".bin": "ü" * 125 + ".bin",
    b"not utf-8 \xff\xfe.txt": "not utf-8 \ufffd\ufffd.txt",
    b"tab\tand\x1b[31mescape.txt": "tab_and_[31mescape.txt",
    b"back\\slash.txt": "back\\slash.txt",
    b"trailing space ": "trailing space ",
    b"$(reboot).txt": "$(reboot).txt",
    "right\u202eto left.txt".encode(): "right\u202eto left.txt",
    b"[bold]markup[red].txt": "[bold]markup[red].txt",
}
SIZES = [0, 1, MIB, MIB + 1]


def test_hard_names_and_sizes_arrive(processes: Processes) -> None:
    index = processes.index()
    ada, bob = (processes.peer(name, index=index, start=False) for name in ("ada", "bob"))
    contents: dict[str, bytes] = {}
    for number, (name, kept) in enumerate(NAMES.items()):
        data = str(number).encode() * 50
        with open(os.path.join(os.fsencode(ada.shared), name), "wb") as file:
            file.write(data)
        contents[kept] = data
    for size in SIZES:
        contents[f"size {size}.dat"] = random_file(ada.shared / f"size {size}.dat", size)
    ada.start()
    bob.start()

    results = found(bob, "shared", count=len(contents))
    assert {r["size"] for r in results} == {len(data) for data in contents.values()}
    got = bob.ctl("get", f"1-{len(results)}")
    assert got.status == 0
    assert waited(bob).status == 0

    arrived = {path.name: path.read_bytes() for path in bob.downloads.iterdir()}
    assert arrived == contents


def test_three_thousand_small_files(processes: Processes) -> None:
    index = processes.index()
    ada, bob = (processes.peer(name, index=index, start=False) for name in ("ada", "bob"))
    contents = {}
    for number in range(3000):
        name = f"note {number}.txt"
        contents[name] = random_file(ada.shared / f"{number % 30}" / name, 100 + number % 500, seed=number)
    ada.start()
    bob.start()
    until(lambda: index.ctl("index", "status").json["contents"] == 3000, "3,000 contents", 60, every_s=0.2)

    page, numbers = None, []
    while True:
        arguments = ["search", "note", "--limit", "1000", *(["--page", page] if page else [])]
        answer = bob.ctl(*arguments).json
        numbers += [result["n"] for result in answer["results"]]
        page = answer["next"]
        if page is None:
            break
    assert numbers == list(range(1, 3001))
    assert len(bob.ctl("get", "1-3000").json["downloads"]) == 3000
    assert waited(bob, timeout="150").status == 0
    assert {path.name: path.read_bytes() for path in bob.downloads.iterdir()} == contents


def test_commands_act_on_what_is_running(processes: Processes) -> None:
    index = processes.index()
    ada, bob = (processes.peer(name, index=index, start=False) for name in ("ada", "bob"))
    for number in (1, 2, 3):
        random_file(ada.shared / f"part {number}.bin", 12 * MIB, seed=number)
    ada.start()
    bob.start()
    ada.ctl("limit", "--up", "2MiB")
    assert bob.ctl("limit", "--downloads", "1").json["downloads"] == 1
    results = found(bob, "part", count=3)
    by_name = {result["name"]: result["content"] for result in results}
    bob.ctl("get", *(by_name[f"part {n}.bin"] for n in (1, 2, 3)))
    when(bob, "active", 1)

    moved = bob.ctl("queue", "priority", "3", "urgent").json["downloads"]
    assert [(d["id"], d["priority"], d["position"]) for d in moved] == [(3, "urgent", 1)]
    when(bob, "active", 3, timeout=1.5)
    assert download(bob, 1)["state"] == "queued"
    bob.ctl("queue", "priority", "3", "normal")
    bob.ctl("queue", "move", "2", "top")
    when(bob, "active", 2, timeout=1.5)
    assert [d["id"] for d in bob.ctl("queue").json["downloads"]] == [2, 1, 3]
    assert bob.ctl("queue", "pause", "2").json["downloads"][0]["state"] == "paused"
    when(bob, "active", 1, timeout=1.5)
    assert bob.ctl("queue", "pause", "2").status == 0
    assert bob.ctl("queue", "resume", "2").json["downloads"][0]["state"] in ("queued", "active")
    assert bob.ctl("queue", "cancel", "3").json["downloads"][0]["state"] == "cancelled"
    assert bob.ctl("queue", "cancel", "99").status == 4
    assert bob.ctl("queue", "cancel", "3,99").status == 7
    assert [d["id"] for d in bob.ctl("queue", "clear").json["downloads"]] == [3]
    assert len(bob.ctl("queue").json["downloads"]) == 2
    ada.ctl("limit", "--up", "0")
    assert waited(bob).status == 0


def test_limits_are_for_good(processes: Processes) -> None:
    peer = processes.peer("ada")
    peer.ctl("limit", "--up", "1M", "--down", "2MB/s", "--slots", "2", "--downloads", "5")
    peer.terminate()
    peer.restart()

    limits = peer.ctl("limit").json
    assert (limits["up"], limits["down"], limits["slots"], limits["downloads"]) == (1e6, 2e6, 2, 5)


def test_an_upload_over_its_slots_waits_at_its_place(processes: Processes) -> None:
    index = processes.index()
    ada, bob, cyd = (processes.peer(name, index=index, start=False) for name in ("ada", "bob", "cyd"))
    data = random_file(ada.shared / "big.bin", 8 * MIB)
    for peer in (ada, bob, cyd):
        peer.start()
    ada.ctl("limit", "--slots", "1", "--up", "200k")
    for peer in (bob, cyd):
        found(peer, "big")
        peer.ctl("get", "1")
        if peer is bob:
            received(bob, 1)

    def rows() -> list[tuple[str, str, int | None]]:
        shown = ada.ctl("uploads").json["uploads"]
        return [(row["user"], row["state"], row["position"]) for row in shown]

    until(lambda: rows() == [("bob", "active", None), ("cyd", "queued", 1)], "cyd queued", every_s=0.05)
    # bob, who fetches it too, is another.
    (source,) = [row for row in cyd.ctl("sources", "1").json["sources"] if row["user"] == "ada"]
    assert (source["state"], source["queue_position"]) == ("queued", 1)
    ada.ctl("limit", "--up", "none")
    for peer in (bob, cyd):
        assert waited(peer).status == 0
        assert saved(peer) == data


def test_a_second_login_replaces_the_first_and_there_is_no_flapping(processes: Processes) -> None:
    index = processes.index()
    first = processes.peer("ada", index=index)
    first.wait_for_event("index.connected")
    second = processes.peer("twin", index=index, start=False)
    second.options = ["ada" if o == "twin" else o for o in second.options]
    second.state.mkdir(parents=True)
    (second.state / "identity.pem").write_bytes((first.state / "identity.pem").read_bytes())
    second.start()
    second.wait_for_event("index.connected")

    first.wait_for_event("index.refused", code="replaced")
    assert first.ctl("status").json["index"]["state"] == "refused"
    assert second.ctl("status").json["index"]["state"] == "online"
    assert len(first.seen("index.connected")) == 1


def test_a_name_belongs_to_the_first_key_that_used_it(processes: Processes) -> None:
    index = processes.index()
    processes.peer("ada", index=index).wait_for_event("index.connected")
    thief = processes.peer("thief", index=index, start=False)
    thief.options = ["ada" if o == "thief" else o for o in thief.options]
    thief.start()

    refused = thief.wait_for_event("index.refused")
    assert refused["code"] == "name_taken"
    assert thief.ctl("search", "x").status == 1


def test_an_index_with_another_key_is_refused(processes: Processes) -> None:
    index = processes.index()
    peer = processes.peer("ada", start=False)
    peer.options = [*peer.options, "--index", index.address]
    peer.start()
    peer.wait_for_event("index.trusted", index=index.id)
    index.terminate()
    (index.state / "identity.pem").unlink()
    index.restart()

    refused = peer.wait_for_event("index.refused", timeout=30)
    assert refused["code"] == "wrong_identity"
    assert "known_indexes" in peer.ctl("status").json["index"]["error"] or index.id in refused["error"]


@pytest.mark.parametrize("how", ["terminate", "shutdown"])
def test_both_daemons_end_cleanly_and_come_back(processes: Processes, how: str) -> None:
    index = processes.index()
    ada, bob = (processes.peer(name, index=index, start=False) for name in ("ada", "bob"))
    random_file(ada.shared / "kept.txt", 100)
    ada.start()
    bob.start()
    found(bob, "kept")

    for daemon in (ada, index):
        if how == "terminate":
            assert daemon.terminate() == 0
        else:
            assert daemon.ctl("shutdown").status == 0
            until(lambda daemon=daemon: not daemon.running, "its end", 10)
    index.restart()
    ada.restart()
    found(bob, "kept", timeout=30)
    # Nothing had changed, so nothing was announced again.
    assert index.seen("catalogue.announced", user="ada")[1:] == []


def test_a_script_may_close_its_writing_side_and_still_gets_its_reply(processes: Processes) -> None:
    peer = processes.peer("ada")
    with socket.socket(socket.AF_UNIX) as script:
        script.connect(str(peer.socket))
        script.sendall(b'{"jsonrpc":"2.0","id":1,"method":"share.rescan","params":{}}\n')
        script.shutdown(socket.SHUT_WR)
        reply = b"".join(iter(lambda: script.recv(65536), b""))
    assert json.loads(reply)["result"]["schema"] == 1
