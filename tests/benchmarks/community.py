"""An index and two peers as real daemons: `giver` shares, `taker` fetches."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
from attrs import frozen

from napctl.client import Client
from tests.support.processes import DaemonProcess, IndexProcess, PeerProcess, Processes
from tests.support.waiting import until

from .usage import Spent, spent

#: Seconds that anything here may take before it counts as broken; far above what it does take.
PATIENCE_S = 900.0


class TickingPeer(PeerProcess):
    """One that writes down how late its reactor is, every 10 ms (`ticking`)."""

    @property
    def ticks(self) -> Path:
        return self.folder / "ticks"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.benchmarks.ticking", os.fspath(self.ticks), *super().command()[1:]]


@frozen
class Community:
    """:ivar giver: the first of `givers`."""

    index: IndexProcess
    givers: tuple[PeerProcess, ...]
    taker: PeerProcess

    @classmethod
    def start(
        cls, processes: Processes, *shared: Path | Sequence[Path], kind: type[PeerProcess] = PeerProcess
    ) -> Community:
        """The index, and all peers online; there is a giver for each of `shared`, which has hashed and announced it."""
        index = processes.index()
        address = f"{index.address}#{index.id}"
        givers = []
        expected = 0
        for number, one in enumerate(shared, 1):
            shares = [one] if isinstance(one, Path) else list(one)
            name = "giver" if len(shared) == 1 else f"giver{number}"
            giver = kind(processes.folder / name, index=address, shares=shares)
            givers.append(processes.keep(giver, start=True))
            expected += sum(path.is_file() for share in shares for path in share.rglob("*"))
        taker = processes.keep(kind(processes.folder / "taker", index=address), start=True)
        taker.wait_for_event("index.connected")
        until(lambda: _listings(index) == expected, "everything announced", PATIENCE_S)
        return cls(index, tuple(givers), taker)

    @property
    def giver(self) -> PeerProcess:
        return self.givers[0]

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

    def fetch(self, *contents: str) -> None:
        """The same without the price of a `napctl`: from the request on the control socket to the daemon's word."""
        with Client(os.fspath(self.taker.socket), PATIENCE_S) as client:
            got = msgspec.json.decode(client.call("get", {"results": contents}))
            ids = ",".join(str(one["id"]) for one in got["downloads"])
            ended = msgspec.json.decode(client.call("queue.wait", {"selectors": [ids]}))
        if any(one["state"] != "done" for one in ended["downloads"]):
            raise RuntimeError(f"not all is done\n{self.taker.tail()}")

    def spent_fetching(self, *contents: str) -> Spent:
        """What that takes, and what the giver, the taker and the index use."""
        return spent(self.pids, lambda: self.fetch(*contents))

    def clear(self) -> None:
        """The taker has nothing any more."""
        self.taker.ctl("queue", "clear")
        for path in self.taker.downloads.iterdir():
            if path.is_file():
                # A finished download is served on for a minute: its room is to be free at once.
                os.truncate(path, 0)
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
