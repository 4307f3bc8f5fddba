"""Which index is which: remembered over restarts, and never guessed from a file that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from napd.discovery.trust import KnownIndexes
from napd.errors import ConfigurationError, DiskFailed
from napd.net.identity import new_identity

KEY, OTHER = new_identity().public, new_identity().public


def test_nothing_is_known_at_first(tmp_path: Path) -> None:
    known = KnownIndexes(tmp_path / "known_indexes")
    assert known.key_at("index.example:6699") is None
    assert not (tmp_path / "known_indexes").exists()


def test_an_index_is_remembered_over_restarts(tmp_path: Path) -> None:
    path = tmp_path / "known_indexes"
    assert KnownIndexes(path).remember("index.example:6699", KEY)
    again = KnownIndexes(path)
    found = again.key_at("index.example:6699")
    assert found is not None
    assert found.id == KEY.id
    assert again.key_of(KEY.id) == found
    assert again.key_of(OTHER.id) is None
    assert again.key_at("index.example:6700") is None


def test_an_index_that_is_known_is_no_news_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "known_indexes"
    known = KnownIndexes(path)
    known.remember("a:1", KEY)
    before = path.stat()
    assert not known.remember("a:1", KEY)
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_several_indexes_are_kept_apart(tmp_path: Path) -> None:
    path = tmp_path / "known_indexes"
    known = KnownIndexes(path)
    known.remember("b:1", KEY)
    known.remember("a:1", OTHER)
    assert [line.split()[0] for line in path.read_text().splitlines()] == ["a:1", "b:1"]
    again = KnownIndexes(path)
    assert again.key_at("b:1") == known.key_at("b:1")
    assert again.key_at("a:1") == known.key_at("a:1")


def test_the_file_is_whole_or_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "known_indexes"
    KnownIndexes(path).remember("a:1", KEY)
    (tmp_path / "known_indexes.new").write_text("half a li")
    assert KnownIndexes(path).key_at("a:1") is not None
    KnownIndexes(path).remember("b:1", OTHER)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["known_indexes"]


@pytest.mark.parametrize(
    "line",
    [
        b"index.example:6699",
        b"index.example:6699 key more",
        b"index.example:6699 not-base64!",
        b"index.example:6699 AAAA",
        b"",
        b"\xff\xfe \x80",
        b"index.example:6699 " + "ключ".encode(),
    ],
)
def test_a_damaged_file_is_refused_with_its_line_and_left_alone(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "known_indexes"
    content = f"a:1 {KEY.to_text()}\n".encode() + line + b"\n"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="known_indexes"):
        KnownIndexes(path)
    assert path.read_bytes() == content


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        KnownIndexes(tmp_path)


def test_what_cannot_be_written_down_is_not_remembered(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.mkdir()
    known = KnownIndexes(directory / "known_indexes")
    directory.rmdir()
    with pytest.raises(DiskFailed, match="cannot be written"):
        known.remember("a:1", KEY)
    assert known.key_at("a:1") is None
