"""What recordings tell of themselves: read with the hash, kept with it, and never in the way of a scan."""

from __future__ import annotations

import os
import random
import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path
from threading import Event

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napd.peer.shares import media
from napd.peer.shares.describing import describe_batch
from napd.peer.shares.hashing import Work
from napd.peer.shares.identity import Identity
from napd.peer.shares.media import Bounded, Told, read_media
from napd.peer.shares.service import DATABASE_NAME
from napd.peer.shares.share import MAX_FAILURES_TOLD
from napd.wire.catalogue import Media
from tests.support.recordings import flac, gif, id3, jpeg, mp3, mp4, png, wav
from tests.support.sharing import Make, Sharing
from tests.support.waiting import Eventually


@pytest.fixture
def told(tmp_path: Path) -> Callable[[str, bytes], Told | None]:
    def told(name: str, data: bytes) -> Told | None:
        path = tmp_path / "file"
        path.write_bytes(data)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return read_media(descriptor, os.fsencode(name), len(data))
        finally:
            os.close(descriptor)

    return told


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.mp3", mp3(10, 128), Media(duration_s=10.0, bitrate_kbps=128)),
        ("Music/B.MP3", mp3(5, 320, tag=bytes(300)), Media(duration_s=5.0, bitrate_kbps=320)),
        ("a.wav", wav(2.5), Media(duration_s=2.5, bitrate_kbps=128)),
        ("a.flac", flac(7, 700_000), Media(duration_s=7.0, bitrate_kbps=800)),
        ("a.m4a", mp4(4, 50_000), Media(duration_s=4.0, bitrate_kbps=100)),
        # Of a film the whole file's: its headers tell the sound's.
        ("a.mp4", mp4(10, 1_250_000), Media(duration_s=10.0, bitrate_kbps=1000)),
    ],
)
def test_duration_and_bit_rate_are_read(
    told: Callable[[str, bytes], Told | None], name: str, data: bytes, expected: Media
) -> None:
    found = told(name, data)
    assert found is not None and found.trouble is None
    media = msgspec.json.decode(found.media, type=Media)
    assert media.bitrate_kbps == expected.bitrate_kbps
    # Frames have whole bytes, so an MP3 file of constant rate is a little off.
    assert media.duration_s == pytest.approx(expected.duration_s, rel=0.005)


@pytest.mark.parametrize(
    ("name", "data"), [("a.png", png(640, 480)), ("A.JPG", jpeg(640, 480)), ("b/a.gif", gif(640, 480))]
)
def test_width_and_height_of_pictures_are_read(
    told: Callable[[str, bytes], Told | None], name: str, data: bytes
) -> None:
    found = told(name, data)
    assert found is not None and found.trouble is None
    assert msgspec.json.decode(found.media, type=Media) == Media(width=640, height=480)


@pytest.mark.parametrize(("width", "height"), [(0, 480), (640, 0), (2_000_000, 480), (640, 2**32 - 1)])
def test_the_measures_of_a_picture_that_lies_are_not_believed(
    told: Callable[[str, bytes], Told | None], width: int, height: int
) -> None:
    found = told("a.png", png(width, height))
    assert found is not None and found.trouble and found.media == b"{}"


def test_what_is_neither_is_not_looked_into(told: Callable[[str, bytes], Told | None]) -> None:
    for name in ("a.txt", "mp3", ".mp3", "a.svg", "a.mp3.part"):
        assert told(name, mp3(1, 128)) is None
    assert told("empty.mp3", b"") is None


@pytest.mark.parametrize("extension", sorted({*media._LOOKS, *media._PICTURES}))
def test_what_cannot_be_understood_is_trouble_and_nothing_else(
    told: Callable[[str, bytes], Told | None], extension: str
) -> None:
    rng = random.Random(extension)
    for data in (b"\0", b"ID3", rng.randbytes(5000), b"OggS" + rng.randbytes(500), b"\xff\xfb" * 4000):
        found = told(f"a.{extension}", data)
        assert found is not None and found.trouble
        assert found.media == b"{}"


@settings(max_examples=200, deadline=None)
@given(
    whole=st.sampled_from([mp3(0.5, 64), wav(0.1), flac(1, 100), mp4(1, 100), png(9, 9), jpeg(9, 9)]),
    name=st.sampled_from(
        ["mp3", "wav", "flac", "mp4", "ogg", "aac", "aiff", "wma", "ape", "png", "jpg", "heic", "tiff", "webp"]
    ).map(lambda ext: b"a." + ext.encode()),
    at=st.integers(0, 200),
    put=st.binary(max_size=40),
    keep=st.integers(0, 4000),
)
def test_no_file_raises_and_all_that_is_told_may_be_sent(
    whole: bytes, name: bytes, at: int, put: bytes, keep: int
) -> None:
    data = (whole[:at] + put + whole[at + len(put) :])[:keep]
    descriptor = os.memfd_create("recording")
    try:
        os.write(descriptor, data)
        found = read_media(descriptor, name, len(data))
    finally:
        os.close(descriptor)
    if found is not None:
        # Within the bounds of the wire.
        msgspec.json.decode(found.media, type=Media)


def test_the_numbers_of_a_file_that_lies_are_not_believed(told: Callable[[str, bytes], Told | None]) -> None:
    endless = bytearray(wav(1))
    endless[28:32] = endless[24:28] = (1).to_bytes(4, "little")
    endless[40:44] = b"\xff\xff\xff\x7f"
    found = told("a.wav", bytes(endless))
    assert found is not None
    assert msgspec.json.decode(found.media, type=Media).duration_s is None
    nothing = told("a.flac", flac(0, 1000))
    assert nothing is not None and nothing.media == b"{}"


def test_a_compressed_tag_is_not_unfolded(
    told: Callable[[str, bytes], Told | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = zlib.compress(bytes(1 << 20))
    frame = b"TIT2" + bytes((len(bomb) + 4) >> shift & 0x7F for shift in (21, 14, 7, 0)) + b"\0\x09" + bytes(4) + bomb
    monkeypatch.setattr("zlib.decompress", lambda *_: pytest.fail("unfolded"))
    for name in ("a.mp3", "a.wav", "a.aiff", "a.aac", "a.flac"):
        told(name, id3(frame) + mp3(1, 128))
    found = told("a.mp3", id3(frame) + mp3(1, 128))
    assert found is not None and found.trouble is None


def test_no_file_has_more_read_of_it_than_the_bounds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(media, "MAX_READ_BYTES", 100)
    monkeypatch.setattr(media, "MAX_READS", 5)
    (tmp_path / "a").write_bytes(bytes(1000))
    descriptor = os.open(tmp_path / "a", os.O_RDONLY)
    try:
        file = Bounded(descriptor, 1000)
        assert len(file.read(100)) == 100
        with pytest.raises(media.Excessive):
            file.read(1)
        file = Bounded(descriptor, 1000)
        file.seek(0, os.SEEK_END)
        for _ in range(5):
            assert file.read(1 << 60) == b""
        with pytest.raises(media.Excessive):
            file.read(1)
        found = read_media(descriptor, b"a.mp3", 1000)
        assert found == Told(b"{}", "its headers lead through too much of it")
    finally:
        os.close(descriptor)


# --- In a share ----------------------------------------------------------------------------------


def of(sharing: Sharing) -> dict[str, Media]:
    return {entry.name: entry.media for entry in sharing.entries()}


async def test_the_catalogue_has_them_and_keeps_them_over_a_restart(
    make: Make, folder: Path, eventually: Eventually
) -> None:
    (folder / "song.mp3").write_bytes(mp3(10, 192))
    (folder / "notes.txt").write_bytes(b"la la")
    first = make(ahead=10.0)
    await first.shares.add(folder, None, ())
    await eventually(lambda: len(first.entries()) == 2)
    assert of(first)["notes.txt"] == Media()
    assert of(first)["song.mp3"].bitrate_kbps == 192
    position = first.shares.position()
    await first.stop()
    second = make(ahead=10.0)
    await eventually(second.settled)
    assert second.shares.position() == position
    assert not second.events("share.media_unreadable")


async def test_broken_files_are_shared_and_said_so_often_and_no_more(
    sharing: Sharing, folder: Path, eventually: Eventually
) -> None:
    many = MAX_FAILURES_TOLD + 5
    for number in range(many):
        (folder / f"{number}\n.mp3").write_bytes(b"no music %d" % number)
    (folder / "good.wav").write_bytes(wav(1))
    await sharing.shares.add(folder, None, ())
    await eventually(lambda: sharing.settled() and len(sharing.entries()) == many + 1)
    said = sharing.events("share.media_unreadable")
    assert len(said) == MAX_FAILURES_TOLD
    assert all("\n" not in event.message and ".mp3" in event.message for event in said)
    assert of(sharing)["good.wav"].duration_s == 1.0


async def test_a_name_that_makes_it_a_recording_tells_what_it_tells(
    sharing: Sharing, folder: Path, eventually: Eventually
) -> None:
    (folder / "song.bin").write_bytes(mp3(10, 256))
    await sharing.shares.add(folder, None, ())
    await eventually(lambda: sharing.names() == ["song.bin"])
    await eventually(sharing.settled)
    assert of(sharing)["song.bin"] == Media()
    (folder / "song.bin").rename(folder / "song.mp3")
    await eventually(lambda: of(sharing).get("song.mp3", Media()).bitrate_kbps == 256)
    assert sharing.shares.totals().listings == 1


async def test_files_hashed_before_headers_were_read_are_read_in_the_background(
    make: Make, folder: Path, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database of version 1, as the version before this one left it."""
    for name, kbps in (("a.mp3", 128), ("b.mp3", 320)):
        (folder / name).write_bytes(mp3(10, kbps))
    (folder / "broken.mp3").write_bytes(b"no music")
    (folder / "notes.txt").write_bytes(b"la la")
    first = make(ahead=10.0)
    with monkeypatch.context() as before:
        before.setattr("napd.peer.shares.hashing.read_media", lambda *_: None)
        await first.shares.add(folder, None, ())
        await eventually(lambda: first.settled() and len(first.entries()) == 4)
    assert set(of(first).values()) == {Media()}
    await first.stop()
    with sqlite3.connect(first.state / DATABASE_NAME) as database:
        database.execute("DROP TABLE undescribed")
        database.execute("PRAGMA user_version = 1")
    database.close()

    monkeypatch.setattr("napd.peer.shares.hashing.open_file", lambda *_: pytest.fail("hashed again"))
    second = make(ahead=10.0)
    await eventually(lambda: second.count("SELECT count(*) FROM undescribed") == 0)
    await eventually(lambda: of(second)["b.mp3"].bitrate_kbps == 320)
    assert of(second)["a.mp3"].bitrate_kbps == 128
    assert of(second)["broken.mp3"] == of(second)["notes.txt"] == Media()
    assert len(second.events("share.media_unreadable")) == 1
    assert second.shares.totals().listings == 4


def test_a_file_that_is_another_by_now_is_not_described(tmp_path: Path) -> None:
    for name in ("same.mp3", "changed.mp3", "gone.mp3"):
        (tmp_path / name).write_bytes(mp3(1, 64))
    works = [
        Work(number, 1, os.fsencode(tmp_path), name, Identity.of(os.stat(tmp_path / name.decode())), 0, 0, None)
        for number, name in enumerate((b"same.mp3", b"changed.mp3", b"gone.mp3"))
    ]
    (tmp_path / "changed.mp3").write_bytes(mp3(2, 64))
    (tmp_path / "gone.mp3").unlink()
    assert [one.work.hash for one in describe_batch(works, Event())] == [0]
