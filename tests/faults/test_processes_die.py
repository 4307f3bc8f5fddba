"""Real processes that are killed, stopped, lie, or run out of disk at a bad moment."""

from __future__ import annotations

import resource
from pathlib import Path

from tests.support.community import (
    MIB,
    download,
    flipping_peer,
    found,
    gone,
    random_file,
    received,
    saved,
    waited,
    when,
)
from tests.support.processes import Processes
from tests.support.waiting import until


def test_the_faster_source_is_killed_halfway(processes: Processes) -> None:
    index = processes.index()
    fast, slow, cyd = (processes.peer(name, index=index, start=False) for name in ("fast", "slow", "cyd"))
    data = random_file(fast.shared / "big.bin", 40 * MIB)
    random_file(slow.shared / "big.bin", 40 * MIB)
    for peer in (fast, slow, cyd):
        peer.start()
    fast.ctl("limit", "--up", "8MiB")
    slow.ctl("limit", "--up", "4MiB")
    until(lambda: (r := cyd.ctl("search", "big").json["results"]) and r[0]["sources"] == 2, "two sources", every_s=0.1)
    cyd.ctl("get", "1")
    received(cyd, 16 * MIB)

    fast.kill()
    lost = cyd.wait_for_event("download.source_lost", user="fast")
    assert lost["download"] == 1
    assert waited(cyd).status == 0
    assert saved(cyd) == data
    assert download(cyd)["bytes_received"] <= 40 * MIB + 20 * MIB


def test_the_downloader_is_killed_halfway_and_restarted(processes: Processes) -> None:
    index = processes.index()
    ada, bob = (processes.peer(name, index=index, start=False) for name in ("ada", "bob"))
    data = random_file(ada.shared / "big.bin", 40 * MIB)
    for number in range(3):
        random_file(ada.shared / f"small {number}.bin", 100, seed=number)
    foreign = bob.downloads / "mine.txt"
    foreign.write_text("not napd's")
    ada.start()
    bob.start()
    ada.ctl("limit", "--up", "10MiB")
    bob.ctl("limit", "--downloads", "1")
    (big,) = found(bob, "big")
    bob.ctl("get", big["content"], "--priority", "high")
    small = found(bob, "small", count=3)
    bob.ctl("get", *(result["content"] for result in small), "--priority", "low")
    bob.ctl("queue", "pause", "3")
    before = received(bob, 12 * MIB)
    order = [(d["id"], d["priority"]) for d in bob.ctl("queue").json["downloads"]]

    bob.kill()
    ada.ctl("limit", "--up", "1")
    bob.restart()
    shown = bob.ctl("queue").json["downloads"]
    assert [(d["id"], d["priority"]) for d in shown] == order
    assert download(bob, 3)["state"] == "paused"
    assert download(bob, 1)["bytes_done"] >= before["bytes_done"]
    ada.ctl("limit", "--up", "0")
    bob.ctl("queue", "resume", "all")
    assert waited(bob).status == 0
    assert saved(bob, 1) == data
    assert foreign.read_text() == "not napd's"
    assert sorted(path.name for path in bob.downloads.iterdir()) == sorted(
        ["mine.txt", "big.bin", *(f"small {n}.bin" for n in range(3))]
    )
    # What was flushed is not fetched again.
    assert download(bob, 1)["bytes_received"] <= 40 * MIB + 40 * MIB


def test_a_transfer_goes_on_while_the_index_is_killed_and_restarted(processes: Processes) -> None:
    index = processes.index()
    ada, bob = (processes.peer(name, index=index, start=False) for name in ("ada", "bob"))
    data = random_file(ada.shared / "big.bin", 24 * MIB)
    ada.start()
    bob.start()
    ada.ctl("limit", "--up", "6MiB")
    found(bob, "big")
    bob.ctl("get", "1")
    received(bob, 4 * MIB)

    index.kill()
    bob.wait_for_event("index.lost")
    at_the_loss = download(bob)["bytes_done"]
    received(bob, at_the_loss + 4 * MIB)
    mark = bob.mark()
    index.restart()
    bob.wait_for_event("index.connected", after=mark, timeout=40)
    assert waited(bob).status == 0
    assert saved(bob) == data
    assert bob.seen("download.waiting") == []
    found(bob, "big", timeout=40)


def test_flipped_bytes_never_arrive_and_an_honest_source_finishes(processes: Processes) -> None:
    index = processes.index()
    liar = flipping_peer(processes, "liar", index)
    honest, bob = (processes.peer(name, index=index, start=False) for name in ("honest", "bob"))
    data = random_file(liar.shared / "big.bin", 12 * MIB)
    random_file(honest.shared / "big.bin", 12 * MIB)
    for peer in (liar, honest, bob):
        peer.start()
    honest.ctl("limit", "--up", "4MiB")
    until(lambda: (r := bob.ctl("search", "big").json["results"]) and r[0]["sources"] == 2, "two sources", every_s=0.1)

    bob.ctl("get", "1")
    assert waited(bob).status == 0
    assert saved(bob) == data
    rejected = bob.wait_for_event("download.chunk_rejected")
    assert (rejected["user"], rejected["peer"]) == ("liar", liar.id)
    (row,) = [row for row in bob.ctl("sources", "1").json["sources"] if row["user"] == "liar"] or [None]
    assert row is None or row["state"] == "banned"


def test_a_liar_as_the_only_source_never_completes(processes: Processes) -> None:
    index = processes.index()
    liar = flipping_peer(processes, "liar", index)
    bob = processes.peer("bob", index=index)
    random_file(liar.shared / "big.bin", 3 * MIB)
    random_file(liar.shared / "small.bin", 300)
    liar.start()

    results = found(bob, "bin", count=2)
    bob.ctl("get", *(result["content"] for result in results))
    for number in (1, 2):
        bob.wait_for_event("download.chunk_rejected", download=number)
        when(bob, "waiting", number)
    assert bob.ctl("wait", "all", "--timeout", "2").status == 6
    assert [path.name for path in bob.downloads.iterdir() if path.name != ".napd"] == []


def test_a_source_that_is_stopped_is_left_and_gone_from_results(processes: Processes) -> None:
    index = processes.index()
    frozen, slow, bob = (processes.peer(name, index=index, start=False) for name in ("frozen", "slow", "bob"))
    data = random_file(frozen.shared / "big.bin", 40 * MIB)
    random_file(frozen.shared / "its own.bin", 100, seed=2)
    random_file(slow.shared / "big.bin", 40 * MIB)
    for peer in (frozen, slow, bob):
        peer.start()
    frozen.ctl("limit", "--up", "2MiB")
    slow.ctl("limit", "--up", "2MiB")
    until(lambda: (r := bob.ctl("search", "big").json["results"]) and r[0]["sources"] == 2, "two sources", every_s=0.1)
    bob.ctl("get", "1")
    received(bob, 4 * MIB)

    frozen.pause()
    bob.wait_for_event("download.source_lost", user="frozen", timeout=20)
    gone(bob, "own", timeout=20)
    slow.ctl("limit", "--up", "0")
    assert waited(bob).status == 0
    assert saved(bob) == data
    frozen.go_on()
    found(bob, "own", timeout=30)


def test_the_only_source_returns_and_the_download_goes_on_within_five_seconds(processes: Processes) -> None:
    index = processes.index()
    ada, bob = (processes.peer(name, index=index, start=False) for name in ("ada", "bob"))
    data = random_file(ada.shared / "big.bin", 20 * MIB)
    ada.start()
    bob.start()
    ada.ctl("limit", "--up", "6MiB")
    found(bob, "big")
    bob.ctl("get", "1")
    received(bob, 6 * MIB)

    ada.kill()
    when(bob, "waiting", timeout=20)
    mark = bob.mark()
    ada.restart()
    ada.wait_for_event("index.reachable", after=0)
    bob.wait_for_event("download.started", after=mark, timeout=5)
    assert waited(bob).status == 0
    assert saved(bob) == data


def test_no_space_fails_keeps_chunks_and_can_be_retried(processes: Processes) -> None:
    index = processes.index()
    ada, bob = (processes.peer(name, index=index, start=False) for name in ("ada", "bob"))
    data = random_file(ada.shared / "big.bin", 20 * MIB)
    ada.start()
    bob.start()
    found(bob, "big")
    # A limit on the size of files is the nearest to a full disk that needs no privileges.
    no_limit = resource.prlimit(bob.process.pid, resource.RLIMIT_FSIZE, (8 * MIB, resource.RLIM_INFINITY))

    got = bob.ctl("get", "1", "--wait")
    assert got.status == 9
    failed = download(bob)
    assert (failed["state"], failed["error"]["code"]) == ("failed", "no_space")
    assert 0 < failed["bytes_done"] <= 8 * MIB

    resource.prlimit(bob.process.pid, resource.RLIMIT_FSIZE, no_limit)
    assert bob.ctl("queue", "retry", "1").status == 0
    assert waited(bob).status == 0
    assert saved(bob) == data
    assert download(bob)["bytes_received"] < 20 * MIB + 16 * MIB


def test_a_killed_index_has_what_it_acknowledged(processes: Processes) -> None:
    index = processes.index()
    ada, bob = (processes.peer(name, index=index, start=False) for name in ("ada", "bob"))
    for number in range(200):
        random_file(ada.shared / f"page {number}.txt", 50, seed=number)
    ada.start()
    bob.start()
    until(lambda: index.ctl("index", "status").json["contents"] == 200, "200 contents", every_s=0.1)

    index.kill()
    mark = index.mark()
    index.restart()
    found(bob, "page", count=100, timeout=40)
    assert index.seen("catalogue.announced", after=mark, user="ada") == []


def test_downloads_survive_many_kills(processes: Processes, tmp_path: Path) -> None:
    """`kill -9` again and again, at moments that the transfer's own progress picks."""
    index = processes.index()
    ada, bob = (processes.peer(name, index=index, start=False) for name in ("ada", "bob"))
    data = {name: random_file(ada.shared / name, 9 * MIB, seed=n) for n, name in enumerate(["a.bin", "b.bin", "c.bin"])}
    ada.start()
    bob.start()
    ada.ctl("limit", "--up", "12MiB")
    results = found(bob, "bin", count=3)
    bob.ctl("get", *(result["content"] for result in results))
    order = [d["content"] for d in bob.ctl("queue").json["downloads"]]
    done = 0
    for step in range(1, 9):
        until(
            lambda step=step: sum(d["bytes_done"] for d in bob.ctl("queue").json["downloads"]) >= step * 2 * MIB,
            f"step {step}",
            every_s=0.01,
        )
        bob.kill()
        bob.restart()
        shown = bob.ctl("queue").json["downloads"]
        assert sorted(d["content"] for d in shown) == sorted(order)
        assert sum(d["bytes_done"] for d in shown) >= done
        done = sum(d["bytes_done"] for d in shown)
    assert waited(bob).status == 0
    assert {path.name: path.read_bytes() for path in bob.downloads.iterdir()} == data
