"""The index's snapshot, when its writer is killed, and when a real daemon finds it good, damaged or gone."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from napd.index.snapshot_file import read_parts
from tests.support.processes import ROOT, PeerProcess, Processes
from tests.support.waiting import until

PARTS, PART_BYTES = 20, 400_000
#: Writes snapshots for ever, each with its number in all parts, and says when one is done.
WRITER = """
import sys
from pathlib import Path
from napd.index.snapshot_file import SnapshotWriter
number = int(sys.argv[2])
while True:
    writer = SnapshotWriter(Path(sys.argv[1]))
    for part in range(int(sys.argv[3])):
        writer.begin("part", 50 * 8_000)
        for _ in range(50):
            writer.add(number.to_bytes(8, "little") * 1_000)
    writer.finish()
    print(number, flush=True)
    number += 1
"""


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def test_a_writer_that_is_killed_leaves_a_whole_snapshot_behind(tmp_path: Path) -> None:
    path, new, moments = tmp_path / "index.snapshot", tmp_path / "index.snapshot.new", random.Random(1)
    done = 0
    for _ in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(done + 1), str(PARTS)], stdout=subprocess.PIPE, cwd=ROOT
        )
        assert process.stdout is not None
        done = int(process.stdout.readline())
        some = moments.randrange(PARTS * PART_BYTES)
        until(lambda some=some: size_of(new) > some, "it is in the middle of the next one", every_s=0.0005)
        process.kill()
        done = int((process.stdout.read().split() or [done])[-1])
        process.wait()
        process.stdout.close()
        (parts,) = {bytes(part) for part in read_parts(path)["part"]}
        number = int.from_bytes(parts[:8], "little")
        # The one that was said to be done, or the next if the word of it did not come out.
        assert number in (done, done + 1)
        assert parts == number.to_bytes(8, "little") * 50_000
        done = number


def listed(peer: PeerProcess, word: str) -> int:
    return len(peer.ctl("search", word).json.get("results", ()))


def test_a_daemon_starts_from_its_snapshot_and_without_it(processes: Processes) -> None:
    index = processes.index()
    ada, bob = (processes.peer(name, index=index, start=False) for name in ("ada", "bob"))
    for number in range(5):
        (ada.shared / f"small {number}.bin").write_bytes(bytes([number]) * 100)
    ada.start()
    bob.start()
    until(lambda: listed(bob, "small") == 5, "all are found", every_s=0.1)
    snapshot = index.state / "index.snapshot"

    assert index.terminate() == 0
    good = snapshot.read_bytes()
    damages = {
        "good": good,
        "flipped": good[: len(good) // 2] + bytes([good[len(good) // 2] ^ 1]) + good[len(good) // 2 + 1 :],
        "cut": good[: len(good) // 2],
        "missing": None,
    }
    for name, data in damages.items():
        snapshot.unlink(missing_ok=True)
        if data is not None:
            snapshot.write_bytes(data)
        mark = index.mark()
        index.start()
        event = "index.snapshot_loaded" if name == "good" else "index.snapshot_refused"
        index.wait_for_event(event, after=mark)
        index.wait_for_event("index.loaded", after=mark, items=5)
        until(lambda: listed(bob, "small") == 5, f"all are found with a {name} snapshot", every_s=0.1)
        index.kill()
