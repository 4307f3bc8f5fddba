"""A crash at any step leaves a download complete or resumable, and nothing foreign touched."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from napd.content.manifest import Manifest, Outline
from tests.support.one_download import CHUNKS, DATA, MANIFEST, Crash, Fuse, Process, now


def _no_links(*args: object, **kwargs: object) -> None:
    raise OSError(errno.EPERM, "no hard links here")


WAYS = ["hard link", "renameat2", "placeholder"]


def restrict(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file system can publish no better than this."""
    if way != "hard link":
        monkeypatch.setattr(os, "link", _no_links)
    if way == "placeholder":
        monkeypatch.setattr("napd.peer.files.disk._renameat2", lambda source, target: errno.EINVAL)


def work(process: Process) -> str:
    """The whole job from wherever the last run left it; returns the path."""
    received = process.received
    published = now(process.take_up())
    if published is not None:
        return str(published)
    if not received.has_outline:
        now(received.learn(Manifest(Outline.verified(process.item.content, len(DATA), MANIFEST.outline.group_digests))))
    for group, digests in MANIFEST.known_groups():
        if not received.manifest.has_group(group):
            now(received.learn_group(group, digests))
    for chunk, data in enumerate(CHUNKS):
        if not received.picker.is_verified(chunk):
            process.fuse.step("fetch", lambda: None)
            assert now(received.store(chunk, data))
            received.picker.verified(chunk)
            if chunk == 0:
                now(received.flush())
    return str(now(received.publish()))


@pytest.mark.parametrize("after", [False, True], ids=["before a step", "after a step"])
@pytest.mark.parametrize("way", WAYS)
def test_a_crash_at_any_step_leaves_it_complete_or_resumable(
    way: str, after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restrict(way, monkeypatch)
    at = 0
    while True:
        at += 1
        directory = tmp_path / str(at)
        downloads = directory / "downloads"
        downloads.mkdir(parents=True)
        (downloads / "song.mp3").write_text("mine")
        crashed = crash(directory, Fuse(at, after))

        process = Process(directory)
        path = work(process)
        process.end()

        assert Path(path).read_bytes() == DATA
        assert path == str(downloads / "song (1).mp3")
        assert sorted(entry.name for entry in downloads.iterdir()) == ["song (1).mp3", "song.mp3"]
        assert (downloads / "song.mp3").read_text() == "mine"
        if not crashed:
            break
    assert at > 15


def crash(directory: Path, fuse: Fuse) -> bool:
    """Run until the fuse blows; False if it ends before."""
    process = Process(directory, fuse=fuse)
    try:
        work(process)
    except Crash:
        fuse.blown = True
    finally:
        process.end()
    return fuse.blown


def test_a_crash_between_the_placeholder_and_the_rename_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def end(source: str, target: str) -> None:
        if str(target).endswith(".mp3"):
            raise Crash
        rename(source, target)

    with monkeypatch.context() as patched:
        restrict("placeholder", patched)
        patched.setattr(os, "rename", end)
        assert crash(tmp_path, Fuse())
    process = Process(tmp_path)
    path = work(process)
    process.end()
    assert Path(path).read_bytes() == DATA


def test_flushed_chunks_are_not_fetched_again_after_a_crash_while_publishing(tmp_path: Path) -> None:
    clean = Fuse()
    directory = tmp_path / "clean"
    directory.mkdir()
    assert not crash(directory, clean)
    first_of_publishing = clean.steps.index("truncate") + 1
    for at in range(first_of_publishing, len(clean.steps) + 1):
        directory = tmp_path / str(at)
        directory.mkdir()
        crash(directory, Fuse(at))
        process = Process(directory)
        work(process)
        process.end()
        assert "fetch" not in process.fuse.steps
