"""Directories that change while they are shared: what others see of it, within two seconds."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from napd.peer.shares.watching import ShareWatch, Watcher
from tests.support.sharing import Make, Sharing, content_of, unreadable_now
from tests.support.waiting import Eventually

#: Seconds from a file's being closed until it shows (issue 2).
VISIBLE_S = 2.0


async def test_a_hash_of_a_young_file_is_made_again_when_it_is_older(
    punctual: Sharing, folder: Path, eventually: Eventually
) -> None:
    await punctual.shares.add(folder, None, ())
    await eventually(punctual.settled)
    (folder / "a").write_bytes(b"a")
    await eventually(lambda: punctual.names() == ["a"], "announced", VISIBLE_S)
    revision = punctual.shares.position().revision
    assert punctual.count("SELECT count(*) FROM hash WHERE doubtful") == 1
    punctual.ahead = 10.0
    await punctual.shares.rescan(None)
    await eventually(lambda: punctual.count("SELECT count(*) FROM hash WHERE doubtful OR due IS NOT NULL") == 0)
    assert punctual.shares.position().revision == revision


async def test_what_lies_there_is_listed(sharing: Sharing, folder: Path, eventually: Eventually) -> None:
    (folder / "Album").mkdir()
    (folder / "Album" / "song.mp3").write_bytes(b"la la la")
    await sharing.shares.add(folder, None, ())
    await eventually(lambda: sharing.paths() == ["music/Album/song.mp3"] and sharing.row("music").state == "ok")
    (entry,) = sharing.entries()
    assert (entry.content, entry.size) == (content_of(b"la la la"), 8)
    # It is listed as soon as it is hashed, which may be before the pass through the folder is over.
    await eventually(lambda: sharing.row("music").state == "ok")
    row = sharing.row("music")
    assert (row.listings, row.bytes, row.hashing) == (1, 8, 0)


async def test_files_added_changed_renamed_deleted_show_within_two_seconds(
    punctual: Sharing, folder: Path, eventually: Eventually
) -> None:
    await punctual.shares.add(folder, None, ())
    await eventually(punctual.settled)
    (folder / "a").write_bytes(b"one")
    await eventually(lambda: punctual.names() == ["a"], "added", VISIBLE_S)
    (folder / "a").write_bytes(b"two!")
    await eventually(lambda: [e.content for e in punctual.entries()] == [content_of(b"two!")], "changed", VISIBLE_S)
    (folder / "a").rename(folder / "b")
    await eventually(lambda: punctual.names() == ["b"], "renamed", VISIBLE_S)
    (folder / "b").unlink()
    await eventually(lambda: punctual.names() == [], "deleted", VISIBLE_S)
    await eventually(lambda: punctual.told == punctual.shares.position().revision)


async def test_a_rename_is_seen_without_reading_the_file_again_first(
    sharing: Sharing, folder: Path, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a").write_bytes(b"a")
    await sharing.shares.add(folder, None, ())
    await eventually(lambda: sharing.names() == ["a"])
    monkeypatch.setattr("napd.peer.shares.hashing.open_file", unreadable_now)
    (folder / "a").rename(folder / "b")
    await eventually(lambda: sharing.names() == ["b"], "renamed", VISIBLE_S)
    (folder / "b").chmod(0o600)
    (folder / "c").hardlink_to(folder / "b")
    await eventually(lambda: sharing.names() == ["b", "c"], "linked", VISIBLE_S)


async def test_a_tree_made_at_once_is_seen_whole(punctual: Sharing, folder: Path, eventually: Eventually) -> None:
    await punctual.shares.add(folder, None, ())
    await eventually(punctual.settled)
    deep = folder / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (deep / "x").write_bytes(b"x")
    (folder / "a" / "y").write_bytes(b"y")
    await eventually(lambda: punctual.paths() == ["music/a/b/c/x", "music/a/y"], "made", VISIBLE_S)
    (deep / "z").write_bytes(b"z")
    await eventually(lambda: "music/a/b/c/z" in punctual.paths(), "made deep below", VISIBLE_S)


async def test_directories_moved_within_into_and_out_of_a_share(
    sharing: Sharing, folder: Path, tmp_path: Path, eventually: Eventually
) -> None:
    (tmp_path / "album" / "disc").mkdir(parents=True)
    (tmp_path / "album" / "disc" / "a").write_bytes(b"a")
    await sharing.shares.add(folder, None, ())
    await eventually(sharing.settled)
    (tmp_path / "album").rename(folder / "one")
    await eventually(lambda: sharing.paths() == ["music/one/disc/a"], "in", VISIBLE_S)
    (folder / "one").rename(folder / "two")
    await eventually(lambda: sharing.paths() == ["music/two/disc/a"], "within", VISIBLE_S)
    (folder / "two" / "disc" / "b").write_bytes(b"b")
    await eventually(lambda: len(sharing.paths()) == 2, "changed after the move", VISIBLE_S)
    (folder / "two").rename(tmp_path / "out")
    await eventually(lambda: sharing.paths() == [], "out", VISIBLE_S)
    (tmp_path / "out" / "disc" / "c").write_bytes(b"c")
    (folder / "marker").write_bytes(b"m")
    await eventually(lambda: sharing.paths() == ["music/marker"], "what is out stays out", VISIBLE_S)


async def test_a_file_takes_a_folders_place_and_a_folder_a_files(
    sharing: Sharing, folder: Path, tmp_path: Path, eventually: Eventually
) -> None:
    (folder / "x").mkdir()
    (folder / "x" / "inside").write_bytes(b"i")
    await sharing.shares.add(folder, None, ())
    await eventually(lambda: sharing.paths() == ["music/x/inside"])
    (folder / "x").rename(tmp_path / "away")
    (folder / "x").write_bytes(b"x")
    await eventually(lambda: sharing.paths() == ["music/x"], "a file", VISIBLE_S)
    (folder / "x").unlink()
    (tmp_path / "away").rename(folder / "x")
    await eventually(lambda: sharing.paths() == ["music/x/inside"], "a folder", VISIBLE_S)


async def test_a_storm_of_renames_ends_in_the_truth(punctual: Sharing, folder: Path, eventually: Eventually) -> None:
    for number in range(50):
        (folder / f"{number}").write_bytes(b"%d" % number)
    await punctual.shares.add(folder, None, ())
    await eventually(lambda: len(punctual.names()) == 50)
    for turn in range(20):
        for number in range(50):
            (folder / f"{number}{'x' * turn}").rename(folder / f"{number}{'x' * (turn + 1)}")
    expected = sorted(f"{number}{'x' * 20}" for number in range(50))
    await eventually(lambda: punctual.names() == expected, "the last names", VISIBLE_S)
    assert {e.name: e.content for e in punctual.entries()}["7" + "x" * 20] == content_of(b"7")


async def test_more_events_than_may_wait_end_in_the_truth_too(
    sharing: Sharing, folder: Path, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napd.peer.shares.watching.MAX_WAITING", 5)
    await sharing.shares.add(folder, None, ())
    await eventually(sharing.settled)
    for number in range(200):
        (folder / f"{number}").write_bytes(b"%d" % number)
    await eventually(lambda: sharing.row("music").listings == 200)


async def test_three_thousand_small_files_are_listed_quickly(
    punctual: Sharing, folder: Path, eventually: Eventually
) -> None:
    await punctual.shares.add(folder, None, ())
    await eventually(punctual.settled)
    for number in range(3000):
        (folder / f"file {number}.txt").write_bytes(b"small file %d" % number)
    await eventually(lambda: punctual.row("music").listings == 3000, timeout=20.0)
    assert len(punctual.entries()) == 3000
    # Gathered, so that each of them costs no message of its own.
    assert punctual.changes < 300


async def test_a_file_that_grows_is_left_until_it_is_quiet(
    punctual: Sharing, folder: Path, eventually: Eventually
) -> None:
    await punctual.shares.add(folder, None, ())
    await eventually(punctual.settled)
    started = time.monotonic()
    with (folder / "growing").open("wb", buffering=0) as file:

        def grow() -> bool:
            file.write(b"more")
            assert punctual.names() == []
            return time.monotonic() - started > 1.8

        await eventually(grow)
        size = file.tell()
    await eventually(lambda: [e.size for e in punctual.entries()] == [size], "closed", VISIBLE_S)


async def test_a_file_written_again_and_again_is_hashed_when_it_is_left_alone(
    punctual: Sharing, folder: Path, eventually: Eventually
) -> None:
    await punctual.shares.add(folder, None, ())
    await eventually(punctual.settled)
    started = time.monotonic()
    before = punctual.shares.position().revision

    def write() -> bool:
        with (folder / "log").open("ab") as file:
            file.write(b"line\n")
        return time.monotonic() - started > 1.5

    await eventually(write)
    size = (folder / "log").stat().st_size
    await eventually(lambda: [e.size for e in punctual.entries()] == [size], "left alone", VISIBLE_S)
    assert punctual.shares.position().revision - before < 20


async def test_a_large_file_does_not_keep_others_waiting(
    punctual: Sharing, folder: Path, eventually: Eventually
) -> None:
    with (folder / "giant").open("wb") as file:
        file.truncate(200 << 30)
    await punctual.shares.add(folder, None, ())
    await eventually(lambda: punctual.row("music").hashing == 1)
    (folder / "small").write_bytes(b"s")
    with (folder / "middling").open("wb") as file:
        file.truncate(17 << 20)
    await eventually(lambda: punctual.names() == ["middling", "small"], "beside it", VISIBLE_S)
    assert punctual.row("music").hashing == 1


async def test_of_two_copies_one_deleted_the_other_is_still_found(
    sharing: Sharing, folder: Path, eventually: Eventually
) -> None:
    for name in ("a", "b"):
        (folder / name).write_bytes(b"same")
    await sharing.shares.add(folder, None, ())
    await eventually(lambda: sharing.names() == ["a", "b"])
    (folder / "a").unlink()
    await eventually(lambda: sharing.names() == ["b"])
    (shared,) = sharing.shares.find(content_of(b"same"))
    assert shared.path == bytes(folder / "b")


async def test_a_file_in_two_shares_is_two_listings_of_one_content(
    sharing: Sharing, folder: Path, eventually: Eventually
) -> None:
    (folder / "inner").mkdir()
    (folder / "inner" / "a").write_bytes(b"a")
    await sharing.shares.add(folder, None, ())
    await sharing.shares.add(folder / "inner", None, ())
    await eventually(lambda: sharing.paths() == ["inner/a", "music/inner/a"])
    assert len(sharing.shares.find(content_of(b"a"))) == 2
    (folder / "inner" / "b").write_bytes(b"b")
    await eventually(lambda: len(sharing.paths()) == 4, "live in both", VISIBLE_S)
    await sharing.shares.remove("music")
    assert sharing.paths() == ["inner/a", "inner/b"]


async def test_a_missing_directory_is_unavailable_and_comes_back_unread(
    sharing: Sharing, folder: Path, tmp_path: Path, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a").write_bytes(b"a")
    await sharing.shares.add(folder, None, ())
    await eventually(lambda: sharing.names() == ["a"])
    monkeypatch.setattr("napd.peer.shares.hashing.open_file", unreadable_now)
    os.rename(folder, tmp_path / "unmounted")
    await eventually(lambda: sharing.row("music").state == "unavailable" and sharing.entries() == [])
    said = await sharing.shares.check(str(folder / "a"))
    assert said.reason == "the share is unavailable: No such file or directory"
    assert sharing.shares.totals().listings == sharing.shares.totals().hashing == 0
    (tmp_path / "unmounted").rename(folder)
    await eventually(lambda: sharing.names() == ["a"])
    assert [len(sharing.events(f"share.{what}")) for what in ("unavailable", "available")] == [1, 1]
    await eventually(sharing.settled)
    (folder / "a").unlink()
    await eventually(lambda: sharing.names() == [], "live again", VISIBLE_S)


async def test_where_a_link_has_come_to_stand_nothing_is_shared(
    sharing: Sharing, folder: Path, tmp_path: Path, eventually: Eventually
) -> None:
    (folder / "a").write_bytes(b"a")
    await sharing.shares.add(folder, None, ())
    await eventually(lambda: sharing.names() == ["a"])
    os.rename(folder, tmp_path / "moved")
    os.symlink(tmp_path / "moved", folder)
    await eventually(lambda: sharing.row("music").state == "unavailable" and sharing.entries() == [])


async def test_without_watches_changes_are_found_by_rescans(
    make: Make, folder: Path, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(watcher: Watcher, path: bytes, callback: object) -> None:
        raise OSError(errno.ENOSPC, "inotify watch limit reached")

    monkeypatch.setattr(Watcher, "add", refuse)
    sharing = make(ahead=10.0, rescan_s=0.3)
    (folder / "sub").mkdir()
    await sharing.shares.add(folder, None, ())
    await eventually(sharing.settled)
    (folder / "sub" / "a").write_bytes(b"a")
    await eventually(lambda: sharing.names() == ["a"])
    (folder / "sub" / "a").unlink()
    await eventually(lambda: sharing.names() == [])
    (said,) = sharing.events("share.watch_failed")
    assert "watch limit" in said.fields["error"]


async def test_the_periodic_rescan_finds_what_no_event_told(
    make: Make, folder: Path, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ShareWatch, "on_event", lambda watch, event: None)
    sharing = make(ahead=10.0, rescan_s=0.3)
    await sharing.shares.add(folder, None, ())
    await eventually(sharing.settled)
    (folder / "a").write_bytes(b"a")
    await eventually(lambda: sharing.names() == ["a"])
    assert not sharing.events("share.watch_failed")


async def test_what_is_hidden_partial_or_a_linkunreadable_now_shows(
    sharing: Sharing, folder: Path, eventually: Eventually
) -> None:
    await sharing.shares.add(folder, None, ())
    await eventually(sharing.settled)
    (folder / ".napd").mkdir()
    (folder / ".napd" / "1.part").write_bytes(b"half")
    (folder / ".x.tmp").write_bytes(b"x")
    (folder / "link").symlink_to(folder / ".x.tmp")
    (folder / ".x.tmp").rename(folder / "x")
    await eventually(lambda: sharing.names() == ["x"], "the visible one", VISIBLE_S)
    (folder / "x").rename(folder / ".x")
    await eventually(lambda: sharing.names() == [], "hidden again", VISIBLE_S)


async def test_files_and_folders_of_every_name(sharing: Sharing, folder: Path, eventually: Eventually) -> None:
    await sharing.shares.add(folder, None, ())
    await eventually(sharing.settled)
    odd = b"caf\xe9"
    names = [
        b"plain name.txt",
        b'it\'s "quoted" `here`',
        b"line\nbreak\ttab",
        "\U0001f3b5 emoji \U0001f468\u200d\U0001f469".encode(),
        "e\u0301 decomposed".encode(),
        "\u00e9 composed".encode(),
        b"-rf",
        b"--",
        b"~",
        b"*?[a]",
        b"x" * 255,
        b"\xff" * 255,
        "\u2028 line separator".encode(),
        b"\xed\xa0\x80 surrogate",
        odd,
    ]
    os.mkdir(bytes(folder) + b"/" + odd)
    for number, name in enumerate(names):
        for path in (name, odd + b"/" + name):
            if path != odd:
                (folder / os.fsdecode(path)).write_bytes(b"%d" % number)
    await eventually(lambda: sharing.row("music").listings == 2 * len(names) - 1)
    shown = {entry.name for entry in sharing.entries()}
    assert shown == {name.decode(errors="replace") for name in names}
    assert "\ufffd" * 255 in shown and "e\u0301 decomposed" in shown
    assert {entry.folder for entry in sharing.entries()} == {"music", "music/caf\ufffd"}
    for number, name in enumerate(names):
        paths = {shared.path for shared in sharing.shares.find(content_of(b"%d" % number))}
        assert bytes(folder) + b"/" + odd + b"/" + name in paths


async def test_two_names_that_look_the_same_outside_are_one_entry_until_both_are_gone(
    sharing: Sharing, folder: Path, eventually: Eventually
) -> None:
    paths = [folder / os.fsdecode(name) for name in (b"caf\xe9", b"caf\xe8")]
    for path in paths:
        path.write_bytes(b"same")
    await sharing.shares.add(folder, None, ())
    await eventually(lambda: sharing.row("music").listings == 2)
    assert sharing.names() == ["caf\ufffd"]
    assert sharing.shares.position().listings == 1
    paths[0].unlink()
    await eventually(lambda: sharing.row("music").listings == 1)
    assert sharing.names() == ["caf\ufffd"]
    paths[1].unlink()
    await eventually(lambda: sharing.names() == [])


async def test_folders_too_deep_to_be_told_are_skipped(sharing: Sharing, folder: Path, eventually: Eventually) -> None:
    at = os.open(folder, os.O_RDONLY)
    for _ in range(12):
        os.mkdir("d" * 200, dir_fd=at)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)
    await sharing.shares.add(folder, None, ())
    await eventually(sharing.settled)
    assert len(sharing.entries()) == 10
    (skipped,) = sharing.row("music").skipped
    assert skipped.reason == "its path is longer than 2048 characters"


async def test_empty_files_and_files_about_a_chunk_long(sharing: Sharing, folder: Path, eventually: Eventually) -> None:
    chunk = 1 << 20
    for size in (0, 1, chunk - 1, chunk, chunk + 1):
        (folder / str(size)).write_bytes(b"\x5a" * size)
    await sharing.shares.add(folder, None, ())
    await eventually(lambda: len(sharing.entries()) == 5)
    for entry in sharing.entries():
        assert (entry.content, entry.size) == (content_of(b"\x5a" * entry.size), int(entry.name))
