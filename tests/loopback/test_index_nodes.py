"""Several `twistd napindex` on one PostgreSQL: real processes, one index."""

from __future__ import annotations

import re

from tests.support.community import found, random_file, saved, waited
from tests.support.postgres import PostgresServer
from tests.support.processes import Processes


def test_one_index_on_postgresql_does_what_the_embedded_one_does(
    postgres: PostgresServer, processes: Processes
) -> None:
    index = processes.index("pg", "--database", postgres.database())
    anna = processes.peer("anna", index=index, start=False)
    data = random_file(anna.shared / "song.txt", 10_000)
    anna.start()
    bob = processes.peer("bob", index=index)
    assert [row["users"] for row in found(bob, "song")] == [["anna"]]
    assert bob.ctl("get", "1").status == 0
    assert waited(bob).status == 0
    assert saved(bob) == data
    status = index.ctl("index", "status").json
    assert status["database"].startswith("postgresql://napd@127.0.0.1:")
    assert not (index.state / "index.db").exists()


def test_a_database_that_cannot_be_used_is_one_line_and_status_78_and_its_password_is_in_no_log(
    processes: Processes,
) -> None:
    index = processes.index("pg", "--database", "postgresql://ann:s3cret@127.0.0.1:1/nap", start=False)
    index.begin()
    assert index.process.wait(30) == 78
    written = "".join(path.read_text("utf-8", "replace") for path in index.folder.rglob("*") if path.is_file())
    written += processes.logs()
    assert re.search(r"PostgreSQL database cannot be used: .*127\.0\.0\.1", written)
    assert "s3cret" not in written
