"""Directories that change while they are shared: what others see of it, within two seconds."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.sharing import Sharing, content_of
from tests.support.waiting import Eventually

#: Seconds from a file's being closed until it shows (issue 2).
VISIBLE_S = 2.0


async def test_what_lies_there_is_listed(sharing: Sharing, folder: Path, eventually: Eventually) -> None:
    (folder / "Album").mkdir()
    (folder / "Album" / "song.mp3").write_bytes(b"la la la")
    await sharing.shares.add(folder, None, ())
    await eventually(lambda: sharing.paths() == ["music/Album/song.mp3"])
    (entry,) = sharing.entries()
    assert (entry.content, entry.size) == (content_of(b"la la la"), 8)
    row = sharing.row("music")
    assert (row.listings, row.bytes, row.hashing, row.state) == (1, 8, 0, "ok")


async def test_files_added_changed_renamed_deleted_show_within_two_seconds(
    sharing: Sharing, folder: Path, eventually: Eventually
) -> None:
    await sharing.shares.add(folder, None, ())
    await eventually(sharing.settled)
    (folder / "a").write_bytes(b"one")
    await eventually(lambda: sharing.names() == ["a"], "added", VISIBLE_S)
    (folder / "a").write_bytes(b"two!")
    await eventually(lambda: [e.content for e in sharing.entries()] == [content_of(b"two!")], "changed", VISIBLE_S)
    (folder / "a").rename(folder / "b")
    await eventually(lambda: sharing.names() == ["b"], "renamed", VISIBLE_S)
    (folder / "b").unlink()
    await eventually(lambda: sharing.names() == [], "deleted", VISIBLE_S)
    assert sharing.changes >= 4
