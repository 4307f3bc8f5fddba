"""`napctl cat`: bytes as they are, and the exit status of what happened."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support import documents
from tests.support.command_line import napctl
from tests.support.fake_daemon import Error, FakeDaemon, Push, Reply

PIECES = [Push("bytes", piece) for piece in documents.PIECES]


def run(socket: Path, *args: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "napctl", "--socket", str(socket), *args]
    return subprocess.run(command, capture_output=True, timeout=30)


def test_the_bytes_come_out_as_they_are_and_nothing_else(sockets: Path) -> None:
    with FakeDaemon(sockets / "s", {"cat": [*PIECES, Reply(documents.CAT)]}) as daemon:
        ran = run(daemon.path, "cat", "3")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"moon\0\xff", b"")


def test_with_json_the_bytes_are_documents(sockets: Path) -> None:
    with FakeDaemon(sockets / "s", {"cat": [*PIECES, Reply(documents.CAT)]}) as daemon:
        ran = napctl("cat", "3", "--json", socket=daemon.path)
    assert ran.documents == [*documents.PIECES, documents.CAT]


def test_a_file_that_was_changed_is_an_integrity_failure(sockets: Path) -> None:
    refusal = Error("integrity", "/srv/film.mkv is not what was downloaded any more", "Move it away")
    with FakeDaemon(sockets / "s", {"cat": [refusal]}) as daemon:
        ran = napctl("cat", "3", socket=daemon.path)
    assert (ran.status, ran.out) == (8, "")
    assert "not what was downloaded" in ran.err


def test_what_ends_in_the_middle_says_so_after_the_bytes(sockets: Path) -> None:
    refusal = Error("failed", "download 3 was cancelled")
    with FakeDaemon(sockets / "s", {"cat": [PIECES[0], refusal]}) as daemon:
        ran = run(daemon.path, "cat", "3")
    assert (ran.returncode, ran.stdout) == (1, b"moo")
    assert b"cancelled" in ran.stderr
