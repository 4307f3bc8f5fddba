"""`napctl status`: the whole command as a person feels it, beside a Python that does nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

from attrs import define, field

from tests.support.processes import PeerProcess, Processes, environment

from .community import answer_ms
from .figures import Section
from .scale import Scale

#: Commands per round: one takes a tenth of a second.
REPEATS = 5


@define
class Status:
    scale: Scale
    folder: Path
    said: Callable[[str], None]
    time: Section = field(init=False, factory=lambda: Section("`napctl status`, the whole command"))

    @property
    def sections(self) -> list[Section]:
        return [self.time]

    def run(self) -> None:
        self.said("napctl status")
        python = self.time.figure("a Python that does nothing", "ms")
        whole = self.time.figure("napctl status", "ms", python)
        answer = self.time.figure("of that, the daemon's answer", "ms")
        processes = Processes(self.folder)
        try:
            index = processes.index()
            peer = PeerProcess(self.folder / "peer", index=f"{index.address}#{index.id}")
            processes.keep(peer, start=True)
            peer.wait_for_event("index.connected")
            napctl = [str(Path(sys.executable).with_name("napctl")), "--socket", str(peer.socket), "status"]
            for _ in range(self.scale.rounds * REPEATS):
                python.add(_took_ms([sys.executable, "-c", "pass"]))
                whole.add(_took_ms(napctl))
                answer.add(answer_ms(peer))
        finally:
            processes.stop()


def _took_ms(command: Sequence[str]) -> float:
    began = perf_counter()
    subprocess.run(command, env=environment(), stdout=subprocess.DEVNULL, check=True)
    return (perf_counter() - began) * 1000
