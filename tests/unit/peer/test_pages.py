"""The reference pages about peers know every code, state and message that the code has, and no others."""

from __future__ import annotations

import re
from typing import get_args

from napd.peer.fetch import feeding, fetching, lane, patience, recruits, requests
from napd.peer.serve import bulk, haves, outlet, reception, serving, slots, upload_turns, uploads
from napd.peer.sources import experience, pool, scoring
from napd.peer.sources.addresses import LAST_BACK_OFF_S
from napd.peer.sources.source import SourceState
from napd.peer.sources.standings import LIAR_BAN_S, MERCY_S, PAROLE_CHUNKS, REFUSAL_BAN_S
from napd.wire import peer as wire
from tests.support.processes import ROOT

REFERENCE = ROOT / "docs" / "reference"
SOURCES = (REFERENCE / "sources.md").read_text("utf-8")
PROTOCOL = (REFERENCE / "peer-protocol.md").read_text("utf-8")


def codes(*modules: object) -> set[str]:
    """Error codes that stand literally in these modules."""
    found: set[str] = set()
    for module in modules:
        text = (ROOT / f"{module.__name__.replace('.', '/')}.py").read_text("utf-8")  # type: ignore[attr-defined]
        found |= set(re.findall(r'code="([a-z_]+)"', text))
    return found


def in_tables(page: str) -> set[str]:
    """What stands in the first columns of the page's tables."""
    cells = re.findall(r"^\| (`[^|]*`) \|", page, re.MULTILINE)
    return {word for cell in cells for word in re.findall(r"`([a-z_]+)`", cell)}


def test_every_code_that_a_source_is_left_for_is_explained() -> None:
    assert codes(fetching, requests, feeding, lane, pool) - in_tables(SOURCES) == set()


def test_every_state_of_a_source_is_explained() -> None:
    assert {state.value for state in SourceState} | {"active", "queued", "banned"} <= in_tables(SOURCES)


def test_every_code_of_a_goodbye_is_in_the_protocol() -> None:
    told = codes(serving) | {"bad_ticket", "expired", "shutdown"}
    assert told - in_tables(PROTOCOL) == set()


def test_every_message_is_in_the_protocol_and_no_other() -> None:
    kinds = {kind.__struct_config__.tag for kind in (*get_args(wire.FromFetcher), *get_args(wire.FromServer))}
    headings = re.findall(r"^### .*$", PROTOCOL, re.MULTILINE)
    described = {word for heading in headings for word in re.findall(r"`([a-z_]+)`", heading)}
    assert described == kinds


def test_every_field_of_a_message_is_in_the_protocol() -> None:
    for kind in {*get_args(wire.FromFetcher), *get_args(wire.FromServer)}:
        for name in kind.__struct_fields__:
            assert f"`{name}`" in PROTOCOL, f"{kind.__name__}.{name}"


def test_figures_are_those_of_the_code() -> None:
    assert f"up to {wire.MAX_OUTSTANDING}" in PROTOCOL
    assert f"{outlet.UNREAD_S:.0f} s" in PROTOCOL
    assert f"| 1…{wire.MAX_RUN} (1) |" in PROTOCOL
    assert f"At most {wire.MAX_HAVES} at a time" in PROTOCOL
    assert f"at most every {haves.SPACING_S:g} s" in PROTOCOL
    assert f"a file, {slots.TURN_BYTES >> 20} MiB, {slots.TURN_S:.0f} s" in PROTOCOL
    assert f"loses it after {bulk.STUCK_S + upload_turns.WATCH_S:.0f} s; {bulk.SLOW_S:.0f} s" in PROTOCOL
    assert f"open between requests | {uploads.MAX_OPEN}; " in PROTOCOL
    assert f"| {upload_turns.MAX_CONTENTS_PER_USER:,}; then `busy` |" in PROTOCOL
    assert f"| {reception.MAX_LINKS}, {reception.MAX_LINKS_PER_HOST}, {upload_turns.MAX_LINKS_PER_USER} |" in PROTOCOL
    assert (LIAR_BAN_S, REFUSAL_BAN_S, LAST_BACK_OFF_S) == (3600, 30, 60)
    assert "for an hour" in SOURCES
    assert "for 30 s" in SOURCES
    assert "up to 60 s" in SOURCES
    assert f"{PAROLE_CHUNKS} good" in SOURCES
    assert f"At most {pool.DEFAULT_PLACES} sources are" in SOURCES
    assert f"At most {pool.DEFAULT_PER_SOURCE} downloads are at work with one" in SOURCES
    assert f"up to {recruits.HEAD_START_S} s" in SOURCES
    assert f"{scoring.PLACE_S:.0f} s for each place" in SOURCES
    assert f"the {experience.MAX_PEERS:,} peers" in SOURCES
    assert f"every {experience.HALF_LIFE_S / 86_400:.0f} days" in SOURCES
    assert f"after {MERCY_S:.0f} s" in SOURCES
    assert f"{patience.DOUBT_S} s" in SOURCES
    assert f"sent no byte for {patience.STALL_S:.0f} s" in SOURCES
    assert f"for {patience.PROOF_S:.0f} s after" in SOURCES
