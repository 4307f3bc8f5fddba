"""A directory that is shared for the first time, until all of it is hashed, beside hashing the same files in a loop."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from attrs import define, field

from tests.support.processes import PeerProcess, Processes
from tests.support.waiting import until

from .children import Child
from .community import PATIENCE_S, ask
from .figures import Section
from .files import random_tree, warm
from .options import MIB
from .scale import Scale
from .usage import spent

#: Seconds between two looks whether all is hashed.
LOOK_EVERY_S = 0.002


@define
class Scan:
    scale: Scale
    folder: Path
    said: Callable[[str], None]
    time: Section = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.time = Section(f"A share of {self.scale.size / MIB:,.0f} MiB, scanned and hashed for the first time")

    @property
    def sections(self) -> list[Section]:
        return [self.time]

    def run(self) -> None:
        tree = self.folder / "tree"
        count = random_tree(tree, self.scale.size, Random(4))
        warm(tree)
        hashing = self.time.figure("hashing alone, one thread", "s", moved=self.scale.size)
        napd = self.time.figure("napd", "s", hashing, moved=self.scale.size)
        for number in range(self.scale.rounds):
            self.said(f"scan, round {number + 1} of {self.scale.rounds}")
            with Child("hashing", tree) as child:
                child.hear()
                hashing.add(spent([child.pid], child.go).wall_s)
            napd.add(scanned_s(self.folder, tree, count, number))


def scanned_s(folder: Path, tree: Path, count: int, number: int) -> float:
    """By a new peer each time: one that has seen the files before remembers their hashes."""
    processes = Processes(folder)
    peer = PeerProcess(folder / f"peer{number}", shares=[])
    try:
        processes.keep(peer, start=True)

        def work() -> None:
            ask(peer, "share.add", directory=os.fspath(tree))
            until(lambda: _through(ask(peer, "status"), count), "everything hashed", PATIENCE_S, LOOK_EVERY_S)

        return spent([peer.process.pid], work).wall_s
    finally:
        processes.stop()


def _through(status: Any, count: int) -> bool:
    shares = status["shares"]
    return bool(shares["listings"] == count and shares["hashing"] == 0)
