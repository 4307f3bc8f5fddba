"""Three real peers and one slot: somebody's thousand queued files are no reason for another to wait."""

from __future__ import annotations

import pytest

from tests.support.community import found, saved, waited
from tests.support.processes import Processes
from tests.support.waiting import until

FILES = 1000
SIZE = 6000


@pytest.mark.slow
def test_a_thousand_queued_files_of_one_user_delay_another_by_about_one(processes: Processes) -> None:
    index = processes.index()
    ada, bob, cyd = (processes.peer(name, index=index, start=False) for name in ("ada", "bob", "cyd"))
    (ada.shared / "many").mkdir()
    for number in range(FILES):
        (ada.shared / "many" / f"many{number}.bin").write_bytes(f"{number:06}".encode() * (SIZE // 6))
    (ada.shared / "wanted.bin").write_bytes(b"wanted" * SIZE)
    for peer in (ada, bob, cyd):
        peer.start()
    until(lambda: ada.ctl("status").json["shares"]["listings"] == FILES + 1, "all is shared", 60)
    # All of bob's files take a minute.
    assert ada.ctl("limit", "--up", "100k", "--slots", "1").status == 0
    assert bob.ctl("limit", "--downloads", "200").status == 0
    found(cyd, "wanted")
    until(lambda: len(bob.ctl("search", "many", "--limit", str(FILES)).json["results"]) == FILES, "all are found", 30)
    assert bob.ctl("get", f"1-{FILES}").status == 0
    until(lambda: len(bob.seen("download.finished")) > 20, "bob is served")

    before = len(bob.seen("download.finished"))
    assert cyd.ctl("get", "1").status == 0
    outcome = waited(cyd, "all", "15")
    assert outcome.status == 0, outcome
    assert saved(cyd) == b"wanted" * SIZE
    assert len(bob.seen("download.finished")) < FILES / 2
    # He goes on, as he did before.
    until(lambda: len(bob.seen("download.finished")) > before + 20, "bob goes on")
