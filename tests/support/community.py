"""Peers that share, search and get: what the tests with real processes say again and again."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random
from typing import Any

from tests.support.chaos import ChaosProxy
from tests.support.processes import IndexProcess, Outcome, PeerProcess, Processes
from tests.support.waiting import until

MIB = 1 << 20


def random_file(path: Path, size: int, seed: int = 1) -> bytes:
    """Make a file of random bytes; returns them."""
    data = Random(seed).randbytes(size)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return data


def found(peer: PeerProcess, *words: str, count: int | None = None, timeout: float = 15.0) -> list[dict[str, Any]]:
    """The results of a search, once there are any (or `count` of them)."""

    def look() -> list[dict[str, Any]] | None:
        # While the index is away there is an error instead.
        results: list[dict[str, Any]] = peer.ctl("search", *words).json.get("results", [])
        enough = bool(results) if count is None else len(results) == count
        return results if enough else None

    return until(look, f"search {words} by {peer.folder.name}", timeout, every_s=0.1) or []


def gone(peer: PeerProcess, *words: str, timeout: float = 15.0) -> None:
    until(lambda: not peer.ctl("search", *words).json["results"], f"no result for {words}", timeout, every_s=0.1)


def download(peer: PeerProcess, number: int = 1) -> dict[str, Any]:
    """One download as `queue list` shows it."""
    (shown,) = peer.ctl("queue", "list", str(number)).json["downloads"]
    return dict(shown)


def when(peer: PeerProcess, state: str, number: int = 1, timeout: float = 30.0) -> dict[str, Any]:
    """The download, once it is in this state."""

    def look() -> dict[str, Any] | None:
        shown = download(peer, number)
        return shown if shown["state"] == state else None

    return until(look, f"download {number} {state}", timeout, every_s=0.05) or {}


def received(peer: PeerProcess, at_least: int, number: int = 1, timeout: float = 60.0) -> dict[str, Any]:
    """The download, once so many bytes are flushed and journalled."""

    def look() -> dict[str, Any] | None:
        shown = download(peer, number)
        return shown if shown["bytes_done"] >= at_least else None

    return until(look, f"{at_least} bytes of download {number}", timeout, every_s=0.02) or {}


def waited(peer: PeerProcess, selector: str = "all", timeout: str = "90") -> Outcome:
    return peer.ctl("wait", selector, "--timeout", timeout, timeout=float(timeout) + 10)


def saved(peer: PeerProcess, number: int = 1) -> bytes:
    return Path(download(peer, number)["path"]).read_bytes()


class FlippingPeer(PeerProcess):
    """Serves bytes that are not what its manifests say."""

    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.support.flipping_peer", *super().command()[1:]]


def flipping_peer(processes: Processes, name: str, index: IndexProcess, one_in: int = 1) -> FlippingPeer:
    """Of so many chunks it sends one that is wrong. Not started yet."""
    env = {"FLIP_ONE_IN": str(one_in), "FLIP_SEED": name}
    peer = FlippingPeer(processes.folder / name, index=f"{index.address}#{index.id}", env=env)
    processes.keep(peer)
    return peer


class HiddenPeer(PeerProcess):
    """Can be reached at the address that it advertises, and there alone: it listens where nobody is told to look."""

    def command(self) -> list[str]:
        return [part.replace("interface=127.0.0.1", "interface=127.0.0.2") for part in super().command()]


def behind(processes: Processes, proxy: ChaosProxy, name: str, index: IndexProcess) -> HiddenPeer:
    """A peer that others reach through `proxy` only, which has to be told its address. Not started yet."""
    folder = processes.folder / name
    peer = HiddenPeer(folder, "--advertise", proxy.address, index=f"{index.address}#{index.id}")
    processes.keep(peer)
    return peer
