"""What systemd is told, on a real socket."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from napd.ops.notify import Notifier


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """The other end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.setblocking(False)
        yield end


def heard(systemd: socket.socket) -> list[str]:
    said = []
    while True:
        try:
            said.append(systemd.recv(4096).decode())
        except BlockingIOError:
            return said


def test_each_state_is_told_in_systemds_words(systemd: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": systemd.getsockname()})
    notifier.ready("listening on 127.0.0.1:6699")
    notifier.status("2 peers")
    notifier.status("2 peers")
    notifier.reloading()
    notifier.ready("2 peers")
    notifier.alive()
    notifier.stopping(10)
    notifier.close()
    ready, status, reloading, again, alive, stopping = heard(systemd)
    assert ready == "READY=1\nSTATUS=listening on 127.0.0.1:6699"
    assert status == "STATUS=2 peers"
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", reloading)
    assert again == "READY=1\nSTATUS=2 peers"
    assert alive == "WATCHDOG=1"
    assert stopping == "STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC=10000000"


def test_an_abstract_socket_works_too() -> None:
    name = f"napd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name)
        systemd.setblocking(False)
        notifier = Notifier({"NOTIFY_SOCKET": "@" + name})
        notifier.ready("fine")
        assert heard(systemd) == ["READY=1\nSTATUS=fine"]
        notifier.close()


def test_without_systemd_nothing_happens_and_a_lost_one_is_no_failure(tmp_path: Path) -> None:
    for environ in ({}, {"NOTIFY_SOCKET": str(tmp_path / "nowhere")}):
        notifier = Notifier(environ)
        notifier.ready("fine")
        notifier.close()


def test_a_status_stays_one_line(systemd: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": systemd.getsockname()})
    notifier.status("one\nWATCHDOG=trigger")
    notifier.close()
    assert heard(systemd) == ["STATUS=one WATCHDOG=trigger"]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_at_half_of_what_systemd_allows(environ: dict[str, str], expected: float | None) -> None:
    assert Notifier({"NOTIFY_SOCKET": "/nowhere", **environ}).watchdog_s == expected
