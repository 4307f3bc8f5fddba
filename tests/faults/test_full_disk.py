"""A disk that is full, in earnest: a small file system of its own, where this machine lets us mount one."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.community import MIB, download, found, random_file, saved, waited
from tests.support.processes import PeerProcess, Processes

Mount = Callable[[Path, int], None]


@pytest.fixture
def mount(processes: Processes) -> Iterator[Mount]:
    """Mounts a file system of so many bytes; the same place again: it has that size from now on."""
    mounted: list[Path] = []

    def make(where: Path, size: int) -> None:
        where.mkdir(parents=True, exist_ok=True)
        options = f"size={size}" + (",remount" if where in mounted else "")
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "napd-test", str(where)], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.decode(errors='replace').strip()}")
        if where not in mounted:
            mounted.append(where)

    yield make
    processes.stop()
    for where in mounted:
        subprocess.run(["umount", str(where)], check=True)


@pytest.mark.slow
def test_downloads_fill_their_disk(processes: Processes, mount: Mount) -> None:
    index = processes.index()
    ada, bob = (processes.peer(name, index=index, start=False) for name in ("ada", "bob"))
    data = random_file(ada.shared / "big.bin", 24 * MIB)
    random_file(ada.shared / "small.bin", 3 * MIB, seed=2)
    mount(bob.downloads, 14 * MIB)
    ada.start()
    bob.start()
    found(bob, "big")

    got = bob.ctl("get", "1", "--wait")
    assert got.status == 9
    failed = download(bob)
    assert (failed["state"], failed["error"]["code"]) == ("failed", "no_space")
    assert failed["bytes_done"] <= 14 * MIB

    mount(bob.downloads, 64 * MIB)
    assert bob.ctl("queue", "retry", "1").status == 0
    assert waited(bob).status == 0
    assert saved(bob) == data
    assert download(bob)["bytes_received"] <= (24 + 16) * MIB


@pytest.mark.slow
@pytest.mark.faulty
def test_the_journal_s_disk_is_full_too(processes: Processes, mount: Mount) -> None:
    """State and downloads on one full disk: commands fail and say why, the daemon lives, and room is all it needs."""
    index = processes.index()
    ada, bob = (processes.peer(name, index=index, start=False) for name in ("ada", "bob"))
    data = random_file(ada.shared / "big.bin", 8 * MIB)
    mount(bob.folder, 24 * MIB)
    for made in (bob.shared, bob.downloads):
        made.mkdir(exist_ok=True)
    ada.start()
    bob.start()
    (result,) = found(bob, "big")
    filler = _fill(bob)

    refused = bob.ctl("get", result["content"])
    assert (refused.status, refused.json["error"]["code"]) == (9, "no_space")
    assert bob.ctl("queue").json["downloads"] == []
    limited = bob.ctl("limit", "--downloads", "7")
    assert limited.status == 9
    assert bob.ctl("limit").json["downloads"] != 7

    filler.unlink()
    (got,) = bob.ctl("get", result["content"]).json["downloads"]
    assert waited(bob).status == 0
    assert saved(bob, got["id"]) == data
    bob.kill()
    bob.restart()
    assert download(bob, got["id"])["state"] == "done"


def _fill(peer: PeerProcess) -> Path:
    """Nothing more fits, not a page."""
    filler = peer.folder / "filler"
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler
