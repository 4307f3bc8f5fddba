"""The tutorial is right: its commands run as they stand, in order, in one shell, and show what it says."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import define

from tests.support.processes import ROOT, environment
from tests.support.waiting import until

PAGE = ROOT / "docs" / "tutorial" / "first-transfer.md"
#: Commands that only look: somebody who does not see yet what is announced would look again.
LOOKS = re.compile(r"napctl (--socket \S+ )?(search|users|index status|events|queue$)|grep ")
LOOK_AGAIN_S = 15.0


@define
class Step:
    command: str
    expected: str = ""


def steps() -> list[Step]:
    found: list[Step] = []
    for block in re.findall(r"^```console\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(Step(line[2:]))
            else:
                found[-1].expected += line + "\n"
    return found


def shows(output: str, expected: str) -> bool:
    """`…` stands for anything, over lines too."""
    if not expected:
        return True
    parts = [re.escape(part) for part in expected.strip().split("…")]
    return re.fullmatch(".*".join(parts), output.strip(), re.DOTALL) is not None


class Shell:
    """One bash, as a reader would have it."""

    def __init__(self, home: Path) -> None:
        commands = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=home,
            env=environment(HOME=str(home), PATH=commands, NO_COLOR="1"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str) -> tuple[int, str]:
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        mark = f"done-{uuid.uuid4().hex}"
        self._bash.stdin.write(f"{command}\necho {mark} $?\n")
        self._bash.stdin.flush()
        output = ""
        for line in self._bash.stdout:
            if mark in line:
                before, _, status = line.partition(mark)
                return int(status), output + before
            output += line
        raise AssertionError(f"the shell ended at: {command}\n{output}")

    def close(self) -> None:
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.close()
        self._bash.stdout.close()
        self._bash.wait(10)


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home directory with a short path, and no daemon left in it."""
    made = tmp_path_factory.mktemp("h")
    yield made
    for pidfile in made.rglob("twistd.pid"):
        os.kill(int(pidfile.read_text()), signal.SIGKILL)


def test_the_first_transfer_goes_as_it_is_told(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    told = steps()
    assert len(told) > 20
    shell = Shell(home)
    for step in told:
        command = step.command.replace("6699", str(port))
        last: list[tuple[int, str]] = []

        def look(command: str = command, step: Step = step, last: list[tuple[int, str]] = last) -> bool:
            last[:] = [shell.run(command)]
            status, output = last[0]
            return status == 0 and shows(output, step.expected)

        if LOOKS.search(command):
            until(look, command, LOOK_AGAIN_S, every_s=0.2)
        else:
            assert look(), f"$ {command}\nexit status {last[0][0]}, output:\n{last[0][1]}\nexpected:\n{step.expected}"
    shell.close()
    assert not list(home.rglob("twistd.pid")), "all daemons have ended"
    assert not [path for path in home.iterdir() if path.name not in ("nap", "Downloads")]
