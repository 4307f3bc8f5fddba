"""Sources that lie now and then, and a wire that does: not one delivered file differs.

More of them: ``make integrity FILES=10000``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

import pytest

from tests.support.chaos import ChaosProxy
from tests.support.community import MIB, behind, flipping_peer
from tests.support.processes import IndexProcess, PeerProcess, Processes
from tests.support.swarm import manifest_of_bytes
from tests.support.waiting import until

FILES = int(os.environ.get("INTEGRITY_FILES", "1000"))
#: Of so many chunks, or TLS records, one is wrong; with few files more of them, so that there are some.
ONE_IN = int(os.environ.get("INTEGRITY_ONE_IN", "50"))
RECORDS_ONE_IN = int(os.environ.get("INTEGRITY_ONE_IN", "1000"))
#: Every so many files one has several chunks.
BIG_EVERY = 100
END_S = float(os.environ.get("INTEGRITY_END_S", "240"))


def fill(folder: Path) -> dict[str, bytes]:
    """Files of all sizes up to a chunk, most of them small, and some of several chunks."""
    rng = Random(7)
    data = {}
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(FILES):
        big = number % BIG_EVERY == BIG_EVERY - 1
        size = rng.randrange(2 * MIB, 4 * MIB) if big else min(MIB, int(rng.expovariate(1 / 6000)) + 1)
        data[f"leaf {number}.bin"] = rng.randbytes(size)
        (folder / f"leaf {number}.bin").write_bytes(data[f"leaf {number}.bin"])
    return data


def wanted(peer: PeerProcess, index: IndexProcess, data: Mapping[str, bytes]) -> None:
    """The index knows all of them; then they are asked for, by what they are."""
    until(lambda: index.call("status")["contents"] == len(data), f"{len(data)} contents", END_S, every_s=0.2)
    contents = [manifest_of_bytes(bytes_).outline.content for bytes_ in data.values()]
    for at in range(0, len(contents), 500):
        peer.call("get", results=contents[at : at + 500])


def delivered(peer: PeerProcess, data: Mapping[str, bytes]) -> None:
    """Every download is done, and the files are what they should be: none differs, is missing, or is there twice."""
    done = peer.ctl("wait", "all", "--timeout", str(END_S), timeout=END_S + 10)
    assert done.status == 0, (done.documents, peer.tail())
    files = [path.read_bytes() for path in peer.downloads.iterdir() if path.is_file()]
    right = set(data.values())
    assert [len(file) for file in files if file not in right] == []
    assert len(files) == len(set(files)) == len(data)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_sources_that_flip_a_byte_now_and_then_deliver_no_wrong_file(processes: Processes) -> None:
    index = processes.index()
    first, second = (flipping_peer(processes, name, index, one_in=ONE_IN) for name in ("first", "second"))
    bob = processes.peer("bob", index=index, start=False)
    data = fill(first.shared)
    shutil.copytree(first.shared, second.shared, dirs_exist_ok=True)
    for peer in (first, second, bob):
        peer.start()
    wanted(bob, index, data)
    delivered(bob, data)
    flips = sum("stderr: flipped" in line for peer in (first, second) for line in peer.raw)
    assert flips > 0
    print(f"{len(data)} files, {flips} chunks were wrong on their way, {len(bob.seen('download.chunk_rejected'))} said")


@pytest.fixture
def proxy() -> Iterator[ChaosProxy]:
    made = ChaosProxy().start()
    yield made
    made.stop()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_wire_that_flips_a_byte_now_and_then_delivers_no_wrong_file(processes: Processes, proxy: ChaosProxy) -> None:
    """TLS notices; the link dies, and the sole source is asked again over another one."""
    index = processes.index()
    ada = behind(processes, proxy, "ada", index)
    bob = processes.peer("bob", index=index, start=False)
    data = fill(ada.shared)
    ada.start()
    proxy.lead_to(ada.address)
    bob.start()
    wanted(bob, index, data)
    proxy.weather.flip_one_in = RECORDS_ONE_IN
    delivered(bob, data)
    assert proxy.flipped > 0
    print(f"{len(data)} files, {proxy.flipped} TLS records were changed, {proxy.passed_down} bytes passed")
