"""A downloader that is started and killed hundreds of times, and asked over its control socket."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from napd.errors import NapError
from tests.support.processes import ROOT, control, environment, twistd

#: Seconds that a start may take on a busy machine.
START_S = 20.0
#: Seconds within which a search must have all its results.
SEARCH_S = 20.0
SHOWN = 3000


class Gone(Exception):
    """It ended without having been killed."""


class QuickStart:
    """The process that forks daemons."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.quick_start"],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ask(self, **asked: Any) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def stop(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


class QuickPeer:
    """`processes.PeerProcess` in small: no events, no restart of its own accord."""

    def __init__(self, quick: QuickStart, folder: Path, index: str, *options: str) -> None:
        self._quick = quick
        self.folder = folder
        self.downloads = folder / "downloads"
        self.log = folder / "log"
        self.downloads.mkdir(parents=True)
        self._pid: int | None = None
        self._argv = [
            twistd(), "-n", "nappeer", "--state", str(folder / "state"), "--listen", "tcp:0:interface=127.0.0.1",
            "--log-format", "json", "--user", folder.name, "--downloads", str(self.downloads), "--index", index,
            *options,
        ]  # fmt: skip

    def start(self) -> None:
        """Returns when its control socket answers."""
        self._pid = self._quick.ask(argv=self._argv, cwd=str(self.folder), log=str(self.log))
        deadline = time.monotonic() + START_S
        while True:
            try:
                self.call("version")
                return
            except (NapError, OSError) as error:
                if time.monotonic() > deadline:
                    raise Gone(f"it does not answer: {error}") from error
                time.sleep(0.002)

    def kill(self) -> None:
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)
            status = self._quick.ask(reap=self._pid)
            self._pid = None
            if status != signal.SIGKILL:
                raise Gone(f"wait status {status}")

    def call(self, method: str, **params: Any) -> Any:
        return control(self.folder / "state" / "control.sock", method, **params)

    def queue(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.call("queue.list")["downloads"]
        return rows

    def search(self, words: str, count: int) -> list[dict[str, Any]]:
        deadline = time.monotonic() + SEARCH_S
        while True:
            try:
                results: list[dict[str, Any]] = self.call("search", query=words)["results"]
            except NapError:
                results = []
            if len(results) == count:
                return results
            assert time.monotonic() < deadline, f"{len(results)} of {count} results"
            time.sleep(0.02)

    def log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-SHOWN:] if self.log.exists() else ""
