"""Databases: made whole, upgraded step by step, never touched when they are not ours to touch."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from napd.errors import ConfigurationError
from napd.ops.database import open_database, refuse_newer
from napd.ops.events import Events

ONE = "CREATE TABLE thing (id INTEGER PRIMARY KEY, name TEXT NOT NULL);"
TWO = "ALTER TABLE thing ADD COLUMN size INTEGER NOT NULL DEFAULT 0; CREATE INDEX by_name ON thing (name);"
THREE = "CREATE TABLE other (id INTEGER PRIMARY KEY, thing INTEGER NOT NULL REFERENCES thing);"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "things.sqlite"


def columns(connection: sqlite3.Connection) -> list[str]:
    return [row[1] for row in connection.execute("PRAGMA table_info(thing)")]


def version(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
    finally:
        connection.close()


def test_a_new_database_has_the_newest_schema_and_the_promised_settings(path: Path) -> None:
    connection = open_database(path, [ONE, TWO, THREE])
    assert columns(connection) == ["id", "name", "size"]
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
    assert connection.isolation_level is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    connection.close()
    assert version(path) == 3
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_an_old_one_is_upgraded_with_a_backup_and_keeps_its_rows(path: Path) -> None:
    connection = open_database(path, [ONE])
    connection.execute("INSERT INTO thing (name) VALUES ('kept')")
    connection.close()
    events = Events(lambda: 1.0)
    connection = open_database(path, [ONE, TWO, THREE], events=events)
    assert connection.execute("SELECT name, size FROM thing").fetchall() == [("kept", 0)]
    connection.close()
    backup = path.with_name("things.sqlite.v1.bak")
    assert version(backup) == 1
    assert [event.fields for event in events.remembered()] == [{"from_version": 1, "to_version": 3}]
    open_database(path, [ONE, TWO, THREE], events=events).close()
    assert len(events.remembered()) == 1


def test_a_step_that_fails_leaves_the_last_good_version(path: Path) -> None:
    open_database(path, [ONE]).close()
    with pytest.raises(ConfigurationError, match="cannot be used"):
        open_database(path, [ONE, TWO, "CREATE TABLE fine (id INTEGER); CREATE NONSENSE;"])
    assert version(path) == 2
    connection = open_database(path, [ONE, TWO, THREE])
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'fine'").fetchone() == (0,)
    connection.close()


def test_a_crash_while_it_is_made_leaves_no_database_and_no_obstacle(path: Path) -> None:
    with pytest.raises(ConfigurationError):
        open_database(path, [ONE, "CREATE NONSENSE;"])
    assert not path.exists()
    path.with_name(path.name + "-wal").write_bytes(b"left over from a database that is gone")
    open_database(path, [ONE]).close()
    assert version(path) == 1


def test_a_newer_one_is_refused_and_left_as_it_is(path: Path) -> None:
    open_database(path, [ONE, TWO, THREE]).close()
    before = path.read_bytes()
    for ask in (lambda: open_database(path, [ONE]), lambda: refuse_newer(path, 1)):
        with pytest.raises(ConfigurationError, match="has schema 3, this version of the program knows up to 1"):
            ask()
    assert path.read_bytes() == before
    refuse_newer(path, 3)
    refuse_newer(path.with_name("nowhere"), 1)


def test_the_look_ahead_sees_a_version_that_is_still_in_the_write_ahead_log(path: Path) -> None:
    connection = open_database(path, [ONE])
    connection.execute("PRAGMA user_version=9")
    with pytest.raises(ConfigurationError, match="schema 9"):
        refuse_newer(path, 1)
    connection.close()


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"this is not a database at all " * 50, "damaged or no database"), (b"", "not a database of this program")],
)
def test_what_is_no_database_is_refused_and_left_as_it_is(path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)
    refuse_newer(path, 1)
    with pytest.raises(ConfigurationError, match=said):
        open_database(path, [ONE])
    assert path.read_bytes() == content
