"""napctl doctor: what it finds, and what it exits with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import documents
from tests.support.command_line import napctl
from tests.support.fake_daemon import Error, FakeDaemon
from tests.support.napctl_answers import ANSWERS

WELL: dict[str, Any] = {
    "version": documents.VERSION,
    "status": documents.STATUS | {"downloads": documents.STATUS["downloads"] | {"failed": 0}},
    "share.list": {"schema": 1, "shares": [documents.SHARES["shares"][0] | {"skipped": [], "skipped_count": 0}]},
}


def states(answers: dict[str, Any], sockets: Path) -> tuple[int, dict[str, str]]:
    with FakeDaemon(sockets / "s", answers) as daemon:
        ran = napctl("doctor", "--json", socket=daemon.path)
    found: dict[str, str] = {}
    for check in ran.json["checks"]:
        assert check.keys() == {"check", "state", "message", "hint"}
        found[check["check"]] = check["state"]
    return ran.status, found


def test_a_healthy_daemon_is_healthy(sockets: Path) -> None:
    status, found = states(WELL, sockets)
    assert status == 0
    names = ("socket", "daemon", "index", "reachable", "downloads", "shares")
    assert {name: found[name] for name in names} == dict.fromkeys(names, "ok")
    assert "disk" in found


@pytest.mark.parametrize(
    ("method", "change", "check", "state"),
    [
        ("version", {"protocol": 2}, "daemon", "fail"),
        ("version", {"daemon": "0.0.9"}, "daemon", "warn"),
        ("status", {"index": documents.STATUS["index"] | {"state": "connecting"}}, "index", "warn"),
        ("status", {"index": documents.STATUS["index"] | {"state": "refused", "error": "replaced"}}, "index", "fail"),
        ("status", {"reachable": None}, "reachable", "warn"),
        ("status", {"reachable": False}, "reachable", "warn"),
        ("status", {"downloads": documents.STATUS["downloads"]}, "downloads", "warn"),
        ("share.list", {"shares": []}, "shares", "warn"),
        ("share.list", {"shares": documents.SHARES["shares"][:1]}, "shares", "warn"),
        ("share.list", {"shares": documents.SHARES["shares"][1:]}, "shares", "fail"),
    ],
)
def test_each_trouble_is_found(method: str, change: dict[str, Any], check: str, state: str, sockets: Path) -> None:
    status, found = states(WELL | {method: WELL[method] | change}, sockets)
    assert found[check] == state
    assert status == (1 if state == "fail" else 0)


def test_a_daemon_out_of_reach_is_the_finding(sockets: Path) -> None:
    ran = napctl("doctor", "--json", socket=sockets / "none")
    assert ran.status == 3
    assert [check["state"] for check in ran.json["checks"]] == ["fail"]
    people = napctl("doctor", socket=sockets / "none")
    assert people.out.startswith("fail  daemon")


def test_what_the_daemon_refuses_is_a_finding(sockets: Path) -> None:
    status, found = states(WELL | {"status": Error("denied", "no")}, sockets)
    assert (status, found["daemon"]) == (5, "fail")


def test_an_index_is_examined_too(sockets: Path) -> None:
    status, found = states({"version": documents.VERSION, "status": ANSWERS["index.status"]}, sockets)
    assert status == 0
    assert found.keys() == {"socket", "daemon", "disk"}
