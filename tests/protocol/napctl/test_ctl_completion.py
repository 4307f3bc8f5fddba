"""Completion: the scripts, and what they are answered while somebody types."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import documents
from tests.support.command_line import napctl
from tests.support.fake_daemon import FakeDaemon, Silence
from tests.support.napctl_answers import ANSWERS

ROOT = Path(__file__).resolve().parents[3]
QUEUE_ANSWERS = ANSWERS | {"queue.list": documents.QUEUE}


def offered(*words: str, socket: Path, shell: str = "bash") -> list[str]:
    """What is offered for the last of these words."""
    environ = {
        "_NAPCTL_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "\n".join(["napctl", *words]),
        # fish tells the word itself, the others its number.
        "COMP_CWORD": words[-1] if shell == "fish" and words else str(len(words)),
    }
    with pytest.MonkeyPatch.context() as patched:
        for name, value in environ.items():  # click reads them from the process
            patched.setenv(name, value)
        ran = napctl(socket=socket, environ=environ)
    assert ran.status == 0
    return [line.partition(",")[2] for line in ran.out.splitlines() if line]


def test_commands_options_and_choices_are_offered(sockets: Path) -> None:
    nowhere = sockets / "none"
    assert offered("st", socket=nowhere) == ["status"]
    assert "--json" in offered("queue", "--", socket=nowhere)
    assert offered("queue", "p", socket=nowhere) == ["pause", "priority"]
    assert offered("search", "--type", "a", socket=nowhere) == ["audio", "archive"]
    assert offered("completion", "", socket=nowhere) == ["bash", "zsh", "fish"]


def test_live_downloads_are_offered_where_they_make_sense(sockets: Path) -> None:
    with FakeDaemon(sockets / "s", QUEUE_ANSWERS) as daemon:
        assert offered("queue", "pause", "", socket=daemon.path)[:4] == ["3", "12", "13", "14"]
        assert offered("queue", "pause", "1", socket=daemon.path) == ["12", "13", "14"]
        assert offered("queue", "pause", "12,", socket=daemon.path) == ["12,3", "12,13", "12,14"]
        assert offered("queue", "resume", "1", socket=daemon.path) == ["14"]
        assert offered("sources", "", socket=daemon.path) == ["3", "12", "13", "14", "4", "2", "5"]
        assert "all" in offered("wait", "a", socket=daemon.path)
        assert offered("queue", "priority", "3", "u", socket=daemon.path) == ["urgent"]
        assert offered("queue", "move", "3", "t", socket=daemon.path) == ["top"]


def test_live_shares_and_users_are_offered(sockets: Path) -> None:
    shares = documents.SHARES["shares"]
    named = [shares[0] | {"name": name} for name in ("Music", "my music", "$(rm -rf x)*", documents.HOSTILE)]
    with FakeDaemon(sockets / "s", ANSWERS | {"share.list": {"schema": 1, "shares": named}}) as daemon:
        assert offered("share", "remove", "", socket=daemon.path) == ["Music", "'my music'", "'$(rm -rf x)*'"]
        assert "my music" in offered("share", "rescan", "", socket=daemon.path, shell="fish")[1]
        assert offered("search", "moon", "--user", "b", socket=daemon.path) == ["bob"]


def test_live_wishes_are_offered(sockets: Path) -> None:
    with FakeDaemon(sockets / "s", ANSWERS) as daemon:
        assert offered("wish", "", socket=daemon.path) == ["list", "add", "remove", "found"]
        assert offered("wish", "remove", "", socket=daemon.path) == ["1", "2"]
        assert offered("wish", "found", "2", socket=daemon.path) == ["2"]
        assert offered("wish", "add", "moon", "--user", "b", socket=daemon.path) == ["bob"]
    assert "--get" in offered("wish", "add", "--", socket=sockets / "none")


def test_the_socket_option_before_the_cursor_is_used(sockets: Path) -> None:
    with FakeDaemon(sockets / "s", QUEUE_ANSWERS) as daemon:
        assert offered("--socket", str(daemon.path), "sources", "1", socket=sockets / "none") == ["12", "13", "14"]


def test_a_daemon_that_is_silent_or_gone_costs_a_tenth_of_a_second_at_most(sockets: Path) -> None:
    with FakeDaemon(sockets / "s", {"queue.list": [Silence()]}) as daemon:
        begun = time.monotonic()
        assert offered("sources", "", socket=daemon.path) == []
        assert time.monotonic() - begun < 1.0
    assert offered("sources", "", socket=sockets / "none") == []


def test_an_instruction_nobody_gives_is_answered_with_nothing(sockets: Path) -> None:
    for instruction in ("", "tcsh_complete", "bash_frob"):
        ran = napctl(socket=sockets / "none", environ={"_NAPCTL_COMPLETE": instruction})
        assert (ran.status, ran.out.strip()) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_the_shell_can_read(shell: str) -> None:
    script = napctl("completion", shell).out
    assert "_NAPCTL_COMPLETE" in script
    document = napctl("completion", shell, "--json").json
    assert document["script"].rstrip() == script.rstrip()
    if shutil.which(shell) is not None:
        subprocess.run([shell, "-n"], input=script.encode(), check=True, timeout=20)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_with_the_script(sockets: Path) -> None:
    (sockets / "napctl").write_text(f'#!/bin/sh\nexec {sys.executable} -m napctl "$@"\n')
    (sockets / "napctl").chmod(0o755)
    test = f"""
{napctl("completion", "bash").out}
COMP_WORDS=(napctl queue pause "")
COMP_CWORD=3
_napctl_completion napctl
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    with FakeDaemon(sockets / "s", QUEUE_ANSWERS) as daemon:
        environ = {
            **os.environ,
            "PATH": f"{sockets}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "NAPCTL_SOCKET": str(daemon.path),
        }
        shown = subprocess.run(
            ["bash", "-c", test], env=environ, capture_output=True, text=True, timeout=20, check=True
        )
    words = ["all", "active", "queued", "waiting", "paused", "failed", "done", "cancelled"]
    assert shown.stdout.split() == ["3", "12", "13", "14", *words]
