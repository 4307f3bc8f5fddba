"""A recorded conversation is what the index still says, byte for byte (docs/reference/transcripts/index.txt).

``python -m tests.protocol.index.test_index_transcript`` records it anew from what the peers in it say.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from napd import __version__
from napd.wire import index as wire
from tests.support.index_script import IndexScript, PeerScript

TRANSCRIPT = Path(__file__).resolve().parents[3] / "docs" / "reference" / "transcripts" / "index.txt"
#: Who is where, and listens where.
PLACES = {"ann": ("192.0.2.10", 7000), "bob": ("192.0.2.20", 0), "ann2": ("192.0.2.11", 0)}


class Stage:
    """The index, and the peers of the transcript, each there from its first line on."""

    def __init__(self) -> None:
        self.index = IndexScript()
        self.peers: dict[str, PeerScript] = {}
        self.read: dict[str, int] = {}

    def act(self, line: str) -> Iterator[str]:
        """What a line of the transcript leads to, in the transcript's words, the line itself among it."""
        if line.startswith("~ "):
            yield line
            for _ in range(int(line[2:])):
                self.index.clock.advance(1)
        else:
            name, _, said = line.partition(" → ")
            if name not in self.peers:
                self._connect(name)
                yield from self._told()
            yield line
            self.peers[name].say_bytes(said.encode() + b"\n")
        yield from self._told()

    def _connect(self, name: str) -> None:
        host, port = PLACES[name]
        # The same user and key, at another place.
        peer = PeerScript(self.index, name.rstrip("2"), host)
        self.index.network.listening[f"{host}:{port}"] = peer.identity
        peer.connect()
        self.peers[name] = peer
        self.read[name] = 0

    def _told(self) -> Iterator[str]:
        for name, peer in self.peers.items():
            data = peer.transport.value()[self.read[name] :]
            self.read[name] += len(data)
            for told in data.decode().split("\n")[:-1]:
                yield f"{name} ← {told}".replace(f"napd/{__version__}", "napd/VERSION")


def played(lines: list[str]) -> list[str]:
    """The transcript as it would be recorded now."""
    stage = Stage()
    found: list[str] = []
    for line in lines:
        if line.startswith("#") or not line:
            found.append(line)
        elif " ← " not in line:
            found += stage.act(line)
    assert stage.index.faults == []
    return found


def recorded() -> list[str]:
    return TRANSCRIPT.read_text("utf-8").split("\n")


def test_the_recorded_conversation_is_what_is_said_now() -> None:
    assert played(recorded()) == recorded()


def test_every_message_that_the_index_can_say_without_waiting_for_hours_is_in_it() -> None:
    told = [line.partition(" ← ")[2] for line in recorded() if " ← " in line and line[0] != "#"]
    kinds = {type(wire.decode_from_index(line.encode())) for line in told}
    assert kinds | {wire.Ticket} == set(wire.FromIndex.__args__)


def test_every_message_that_a_peer_can_say_is_in_it() -> None:
    said = [line.partition(" → ")[2] for line in recorded() if " → " in line and line[0] != "#"]
    kinds = {
        type(wire.decode_from_peer(line.encode())) for line in said if '"dance"' not in line and '"limit":0' not in line
    }
    assert kinds | {wire.Error} == set(wire.FromPeer.__args__)


if __name__ == "__main__":
    TRANSCRIPT.write_text("\n".join(played(recorded())), "utf-8")
