"""Connections to PostgreSQL that are made anew when they are lost, and transactions that outlive that."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from random import Random
from typing import Any, TypeVar

import psycopg
from attrs import define, field
from psycopg import pq
from psycopg import sql as compose
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ....errors import CannotStart, ConfigurationError, printable
from ....model import PeerId
from . import schema

#: What a PostgreSQL that cannot work raises.
TROUBLES = (psycopg.Error, OSError)
#: Seconds that making a connection may take.
CONNECT_S = 5
#: Seconds that one statement may take.
STATEMENT_S = 60.0
#: Seconds after which an answer is overdue, besides those that a statement may take.
ANSWER_S = 2
#: Seconds for which a process that stopped in the middle of a transaction may hold up the others.
IDLE_S = 5.0
#: Seconds that a transaction is tried again while PostgreSQL is away.
PATIENCE_S = 300.0
#: Seconds between two tries, at first and at most; jittered.
RETRY_S = 0.1
MAX_RETRY_S = 2.0
#: Serialisation failures and deadlocks: PostgreSQL asks for another try.
_TRY_AGAIN = frozenset({"40001", "40P01", "55P03", "57P03"})
#: Everything is in a schema of its own: the database may have other uses.
_SCHEMA = "napd"
#: Chosen once, for `pg_advisory_lock`: one process at a time makes or upgrades the schema.
_UPGRADING = 0x6E617064

R = TypeVar("R")


class CutOff(psycopg.OperationalError):
    """This node may not write now: others may have taken it for dead."""


@define
class Connection:
    """One connection, used by one thread at a time.

    :param url: with the password; it is in no message and no log line.
    :param purpose: how `pg_stat_activity` names it.
    :param listens_to: a channel.
    """

    _url: str = field(repr=False)
    _purpose: str
    _statement_s: float = STATEMENT_S
    _listens_to: str | None = None
    _made: psycopg.Connection[tuple[Any, ...]] | None = None
    _asked: int = 0
    #: What `a_second_passed` has seen: an answer that is waited for, and for how long.
    _seen_asked: int = 0
    _waited_s: int = 0

    @property
    def sql(self) -> psycopg.Connection[tuple[Any, ...]]:
        """In autocommit mode. Made if there is none.

        :raises psycopg.Error: PostgreSQL is away, or will not have us.
        """
        if self._made is None or self._made.closed:
            with self._asking():
                self._connect()
        return self._made  # type: ignore[return-value]

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        sql = self.sql
        with self._asking():
            return sql.execute(statement, values, binary=True).fetchall()

    def one(self, statement: str, *values: object) -> Any:
        """The first column of the first row; None without one."""
        sql = self.sql
        with self._asking():
            row = sql.execute(statement, values, binary=True).fetchone()
        return None if row is None else row[0]

    def do(self, statement: str, *values: object) -> None:
        sql = self.sql
        with self._asking():
            sql.execute(statement, values)

    def do_each(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """The same statement for each of these rows of values."""
        sql = self.sql
        with self._asking(), sql.cursor() as cursor:
            cursor.executemany(statement, rows)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.do("BEGIN")
        try:
            yield
            self.do("COMMIT")
        except BaseException:
            self.roll_back()
            raise

    def roll_back(self) -> None:
        if not self.is_lost():
            try:
                self.do("ROLLBACK")
            except TROUBLES:
                # A connection that cannot even do that is of no use.
                self.close()

    def is_answered(self) -> bool:
        """Whether there is a PostgreSQL that takes connections, from us or others."""
        url = make_conninfo(self._url, connect_timeout=CONNECT_S)
        return pq.PGconn.ping(url.encode()) == pq.Ping.OK

    def is_lost(self) -> bool:
        return self._made is None or self._made.closed

    def close(self) -> None:
        if self._made is not None:
            self._made.close()

    def a_second_passed(self) -> bool:
        """Cut the connection if an answer is overdue: the server ends statements that take too long, if it can.

        Called every second, on another thread than the one that waits; that one finds the connection lost. Returns
        whether it was cut.
        """
        if not self._asked % 2 or self._asked != self._seen_asked:
            self._seen_asked, self._waited_s = self._asked, 0
            return False
        self._waited_s += 1
        return self._waited_s > self._statement_s + ANSWER_S and self.wait_no_more()

    def wait_no_more(self) -> bool:
        """Cut the connection if an answer is waited for; returns whether it was. On any thread."""
        if self._made is None or not self._asked % 2:
            return False
        try:
            with socket.socket(fileno=os.dup(self._made.fileno())) as end:
                end.shutdown(socket.SHUT_RDWR)
        except TROUBLES:
            # It is lost already.
            return False
        return True

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """An answer is waited for while `_asked` is odd."""
        self._asked += 1
        try:
            yield
        finally:
            self._asked += 1

    def _connect(self) -> None:
        self._made = psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=CONNECT_S,
            application_name=f"napindex {self._purpose}",
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=10_000,
        )
        try:
            for setting, value in (
                ("search_path", _SCHEMA),
                ("statement_timeout", f"{self._statement_s:g}s"),
                ("idle_in_transaction_session_timeout", f"{IDLE_S:g}s"),
                ("default_transaction_isolation", "read committed"),
                ("synchronous_commit", "on"),
            ):
                self._made.execute("SELECT set_config(%s, %s, false)", (setting, value))
            if self._listens_to is not None:
                self._made.execute(compose.SQL("LISTEN {}").format(compose.Identifier(self._listens_to)))
        except BaseException:
            self._made.close()
            raise


@define
class Transactions:
    """Writes, one transaction after the other, on one thread.

    While PostgreSQL is away they wait. One whose commit may have been made or not is made again: what it does has to
    come to the same when it is done twice, and `repeated` says when that may be.

    :param may_write: whether this process may write now.
    :param monotonic: seconds that no change of the clock moves.
    """

    _connection: Connection
    _monotonic: Callable[[], float]
    _random: Random
    _may_write: Callable[[], bool]
    repeated: bool = False
    _stopping: threading.Event = field(factory=threading.Event)

    def run(self, work: Callable[[], R], before_commit: Callable[[], None], undone: Callable[[], None]) -> R:
        """:raises psycopg.Error: it cannot be done, or not in time; nothing has changed, as far as is known."""
        began = self._monotonic()
        wait_s = RETRY_S
        try:
            while True:
                try:
                    return self._attempt(work, before_commit, undone)
                except TROUBLES as error:
                    if self._is_late(began) or not self._passes(error):
                        raise
                self._stopping.wait(wait_s * self._random.uniform(0.5, 1.0))
                wait_s = min(MAX_RETRY_S, wait_s * 2)
        finally:
            self.repeated = False

    def stop(self) -> None:
        """Wait for PostgreSQL no more. From any thread."""
        self._stopping.set()

    def _is_late(self, began: float) -> bool:
        return self._stopping.is_set() or self._monotonic() - began >= PATIENCE_S

    def _passes(self, error: Exception) -> bool:
        """Whether the same may go well later."""
        if self._connection.is_lost():
            self.repeated = True
            return True
        return isinstance(error, CutOff) or getattr(error, "sqlstate", None) in _TRY_AGAIN

    def _attempt(self, work: Callable[[], R], before_commit: Callable[[], None], undone: Callable[[], None]) -> R:
        if not self._may_write():
            raise CutOff("this node could not renew its lease")
        try:
            with self._connection.transaction():
                outcome = work()
                before_commit()
        except BaseException:
            undone()
            raise
        return outcome


def schema_scripts() -> Sequence[str]:
    """The scripts of all versions, the first one first."""
    folder = resources.files(schema)
    numbers = sorted(int(file.name.removesuffix(".sql")) for file in folder.iterdir() if file.name.endswith(".sql"))
    return [folder.joinpath(f"{number}.sql").read_text("utf-8") for number in numbers]


def prepare(connection: Connection, identity: PeerId | None) -> None:
    """Make the tables, or bring them to the present schema; however many processes start at once, one does it.

    :param identity: of the index; the first process makes it the database's.
    :raises CannotStart: PostgreSQL is away, or not ready yet.
    :raises ConfigurationError: it will not have us, the schema is newer, or another index's.
    """
    try:
        _prepare(connection)
        if identity is not None:
            connection.do("UPDATE clock SET identity = %s WHERE identity IS NULL", identity)
            owner = connection.one("SELECT identity FROM clock")
            if owner != identity:
                raise ConfigurationError(
                    f"the PostgreSQL database belongs to the index {owner}, and this process is {identity}",
                    "Give every node of an index the same identity.pem, or use another database",
                )
    except TROUBLES as error:
        connection.close()
        message = f"the PostgreSQL database cannot be used: {printable(one_line(str(error)))}"
        if connection.is_answered():
            raise ConfigurationError(
                message,
                "See that user, password and database in --database are right; "
                "a passfile counts only if nobody but the daemon's user can read it",
            ) from error
        raise CannotStart(
            message, "See that the server runs, and that host and port in --database are right"
        ) from error


def _prepare(connection: Connection) -> None:
    scripts = schema_scripts()
    connection.do("SELECT pg_advisory_lock(%s)", _UPGRADING)
    try:
        with connection.transaction():
            connection.do("SET LOCAL client_min_messages = warning")
            if connection.one("SELECT 1 FROM pg_namespace WHERE nspname = %s", _SCHEMA) is None:
                connection.sql.execute(compose.SQL("CREATE SCHEMA {}").format(compose.Identifier(_SCHEMA)))
            there = connection.one("SELECT to_regclass(%s)::text", f"{_SCHEMA}.clock") is not None
            version = connection.one("SELECT version FROM clock") if there else 0
            if version > len(scripts):
                connection.close()
                raise ConfigurationError(
                    f"the PostgreSQL database has schema {version}, "
                    f"this version of the program knows up to {len(scripts)}",
                    "Run the newer version on all nodes, or use another database",
                )
            for number in range(version + 1, len(scripts) + 1):
                connection.sql.execute(scripts[number - 1].encode())
                connection.do("UPDATE clock SET version = %s", number)
    finally:
        if not connection.is_lost():
            connection.do("SELECT pg_advisory_unlock(%s)", _UPGRADING)


def named(url: str) -> str:
    """The database as status and messages name it: without a password.

    :raises ConfigurationError: it is no URL of a database.
    """
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        # libpq's own words repeat a part of the URL, which may be the password.
        raise ConfigurationError(
            "database is not a URL that PostgreSQL understands: postgresql://USER@HOST:PORT/DATABASE",
            "Write special characters of the password as %XX",
        ) from None
    user = f"{parts['user']}@" if "user" in parts else ""
    host = str(parts.get("host", ""))
    port = f":{parts['port']}" if "port" in parts else ""
    place = f"{user}{host}{port}/{parts.get('dbname', '')}"
    return f"postgresql://{place}"


def one_line(message: str) -> str:
    return " ".join(message.split())
