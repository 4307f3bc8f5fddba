"""The tutorial and the README are right: their commands run as they stand, in order, and show what is said."""

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
README = ROOT / "README.md"
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
    """`…` stands for anything, over lines too; how wide a column is does not matter."""
    if not expected:
        return True
    expected, output = (re.sub(" +", " ", text.strip()) for text in (expected, output))
    parts = [re.escape(part) for part in expected.split("…")]
    return re.fullmatch(".*".join(parts), output, re.DOTALL) is not None


class Shell:
    """One bash, as a reader would have it in a terminal."""

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

    def begin(self, command: str) -> None:
        """Type something that stays in the foreground."""
        assert self._bash.stdin is not None
        self._bash.stdin.write(command + "\n")
        self._bash.stdin.flush()

    def interrupt(self) -> None:
        """Ctrl-C, as the terminal sends it to what runs in the foreground."""
        children = Path(f"/proc/{self._bash.pid}/task/{self._bash.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGINT)

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


@pytest.fixture
def port() -> int:
    """A free one, in place of the index's own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def test_the_first_transfer_goes_as_it_is_told(home: Path, port: int) -> None:
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

        try:
            until(look, command, LOOK_AGAIN_S if LOOKS.search(command) else 0.0, every_s=0.2)
        except AssertionError:
            status, output = last[0]
            pytest.fail(f"$ {command}\nexit status {status}, output:\n{output}\nexpected:\n{step.expected}")
    shell.close()
    assert not list(home.rglob("twistd.pid")), "all daemons have ended"
    assert not [path for path in home.iterdir() if path.name not in ("nap", "nap-tutorial", "Downloads")]


def test_the_readmes_three_terminals_work(home: Path, port: int) -> None:
    blocks = re.findall(r"^\*\*Terminal (\d).*?^```\n(.*?)^```", README.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert [number for number, _ in blocks] == ["1", "2", "3"]
    index, first, second = (
        text.replace("napindex", f"napindex --listen tcp:{port}:interface=127.0.0.1").replace(
            "localhost", f"localhost:{port}"
        )
        for _, text in blocks
    )
    terminals = [Shell(home) for _ in blocks]
    terminals[0].begin(index)
    until(lambda: (home / "nap/index/state/control.sock").exists(), "the index is there")
    terminals[1].begin(first)
    seen = []
    for command in filter(None, second.splitlines()):
        ran: list[tuple[int, str]] = []

        def run(command: str = command, ran: list[tuple[int, str]] = ran) -> bool:
            ran[:] = [terminals[2].run(command)]
            return ran[0][0] == 0 and ("search" not in command or "file1.txt" in ran[0][1])

        until(run, command, LOOK_AGAIN_S if LOOKS.search(command) else 0.0, every_s=0.2)
        seen.append(ran[0][1])
    assert "Hello from Peer 1\n" in seen
    for terminal in terminals[:2]:
        terminal.interrupt()
    for terminal in terminals:
        terminal.close()
