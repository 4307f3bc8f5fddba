"""Over restarts: nothing is announced twice, nothing hashed twice, and nothing is torn, however the daemon ended."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from napd.content.digest import CHUNK_BYTES, chunk_digest
from napd.content.manifest import manifest_of
from tests.support.processes import ROOT
from tests.support.sharing import Make, content_of, unreadable_now
from tests.support.waiting import Eventually, until


async def test_an_unchanged_share_announces_nothing_after_a_restart(
    make: Make, folder: Path, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        (folder / str(number)).write_bytes(b"%d" % number)
    first = make(ahead=10.0)
    await first.shares.add(folder, None, ())
    await eventually(lambda: first.row("music").listings == 50)
    position = first.shares.position()
    await first.stop()
    monkeypatch.setattr("napd.peer.shares.hashing.open_file", unreadable_now)
    second = make(ahead=10.0)
    assert second.shares.position() == position
    assert len(second.entries()) == 50
    await second.shares.rescan(None)
    await eventually(second.settled)
    assert second.shares.position() == position and second.changes == 0
    assert [event.fields["listings"] for event in second.events("share.scanned")] == [50]


async def test_what_changed_while_the_daemon_was_away_is_found(
    make: Make, folder: Path, eventually: Eventually
) -> None:
    (folder / "gone").write_bytes(b"gone")
    (folder / "changed").write_bytes(b"before")
    first = make(ahead=10.0)
    await first.shares.add(folder, None, ())
    await eventually(lambda: first.names() == ["changed", "gone"])
    await first.stop()
    (folder / "gone").unlink()
    (folder / "changed").write_bytes(b"after")
    (folder / "new").write_bytes(b"new")
    second = make(ahead=10.0)
    await eventually(lambda: second.names() == ["changed", "new"])
    assert {e.name: e.content for e in second.entries()}["changed"] == content_of(b"after")
    assert second.shares.position().epoch == first.shares.position().epoch


async def test_a_share_whose_directory_is_missing_at_the_start_is_remembered(
    make: Make, folder: Path, tmp_path: Path, eventually: Eventually
) -> None:
    (folder / "a").write_bytes(b"a")
    first = make(ahead=10.0)
    await first.shares.add(folder, "songs", ())
    await eventually(lambda: first.names() == ["a"])
    await first.stop()
    os.rename(folder, tmp_path / "unmounted")
    second = make(ahead=10.0)
    await eventually(lambda: second.row("songs").state == "unavailable" and second.entries() == [])
    (tmp_path / "unmounted").rename(folder)
    await eventually(lambda: second.names() == ["a"])


async def test_a_remembered_share_that_must_not_be_shared_any_more_is_refused(
    make: Make, folder: Path, eventually: Eventually
) -> None:
    (folder / "a").write_bytes(b"a")
    first = make(ahead=10.0)
    await first.shares.add(folder, None, ())
    await eventually(lambda: first.names() == ["a"])
    await first.stop()
    second = make(ahead=10.0, forbidden=[folder / "private"])
    await eventually(lambda: second.row("music").state == "unavailable" and second.entries() == [])
    assert len(second.events("share.refused")) == 1


KILLED = """
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from tests.support.sharing import Sharing

sharing = Sharing(reactor, Path(sys.argv[1]), [], ahead=10.0).start()
reactor.callWhenRunning(lambda: Deferred.fromCoroutine(sharing.shares.add(Path(sys.argv[2]), None, ())))
reactor.run()
"""


def count(database: Path, query: str) -> int:
    try:
        connection = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error:
        return 0
    try:
        return int(connection.execute(query).fetchone()[0] or 0)
    except sqlite3.Error:
        return 0
    finally:
        connection.close()


def further_than(before: int, database: Path, query: str) -> bool:
    return count(database, query) > before


def run_until_killed(arguments: list[str], reached: Callable[[], bool]) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, *arguments], cwd=ROOT)
    try:
        until(reached, "some progress", every_s=0.001)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.mark.limit(60)
async def test_killed_again_and_again_while_it_hashes_it_goes_on_where_it_was(
    make: Make, folder: Path, tmp_path: Path, eventually: Eventually
) -> None:
    for number in range(500):
        (folder / str(number)).write_bytes(b"%d" % number)
    chunks = 2 << 10
    with (folder / "large").open("wb") as file:
        file.truncate(chunks * CHUNK_BYTES)
    database = tmp_path / "state" / "shares.sqlite"
    parts = "SELECT sum(length(chunks)) FROM digests WHERE hash = (SELECT id FROM hash WHERE size > 1000000)"
    done = 0
    for _ in range(3):
        before = done
        run_until_killed([str(tmp_path / "state"), str(folder)], partial(further_than, before, database, parts))
        done = count(database, parts)
        assert done > before
        connection = sqlite3.connect(database)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
    assert done < chunks * 32, "it was killed too late to show anything"
    sharing = make(ahead=10.0)
    await eventually(lambda: sharing.row("music").listings == 501 and sharing.settled(), timeout=30.0)
    expected = manifest_of(chunks * CHUNK_BYTES, chunk_digest(bytes(CHUNK_BYTES)) * chunks).outline.content
    contents = {entry.name: entry.content for entry in sharing.entries()}
    assert contents.pop("large") == expected
    assert contents == {str(number): content_of(b"%d" % number) for number in range(500)}
