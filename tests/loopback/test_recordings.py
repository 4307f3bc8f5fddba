"""Duration and bit rate, from a file on one peer's disk to what another's command prints."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.community import found
from tests.support.processes import ROOT, Processes
from tests.support.recordings import flac, mp3


def test_searches_find_recordings_by_bit_rate_and_show_what_they_are(processes: Processes) -> None:
    index = processes.index()
    ada, bob = (processes.peer(name, index=index, start=False) for name in ("ada", "bob"))
    for name, data in (
        ("Loon low.mp3", mp3(200, 128)),
        ("Loon high.mp3", mp3(200, 320)),
        ("Loon whole.flac", flac(194, 20_000_000)),
        ("Loon broken.mp3", b"no music"),
        ("Loon.txt", b"about loons"),
    ):
        (ada.shared / name).write_bytes(data)
    ada.start()
    bob.start()
    rows = {row["name"]: row for row in found(bob, "loon", count=5)}
    assert rows["Loon high.mp3"]["media"] == {"duration_s": pytest.approx(200, abs=0.5), "bitrate_kbps": 320}
    assert rows["Loon whole.flac"]["media"] == {"duration_s": 194.0, "bitrate_kbps": 825}
    assert rows["Loon broken.mp3"]["media"] == rows["Loon.txt"]["media"] == {}
    assert ada.wait_for_event("share.media_unreadable")["share"] == "shared"

    filtered = bob.ctl("search", "loon", "--min-bitrate", "256").json["results"]
    assert {row["name"] for row in filtered} == {"Loon high.mp3", "Loon whole.flac"}
    command = [sys.executable, "-m", "napctl", "--socket", str(bob.socket), "search", "loon", "--min-bitrate", "256"]
    shown = subprocess.run(command, capture_output=True, timeout=60, check=True, cwd=ROOT).stdout
    assert b"3:14 825k" in shown
