"""`make demo`'s script: exits 0 with all bytes the same, and leaves nothing behind, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT, environment
from tests.support.waiting import until


def begin(folder: Path) -> subprocess.Popen[str]:
    # The temporary directory as users have it: short. Its folder there is named in the first line.
    return subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / "demo")],
        cwd=folder,
        env=environment(TMPDIR=str(folder)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def left_running(folder: Path) -> list[str]:
    """Processes that work in the folder, or whose directory there is deleted."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            cwd = os.readlink(process / "cwd")
        except OSError:
            continue
        if cwd.startswith(f"{folder}/"):
            found.append(f"{process.name}: {cwd}")
    return found


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("t")


def test_the_demo_moves_all_bytes_in_time_and_leaves_nothing(folder: Path) -> None:
    demo = begin(folder)
    output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 0, output
    assert "All bytes are the same." in output
    for command in (
        "$ twistd -n napindex",
        "$ twistd -n nappeer",
        " search file1",
        " get 1 --priority urgent",
        " watch",
    ):
        assert command in output
    assert list(folder.iterdir()) == []
    assert left_running(folder) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_stops_what_it_started_and_cleans_up(folder: Path, number: signal.Signals) -> None:
    demo = begin(folder)
    until(lambda: list(folder.rglob("control.sock")), "a daemon is running")
    demo.send_signal(number)
    demo.communicate(timeout=30)
    assert demo.returncode == 130
    assert list(folder.iterdir()) == []
    assert left_running(folder) == []
