"""Several `twistd napindex` on one PostgreSQL: real processes, one index."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from napd.index.cluster.interface import LEASE_S
from tests.support.community import MIB, found, random_file, received, saved, waited
from tests.support.postgres import PostgresServer, restore, running_server, save
from tests.support.processes import IndexProcess, PeerProcess, Processes
from tests.support.waiting import until


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """One that may be stopped."""
    yield from running_server()


def test_one_index_on_postgresql_does_what_the_embedded_one_does(
    postgres: PostgresServer, processes: Processes
) -> None:
    index = processes.index("pg", "--database", postgres.database())
    anna = processes.peer("anna", index=index, start=False)
    data = random_file(anna.shared / "song.txt", 10_000)
    anna.start()
    bob = processes.peer("bob", index=index)
    assert [row["users"] for row in found(bob, "song")] == [["anna"]]
    assert bob.ctl("get", "1").status == 0
    assert waited(bob).status == 0
    assert saved(bob) == data
    status = index.ctl("index", "status").json
    assert status["database"].startswith("postgresql://napd@127.0.0.1:")
    assert not (index.state / "index.db").exists()


@pytest.mark.parametrize(
    ("place", "status", "reason"),
    [
        # Perhaps it is not up yet: whoever starts us may try again.
        ("127.0.0.1:1/nap", 1, "Connection refused"),
        ("127.0.0.1:{port}/nothing", 78, '"nothing" does not exist'),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line_and_its_password_is_in_no_log(
    postgres: PostgresServer, processes: Processes, place: str, status: int, reason: str
) -> None:
    url = f"postgresql://napd:s3cret@{place.format(port=postgres.port)}"
    index = processes.index("pg", "--database", url, start=False)
    index.begin()
    assert index.process.wait(30) == status
    written = "".join(path.read_text("utf-8", "replace") for path in index.folder.rglob("*") if path.is_file())
    written += processes.logs()
    assert re.search(
        rf"PostgreSQL database cannot be used: .*127\.0\.0\.1.*{re.escape(reason)}", written.replace("\\", "")
    )
    assert "s3cret" not in written


def nodes(processes: Processes, url: str, count: int, *options: str) -> list[IndexProcess]:
    """All of one identity: the first one's."""
    made = []
    for number in range(1, count + 1):
        node = processes.index(f"node{number}", "--database", url, *options, start=False)
        if made:
            node.state.mkdir(parents=True)
            (node.state / "identity.pem").write_bytes((made[0].state / "identity.pem").read_bytes())
        node.start()
        node.wait_for_event("index.node_up")
        made.append(node)
    return made


def peer(processes: Processes, name: str, *at: IndexProcess) -> PeerProcess:
    """Knows these nodes, and tries them in this order."""
    made = processes.peer(name, start=False)
    made.options = [*made.options, *(word for node in at for word in ("--index", f"{node.address}#{node.id}"))]
    return made


def test_three_nodes_are_one_index_and_one_of_them_is_killed(postgres: PostgresServer, processes: Processes) -> None:
    first, second, third = nodes(processes, postgres.database(), 3)
    anna = peer(processes, "anna", first, second)
    song = random_file(anna.shared / "anna song.txt", 50_000)
    bob = peer(processes, "bob", second)
    carl = peer(processes, "carl", third)
    for one in (anna, bob, carl):
        one.start()
        one.wait_for_event("index.connected")
    anna.wait_for_event("index.reachable")

    # What is announced at one node is found at another, within a second.
    assert [row["users"] for row in found(bob, "song")] == [["anna"]]
    random_file(anna.shared / "anna ballad.txt", 100)
    first.wait_for_event("catalogue.announced", added=1, revision=2)
    announced = time.monotonic()
    hears(carl, "ballad", 1)
    assert time.monotonic() - announced < 1.0
    assert users(third) == ["anna", "bob", "carl"]
    seen = third.ctl("index", "status").json["nodes"]
    assert [(node["peers"], node["here"]) for node in seen] == [(1, False), (1, False), (1, True)]
    ports = [node.address.rpartition(":")[2] for node in (first, second, third)]
    assert [node["name"].rpartition(":")[2] for node in seen] == ports
    assert all(0 < node["lease_s"] <= LEASE_S for node in seen)

    # And fetched from there: the ticket is one index's, whichever node it is of.
    found(bob, "song")
    assert bob.ctl("get", "1").status == 0
    assert waited(bob).status == 0
    assert saved(bob) == song

    # A node that is gone takes its peers with it, for everybody, until they are at another.
    stays = peer(processes, "stays", first)
    random_file(stays.shared / "stays hymn.txt", 100)
    stays.start()
    hears(carl, "hymn", 1)
    mark = anna.mark()
    killed = time.monotonic()
    first.kill()
    anna.wait_for_event("index.connected", after=mark, timeout=10)
    hears(carl, "hymn", 0, LEASE_S + 3)
    assert time.monotonic() - killed < LEASE_S + 3
    assert [row["users"] for row in found(carl, "song")] == [["anna"]]
    assert second.seen("index.node_lost") or third.seen("index.node_lost")
    assert len(third.ctl("index", "status").json["nodes"]) == 2

    # It comes back, and is told everything.
    first.restart()
    until(lambda: {"anna", "bob", "carl"} <= set(users(first)), "the first node knows who is online", every_s=0.2)


def test_what_peers_say_and_ask_crosses_nodes(postgres: PostgresServer, processes: Processes) -> None:
    first, second, third = nodes(processes, postgres.database(), 3)
    bob = peer(processes, "bob", second)
    carl = peer(processes, "carl", third)
    for one in (bob, carl):
        one.start()
        one.wait_for_event("index.connected")
    # A wish at one node hears of what is announced at another.
    assert carl.ctl("wish", "add", "song").status == 0
    anna = peer(processes, "anna", first)
    data = random_file(anna.shared / "anna song.bin", 8 * MIB)
    anna.start()
    anna.ctl("limit", "--up", "1MiB")
    third.wait_for_event("wish.told", user="carl", results=1)
    for one in (anna, bob, carl):
        until(lambda p=one: p.ctl("status").json["reachable"], "to be reachable", every_s=0.1)  # type: ignore[misc]

    # Who fetches from one node is told, as sources, who has it at another, and who at a third has parts of it.
    found(bob, "song")
    assert bob.ctl("get", "1").status == 0
    received(bob, 2 * MIB)
    found(carl, "song")
    assert carl.ctl("get", "1").status == 0
    until(lambda: users_of(carl) == {"anna": False, "bob": True}, "both sources", every_s=0.1)
    for one in (bob, carl):
        assert waited(one).status == 0
        assert saved(one) == data
    assert bob.seen("upload.started") or carl.seen("upload.started")
    # A source that comes back at another node is one again.
    mark = anna.mark()
    first.terminate()
    anna.options = [*anna.options, "--index", f"{second.address}#{second.id}"]
    anna.terminate()
    anna.restart()
    anna.wait_for_event("index.connected", after=mark)
    assert [row["users"] for row in found(carl, "anna")] == [["anna"]]


def users_of(one: PeerProcess) -> dict[str, bool]:
    """The sources of the first download; which of them have only parts."""
    rows = one.ctl("sources", "1").json["sources"]
    return {row["user"]: "is fetching it too" in row["why"] for row in rows}


def test_of_two_logins_at_two_nodes_the_later_stays(postgres: PostgresServer, processes: Processes) -> None:
    first, second = nodes(processes, postgres.database(), 2)
    anna = peer(processes, "anna", first)
    anna.start()
    anna.wait_for_event("index.connected")
    twin = peer(processes, "twin", second)
    twin.options = ["anna" if option == "twin" else option for option in twin.options]
    twin.state.mkdir(parents=True)
    (twin.state / "identity.pem").write_bytes((anna.state / "identity.pem").read_bytes())
    twin.start()
    twin.wait_for_event("index.connected")
    anna.wait_for_event("index.refused", code="replaced")
    assert users(first) == ["anna"]
    assert twin.ctl("status").json["index"]["state"] == "online"


def test_a_node_with_another_identity_is_refused(postgres: PostgresServer, processes: Processes) -> None:
    url = postgres.database()
    nodes(processes, url, 1)
    stranger = processes.index("stranger", "--database", url, start=False)
    stranger.begin()
    assert stranger.process.wait(30) == 78
    assert "same identity.pem" in processes.logs()


@pytest.mark.slow
def test_postgresql_restarts_under_load(own_postgres: PostgresServer, processes: Processes) -> None:
    first, second = nodes(processes, own_postgres.database(), 2)
    anna = peer(processes, "anna", first)
    bob = peer(processes, "bob", second)
    random_file(anna.shared / "before.txt", 100)
    for one in (anna, bob):
        one.start()
        one.wait_for_event("index.connected")
    hears(bob, "before", 1)

    # It crashes while much is announced: nothing is lost, nothing is there twice, nobody is thrown out.
    for n in range(3_000):
        (anna.shared / f"load {n}.txt").write_text(f"{n}")
    until(lambda: listings(second, "anna") > 1, "a part of the list", every_s=0.02)
    own_postgres.restart()
    until(lambda: listings(second, "anna") == 3_001, "the whole list", 60, every_s=0.1)
    assert searched(bob, "load 2999") == 1

    # It is away for longer than a lease.
    own_postgres.halt()
    random_file(anna.shared / "meanwhile.txt", 200)
    away = time.monotonic()

    def is_long_over() -> bool:
        # From memory, at both; nobody is thrown out.
        assert searched(bob, "before") == 1
        assert searched(bob, "meanwhile") == 0
        return time.monotonic() - away > LEASE_S + 2

    until(is_long_over, "a lease is over", 2 * LEASE_S, every_s=0.25)
    assert first.seen("index.node_cut_off") and second.seen("index.node_cut_off")
    late = peer(processes, "late", second)
    late.start()
    own_postgres.resume()
    hears(bob, "meanwhile", 1, 20)
    late.wait_for_event("index.connected", timeout=30)
    assert len(anna.seen("index.connected")) == len(bob.seen("index.connected")) == 1
    assert listings(first, "anna") == listings(second, "anna") == 3_002
    assert not first.seen("index.node_lost") and not second.seen("index.node_lost")


def test_a_node_whose_database_went_back_ends_and_begins_anew(postgres: PostgresServer, processes: Processes) -> None:
    url = postgres.database()
    first, second = nodes(processes, url, 2)
    anna, bob = peer(processes, "anna", first), peer(processes, "bob", second)
    random_file(anna.shared / "before.txt", 100)
    for one in (anna, bob):
        one.start()
        one.wait_for_event("index.connected")
    hears(bob, "before", 1)
    save(url)
    random_file(anna.shared / "after.txt", 100)
    hears(bob, "after", 1)
    marks = anna.mark(), bob.mark()
    restore(url)
    for node in (first, second):
        assert node.process.wait(30) == 1
        node.restart()
    for one, mark in zip((anna, bob), marks, strict=True):
        one.wait_for_event("index.connected", after=mark, timeout=30)
    hears(bob, "before", 1)
    hears(bob, "after", 1)


def listings(node: IndexProcess, user: str) -> int:
    return sum(row["listings"] for row in node.call("index.users", words=user)["users"])


def hears(one: PeerProcess, word: str, count: int, timeout: float = 15.0) -> None:
    what = f"{count} results for {word} by {one.folder.name}"
    # Within what a session may ask in the long run.
    until(lambda: searched(one, word) == count, what, timeout, every_s=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("retention_days", [90, 0])
def test_a_node_that_was_asleep_longer_than_its_lease_is_found_dead_and_comes_back(
    postgres: PostgresServer, processes: Processes, tmp_path: Path, retention_days: int
) -> None:
    file = tmp_path / "index.toml"
    file.write_text(f"retention_days = {retention_days}\n")
    first, second = nodes(processes, postgres.database(), 2, "--config", str(file))
    anna, bob = peer(processes, "anna", first), peer(processes, "bob", second)
    random_file(anna.shared / "song.txt", 100)
    for one in (anna, bob):
        one.start()
        one.wait_for_event("index.connected")
    hears(bob, "song", 1)
    mark = first.mark()
    first.pause()
    hears(bob, "song", 0, LEASE_S + 3)
    if retention_days == 0:
        until(lambda: second.ctl("index", "status").json["known"]["listings"] == 0, "it is forgotten", every_s=0.2)
    first.go_on()
    first.wait_for_event("index.node_up", after=mark)
    hears(bob, "song", 1)
    assert users(first) == users(second) == ["anna", "bob"]


def users(node: IndexProcess) -> list[str]:
    return sorted(row["user"] for row in node.call("index.users", words="")["users"])


def searched(one: PeerProcess, word: str) -> int:
    return len(one.call("search", query=word)["results"])
