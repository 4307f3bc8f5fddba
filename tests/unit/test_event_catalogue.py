"""The event catalogue, the code and docs/reference/log-events.md say the same, in every direction."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from napd.errors import LocalProtocolError
from napd.ops.catalogue import EVENTS
from napd.ops.events import Events
from tests.support.processes import ROOT

PAGE = ROOT / "docs" / "reference" / "log-events.md"
_ROW = re.compile(r"^\| `([a-z_.]+)` \| (\w+) \| ([^|]*) \| (.+) \|$", re.MULTILINE)
#: Keys of every line of the log and of every event document: no field may take their place.
RESERVED = {"time", "level", "event", "message", "schema", "id"}


def emitted() -> Iterator[tuple[str, set[str], str]]:
    """(name, fields, where) for each call of an `emit` with a literal name; `_emit` adds fields that many share."""
    for path in (ROOT / "napd").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            first = node.args[0]
            if called in ("emit", "_emit") and isinstance(first, ast.Constant) and isinstance(first.value, str):
                fields = {keyword.arg for keyword in node.keywords if keyword.arg is not None}
                yield first.value, fields, f"{path.relative_to(ROOT)}:{node.lineno}"


def documented() -> dict[str, tuple[str, str, str]]:
    return {name: (level, fields, meaning) for name, level, fields, meaning in _ROW.findall(PAGE.read_text("utf-8"))}


def test_all_that_the_code_emits_is_in_the_catalogue_with_its_fields() -> None:
    strange = [f"{where}: {name}" for name, _, where in emitted() if name not in EVENTS]
    strange += [
        f"{where}: {name} with {sorted(fields - set(EVENTS[name].fields))}"
        for name, fields, where in emitted()
        if name in EVENTS and not fields <= set(EVENTS[name].fields)
    ]
    assert strange == []


def test_all_that_is_in_the_catalogue_is_emitted_somewhere() -> None:
    # Twisted's own messages are made into events by the log writer.
    assert sorted(set(EVENTS) - {name for name, _, _ in emitted()} - {"log.twisted"}) == []


def test_the_page_and_the_catalogue_are_the_same() -> None:
    expected = {
        name: (kind.level, ", ".join(f"`{field}`" for field in kind.fields), kind.meaning)
        for name, kind in EVENTS.items()
    }
    written = documented()
    assert sorted(set(expected) - set(written)) == [], "missing from the page"
    assert sorted(set(written) - set(expected)) == [], "on the page only"
    assert written == expected


def test_every_limit_that_is_logged_is_on_the_page_and_no_other() -> None:
    said = set()
    for path in (ROOT / "napd").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
                values = [keyword.value for keyword in node.keywords if keyword.arg == "limit" and called == "emit"]
                values += node.args[:1] if called in ("_limit", "_turned_away") else []
                said |= {value.value for value in values if isinstance(value, ast.Constant)}
    page = PAGE.read_text("utf-8")
    table = page[page.index("| limit |") : page.index("## A peer's link")]
    assert said == set(re.findall(r"^\| `([a-z_.]+)` \|", table, re.MULTILINE))


@pytest.mark.parametrize("name", EVENTS)
def test_each_event_is_well_formed(name: str) -> None:
    kind = EVENTS[name]
    assert re.fullmatch(r"[a-z]+\.[a-z_]+", name)
    assert kind.level in ("debug", "info", "warn", "error")
    assert kind.meaning.endswith(".")
    assert not RESERVED & set(kind.fields)


def test_what_is_not_in_the_catalogue_is_a_bug_of_ours() -> None:
    events = Events(lambda: 1.0)
    for name, fields in (("no.such", {}), ("daemon.ready", {"colour": "red"})):
        with pytest.raises(LocalProtocolError):
            events.emit(name, **fields)


def test_the_contracts_events_are_all_there() -> None:
    contract = """daemon.ready daemon.stopping index.connected index.lost index.refused login.accepted login.denied
    session.opened session.closed session.replaced share.added share.removed share.refused share.unavailable
    catalogue.announced search.answered download.queued download.started download.waiting download.source_added
    download.source_lost download.chunk_rejected download.finished download.failed upload.started upload.finished
    upload.denied peer.misbehaved limit.hit"""
    assert set(contract.split()) <= set(EVENTS)


def test_the_page_is_where_the_catalogue_says() -> None:
    assert str(PAGE.relative_to(ROOT)) in Path(ROOT / "napd/ops/catalogue.py").read_text("utf-8")
