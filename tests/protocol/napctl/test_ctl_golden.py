"""What each command prints, to a pipe, to a terminal and as JSON, held against files that people can read.

After a change that is meant, `NAPCTL_GOLDEN=write pytest tests/protocol/napctl/test_ctl_golden.py` writes them anew.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import documents
from tests.support.command_line import Ran, napctl
from tests.support.fake_daemon import Answer, Error, FakeDaemon, Push, Reply

GOLDEN = Path(__file__).parent / "golden"

PARTLY = documents.downloads(
    documents.download(3, state="paused"),
    errors=[{"subject": "99", "code": "not_found", "message": "no download 99"}],
)
DONE = documents.downloads(documents.done(3))
WATCHED = [
    Push("downloads", documents.QUEUE),
    Push("downloads", documents.downloads(documents.done(3))),
    Reply(documents.downloads(documents.done(3))),
]
EVENTS = [*(Push("event", event) for event in documents.EVENTS), Reply({"schema": 1, "message": "that is all"})]

CASES: dict[str, tuple[list[str], dict[str, Answer]]] = {
    "status": (["status"], {"status": documents.STATUS}),
    "search": (["search", "moon"], {"search": documents.SEARCH}),
    "search-nothing": (["search", "moon"], {"search": documents.SEARCH | {"results": [], "next": None}}),
    "search-never": (
        ["search", "moon", "-moon"],
        {
            "search": documents.SEARCH
            | {"results": [], "truncated": False, "next": None, "reason": "moon is both wanted and left out"}
        },
    ),
    "get": (["get", "1", "--priority", "high"], {"get": documents.downloads(documents.download(3, priority="high"))}),
    "get-wait": (["get", "1", "--wait"], {"get": documents.QUEUE, "queue.wait": DONE, "queue.watch": WATCHED}),
    "queue": (["queue"], {"queue.list": documents.QUEUE}),
    "queue-empty": (["queue"], {"queue.list": documents.downloads()}),
    "queue-pause-partly": (["queue", "pause", "3", "99"], {"queue.pause": PARTLY}),
    "queue-cancel-unknown": (
        ["queue", "cancel", "99"],
        {"queue.cancel": Error("not_found", "no download 99", "see napctl queue")},
    ),
    "sources": (["sources", "3"], {"sources": documents.SOURCES}),
    "uploads": (["uploads"], {"uploads": documents.UPLOADS}),
    "watch": (["watch"], {"queue.watch": WATCHED}),
    "wait": (["wait", "3"], {"queue.wait": DONE, "queue.watch": WATCHED}),
    "events": (["events"], {"events": EVENTS}),
    "share-list": (["share", "list"], {"share.list": documents.SHARES}),
    "share-add": (["share", "add", "/srv/Music"], {"share.add": documents.SHARES}),
    "share-check": (["share", "check", "/srv/Music/.hidden"], {"share.check": documents.CHECK}),
    "wish-list": (["wish"], {"wish.list": documents.WISHES}),
    "wish-add": (["wish", "add", "moon"], {"wish.add": documents.WISHES | {"wishes": documents.WISHES["wishes"][:1]}}),
    "wish-found": (["wish", "found"], {"wish.found": documents.FINDS}),
    "users": (["users"], {"users": documents.USERS}),
    "whoami": (["whoami"], {"whoami": documents.WHOAMI}),
    "limit": (["limit", "--up", "2MB/s"], {"limit": documents.LIMITS}),
    "version": (["version"], {"version": documents.VERSION}),
    "reload": (["reload"], {"reload": documents.STOPPING}),
    "index-status": (["index", "status"], {"index.status": documents.INDEX_STATUS}),
    "index-status-nodes": (["index", "status"], {"index.status": documents.INDEX_STATUS | {"nodes": documents.NODES}}),
    "index-users": (["index", "users"], {"index.users": documents.USERS}),
}


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("name", CASES)
def test_output_is_as_written_down(name: str, sockets: Path) -> None:
    args, answers = CASES[name]
    with FakeDaemon(sockets / "s", answers) as daemon:
        runs = {
            "to a pipe": napctl(*args, socket=daemon.path, now=documents.NOW),
            "on a terminal of 80 columns": napctl(*args, socket=daemon.path, now=documents.NOW, terminal=True),
            "with --json": napctl(*args, "--json", socket=daemon.path, now=documents.NOW),
        }
    if name in ("watch", "wait", "get-wait"):
        del runs["on a terminal of 80 columns"]  # moving pictures: test_ctl_live.py
    written = "\n".join(_section(["napctl", *args], title, run) for title, run in runs.items())
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("NAPCTL_GOLDEN") == "write":
        golden.write_text(written)
    assert written == golden.read_text()


def _section(command: list[str], title: str, run: Ran) -> str:
    """Escapes are written out, so that the files can be read and compared."""
    out = _indented(run.out) if title == "with --json" else run.out
    parts = [f"$ {' '.join(command)}    # {title}: exit status {run.status}\n{out}"]
    if run.err:
        parts.append(f"--- standard error\n{run.err}")
    return "".join(parts).replace("\x1b", "␛")


def _indented(lines: str) -> str:
    return "".join(
        json.dumps(json.loads(line), indent=1, ensure_ascii=False) + "\n" for line in lines.split("\n") if line
    )


@pytest.mark.parametrize(
    "name", sorted(CASES.keys() - {"get-wait", "queue-pause-partly", "queue-cancel-unknown", "version"})
)
def test_json_is_the_daemons_document_unchanged(name: str, sockets: Path) -> None:
    args, answers = CASES[name]
    with FakeDaemon(sockets / "s", answers) as daemon:
        ran = napctl(*args, "--json", socket=daemon.path)
    (answer,) = [value for method, value in answers.items() if method != "queue.watch" or len(answers) == 1]
    assert ran.status == 0
    assert ran.documents == _documents(answer)


def _documents(answer: Any) -> list[Any]:
    return [step.document for step in answer if isinstance(step, Push)] if isinstance(answer, list) else [answer]
