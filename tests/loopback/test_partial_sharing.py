"""Partial sharing with real processes: several fetch one new file from one slow source."""

from __future__ import annotations

import pytest

from tests.support.community import MIB, found, random_file, received, saved, waited
from tests.support.processes import Processes
from tests.support.waiting import until

SIZE = 24 * MIB + 5


@pytest.mark.slow
def test_four_peers_get_a_file_from_one_another_and_little_more_than_one_copy_from_its_source(
    processes: Processes,
) -> None:
    index = processes.index()
    ada = processes.peer("ada", index=index, start=False)
    data = random_file(ada.shared / "new.bin", SIZE)
    ada.start()
    assert ada.ctl("limit", "--up", "4MiB").status == 0
    others = [processes.peer(name, index=index, start=False) for name in ("bob", "cyd", "dan", "eve")]
    reserved = others[-1]
    reserved.folder.mkdir(parents=True, exist_ok=True)
    config = reserved.folder / "peer.toml"
    config.write_text("share_partial = false\n")
    reserved.options = (*reserved.options, "--config", str(config))
    for peer in others:
        peer.start()
        found(peer, "new")
    for peer in others:
        until(lambda p=peer: p.ctl("status").json["reachable"], "to be reachable", every_s=0.1)  # type: ignore[misc]

    for peer in others:
        peer.ctl("get", "1")
    received(others[0], SIZE // 2)
    rows = others[0].ctl("sources", "1").json["sources"]
    assert any("is fetching it too" in row["why"] for row in rows)
    for peer in others:
        assert waited(peer).status == 0
        assert saved(peer) == data

    until(lambda: len(ada.seen("upload.finished")) >= len(others), "the uploads' ends", 20)
    assert sum(event["bytes"] for event in ada.seen("upload.finished")) < 3 * SIZE
    assert any(peer.seen("upload.started") for peer in others[:3])
    assert reserved.seen("upload.started") == []
