"""Adding, listing, checking and removing shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from napd.content.digest import MAX_CONTENT_BYTES
from napd.errors import Denied, Misuse, NoSuchThing
from napd.peer.shares.opening import open_file
from tests.support.sharing import Make, Sharing, content_of
from tests.support.waiting import Eventually


async def test_the_same_directory_again_is_no_change(sharing: Sharing, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    await sharing.shares.add(folder, None, ("everyone",))
    for again, name in ((folder, None), (tmp_path / "link", "other")):
        assert (await sharing.shares.add(again, name, ())).name == "music"
    assert len(sharing.shares.rows()) == len(sharing.events("share.added")) == 1
    (tmp_path / "link").unlink()
    os.rename(folder, tmp_path / "unmounted")
    assert (await sharing.shares.add(folder, None, ())).name == "music"


async def test_a_name_that_is_taken_is_refused_with_advice(sharing: Sharing, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "music"
    other.mkdir(parents=True)
    await sharing.shares.add(folder, None, ())
    with pytest.raises(Misuse, match=r"already.*=NAME"):
        await sharing.shares.add(other, None, ())
    assert (await sharing.shares.add(other, "more", ())).name == "more"


async def test_what_must_not_be_shared_is_refused_and_said(sharing: Sharing, tmp_path: Path) -> None:
    for path in (Path("/"), Path("/etc"), sharing.state, sharing.state.parent, tmp_path / ".ssh"):
        with pytest.raises(Denied) as refused:
            await sharing.shares.add(path, None, ())
        assert refused.value.code == "refused"
    assert len(sharing.events("share.refused")) == 5
    assert sharing.shares.rows() == []


async def test_bad_requests_change_nothing(sharing: Sharing, folder: Path) -> None:
    (folder / "file").touch()
    for path, kind in ((folder / "none", NoSuchThing), (folder / "file", Misuse), (Path("music"), Misuse)):
        with pytest.raises(kind):
            await sharing.shares.add(path, None, ())
    with pytest.raises(Misuse):
        await sharing.shares.add(folder, "a/b", ())
    with pytest.raises(Misuse, match="not in this version"):
        await sharing.shares.add(folder, None, ("friends",))
    assert sharing.shares.rows() == []


async def test_removing_withdraws_everything_and_frees_the_name(
    sharing: Sharing, folder: Path, tmp_path: Path, eventually: Eventually
) -> None:
    (folder / "a").write_bytes(b"a")
    await sharing.shares.add(folder, None, ())
    await eventually(lambda: sharing.names() == ["a"])
    content = content_of(b"a")
    await sharing.shares.remove("music")
    assert sharing.entries() == [] and sharing.shares.rows() == [] and not sharing.shares.find(content)
    assert (folder / "a").exists()
    with pytest.raises(NoSuchThing):
        await sharing.shares.remove("music")
    await sharing.shares.add(tmp_path / "music", None, ())
    await eventually(lambda: sharing.names() == ["a"])


async def test_a_removal_that_was_cut_short_is_finished_at_the_next_start(
    make: Make, folder: Path, eventually: Eventually
) -> None:
    (folder / "a").write_bytes(b"a")
    first = make(ahead=10.0)
    await first.shares.add(folder, None, ())
    await eventually(lambda: first.names() == ["a"])
    books = first.shares._books
    await books.run(books.ledger.leave, 1)
    await first.stop()
    second = make(ahead=10.0)
    await eventually(lambda: second.entries() == [])
    assert second.shares.rows() == []


async def test_skipped_files_are_named_with_the_reason(sharing: Sharing, folder: Path, eventually: Eventually) -> None:
    (folder / ".hidden").touch()
    (folder / ".git").mkdir()
    (folder / ".git" / "config").touch()
    (folder / "link").symlink_to("/etc/hostname")
    (folder / "linked").symlink_to("/etc")
    os.mkfifo(folder / "fifo")
    with (folder / "giant").open("wb") as file:
        try:
            file.truncate(MAX_CONTENT_BYTES + 1)
        except OSError:
            (folder / "giant").unlink()  # not every file system can hold one
    await sharing.shares.add(folder, None, ())
    await eventually(sharing.settled)
    skipped = {Path(row.path).name: row.reason for row in sharing.row("music").skipped}
    assert skipped.pop("giant", None) in (None, "larger than 64 TiB")
    assert skipped == {
        ".hidden": "hidden",
        ".git": "hidden",
        "link": "symbolic link",
        "linked": "symbolic link",
        "fifo": "not a regular file",
    }
    assert sharing.entries() == []
    (folder / "fifo").unlink()
    await eventually(lambda: "fifo" not in str(sharing.row("music").skipped))


async def test_of_many_skipped_files_a_hundred_are_named_and_all_counted(
    sharing: Sharing, folder: Path, eventually: Eventually
) -> None:
    for number in range(1100):
        (folder / f".{number}").touch()
    await sharing.shares.add(folder, None, ())
    await eventually(sharing.settled)
    row = sharing.row("music")
    assert (len(row.skipped), row.skipped_count) == (100, 1100)


async def test_an_unreadable_file_is_skipped_until_it_can_be_read(
    sharing: Sharing, folder: Path, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(root: bytes, path: bytes) -> int:
        if path == b"secret":
            raise PermissionError(13, "Permission denied")
        return open_file(root, path)

    monkeypatch.setattr("napd.peer.shares.hashing.open_file", refuse)
    (folder / "secret").write_bytes(b"s")
    (folder / "open").write_bytes(b"o")
    await sharing.shares.add(folder, None, ())
    await eventually(lambda: sharing.names() == ["open"] and sharing.settled())
    (skipped,) = sharing.row("music").skipped
    assert (Path(skipped.path).name, skipped.reason) == ("secret", "unreadable: Permission denied")
    assert (await sharing.shares.check(str(folder / "secret"))).reason == "unreadable: Permission denied"
    assert len(sharing.events("share.file_failed")) == 1
    monkeypatch.undo()
    await sharing.shares.rescan("music")
    await eventually(lambda: sharing.names() == ["open", "secret"])
    assert sharing.row("music").skipped == []


async def test_check_says_whether_others_can_get_it(sharing: Sharing, folder: Path, eventually: Eventually) -> None:
    (folder / "sub" / ".private").mkdir(parents=True)
    (folder / "sub" / "a").write_bytes(b"a")
    (folder / "link").symlink_to(folder / "sub" / "a")
    (folder / ".hidden").touch()
    await sharing.shares.add(folder, None, ())
    await eventually(lambda: sharing.names() == ["a"])

    async def check(path: str) -> tuple[bool, str | None]:
        said = await sharing.shares.check(path)
        return said.shared, said.reason

    said = await sharing.shares.check(f"{folder}/sub/a")
    assert (said.shared, said.share, said.content, said.size) == (True, "music", content_of(b"a"), 1)
    assert await check(str(folder)) == (True, None)
    assert await check(f"{folder}/sub") == (True, None)
    assert await check(f"{folder}/link") == (False, "symbolic link")
    assert await check(f"{folder}/.hidden") == (False, "hidden")
    assert await check(f"{folder}/sub/.private/x") == (False, "hidden")
    assert await check(f"{folder}/none") == (False, "there is no such file")
    assert await check("/usr/bin") == (False, "it is in no share")
    shared, reason = await check("/etc/passwd")
    assert not shared and "must not be shared" in str(reason)
    with pytest.raises(Misuse):
        await sharing.shares.check("sub/a")


async def test_rescan_waits_for_the_pass_and_knows_its_shares(sharing: Sharing, folder: Path) -> None:
    await sharing.shares.add(folder, None, ())
    await sharing.shares.rescan(None)
    assert sharing.row("music").state == "ok"
    assert sharing.events("share.scanned")
    with pytest.raises(NoSuchThing):
        await sharing.shares.rescan("films")


async def test_uploads_get_listings_and_manifests_of_what_is_shared_only(
    sharing: Sharing, folder: Path, eventually: Eventually
) -> None:
    data = os.urandom((1 << 20) + 1)
    (folder / "a").write_bytes(data)
    await sharing.shares.add(folder, None, ())
    await eventually(lambda: sharing.names() == ["a"])
    content = content_of(data)
    (shared,) = sharing.shares.find(content)
    assert (shared.path, shared.name) == (bytes(folder / "a"), "a")
    assert (shared.size, shared.audience) == (len(data), ("everyone",))
    descriptor = shared.open()
    assert os.read(descriptor, 10) == data[:10]
    os.close(descriptor)
    size, groups = await sharing.shares.outline(content)
    assert (size, len(groups)) == (len(data), 32)
    assert len(await sharing.shares.group(content, 0)) == 64
    with pytest.raises(LookupError):
        await sharing.shares.group(content, 1)
    (folder / "b").write_bytes(b"another file in its place")
    (folder / "b").rename(folder / "a")
    with pytest.raises(LookupError):
        shared.open()
    await eventually(lambda: not sharing.shares.find(content))
    with pytest.raises(LookupError):
        await sharing.shares.outline(content)


async def test_no_link_on_the_way_is_followed_when_a_listing_is_opened(
    sharing: Sharing, folder: Path, tmp_path: Path, eventually: Eventually
) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "a").write_bytes(b"a")
    await sharing.shares.add(folder, None, ())
    await eventually(lambda: sharing.names() == ["a"])
    (shared,) = sharing.shares.find(content_of(b"a"))
    (folder / "sub").rename(tmp_path / "elsewhere")
    (folder / "sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="Not a directory"):
        shared.open()
