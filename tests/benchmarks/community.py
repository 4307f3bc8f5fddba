"""An index and two peers as real daemons: `giver` shares, `taker` fetches."""

from __future__ import annotations

import os
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
from attrs import frozen

from napctl.client import Client
from tests.support.processes import DaemonProcess, IndexProcess, PeerProcess, Processes
from tests.support.waiting import until

#: Seconds that anything here may take before it counts as broken; far above what it does take.
PATIENCE_S = 900.0


@frozen
class Community:
    index: IndexProcess
    giver: PeerProcess
    taker: PeerProcess

    @classmethod
    def start(cls, processes: Processes, shared: Path) -> Community:
        """The index, and both peers online; the giver has hashed and announced everything."""
        index = processes.index()
        giver = PeerProcess(processes.folder / "giver", index=f"{index.address}#{index.id}", shares=[shared])
        processes.keep(giver, start=True)
        taker = processes.peer("taker", index=index)
        taker.wait_for_event("index.connected")
        expected = sum(path.is_file() for path in shared.rglob("*"))
        until(lambda: _listings(index) == expected, "everything announced", PATIENCE_S)
        return cls(index, giver, taker)

    @property
    def pids(self) -> tuple[int, int, int]:
        """Of giver, taker and index."""
        return self.giver.process.pid, self.taker.process.pid, self.index.process.pid

    def find(self, *words: str) -> list[str]:
        """The contents that the taker finds, all pages."""
        contents: list[str] = []
        page: list[str] = []
        while True:
            document = self.taker.ctl("search", *words, "--limit", "1000", *page).json
            contents += [result["content"] for result in document["results"]]
            if document["next"] is None:
                return contents
            page = ["--page", document["next"]]

    def get(self, *contents: str) -> None:
        """The whole job, as a person starts it and waits for it: all are complete, synced, under their names."""
        outcome = self.taker.ctl("get", *contents, "--wait", timeout=PATIENCE_S)
        if outcome.status:
            raise RuntimeError(f"get ended with {outcome.status}: {outcome.stderr}\n{self.taker.tail()}")

    def clear(self) -> None:
        """The taker has nothing any more."""
        self.taker.ctl("queue", "clear")
        for path in self.taker.downloads.iterdir():
            if path.is_file():
                path.unlink()


def ask(daemon: DaemonProcess, method: str, **params: Any) -> Any:
    """One request to a daemon's control socket from here, without the price of a `napctl`."""
    with Client(os.fspath(daemon.socket), PATIENCE_S) as client:
        return msgspec.json.decode(client.call(method, params))


def answer_ms(daemon: DaemonProcess) -> float:
    """How long the daemon itself takes to tell its status, connection included."""
    began = perf_counter()
    ask(daemon, "status")
    return (perf_counter() - began) * 1000


def _listings(index: IndexProcess) -> int:
    return int(ask(index, "status")["listings"])
