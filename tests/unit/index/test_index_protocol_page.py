"""docs/reference/index-protocol.md says what the code does: messages, fields, codes, figures, test vectors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from msgspec import Struct

from napd.index.doorway import ANEW_PER_S, MAX_TOLD
from napd.index.limits import Limits
from napd.index.session import LOGIN_S
from napd.wire import index as wire
from napd.wire.catalogue import Entry, Media, catalogue_digest, entry_digest
from napd.wire.line import MAX_LINE_BYTES

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "index-protocol.md").read_text("utf-8")
MESSAGES = sorted({*get_args(wire.FromPeer), *get_args(wire.FromIndex)}, key=lambda kind: str(kind.__name__))


def section(tag: str) -> str:
    """The part of the page that is about this message."""
    found = re.search(rf"^### [→←][^\n]*`{tag}`.*?(?=^##)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no section about {tag}"
    return found[0]


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_every_message_has_a_section_that_names_all_its_fields(kind: type[Struct]) -> None:
    text = section(str(kind.__struct_config__.tag))
    for name in kind.__struct_fields__:
        assert f"`{name}`" in text, f"{kind.__name__}.{name}"


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_the_arrow_says_who_may_say_it(kind: type[Struct]) -> None:
    heading = section(str(kind.__struct_config__.tag)).partition("\n")[0]
    assert ("→" in heading) is (kind in get_args(wire.FromPeer))
    assert ("←" in heading) is (kind in get_args(wire.FromIndex))


def test_there_is_no_section_about_anything_else() -> None:
    named = {tag for line in re.findall(r"^### [→←].*$", PAGE, re.MULTILINE) for tag in re.findall(r"`(\w+)`", line)}
    assert named == {str(kind.__struct_config__.tag) for kind in MESSAGES}


def test_fields_of_entries_results_sources_and_users_are_named() -> None:
    for kind, text in (
        (Entry, PAGE[PAGE.index("## The catalogue") :]),
        (Media, PAGE[PAGE.index("## The catalogue") :]),
        (wire.Result, section("results")),
        (wire.Source, section("sources")),
        (wire.UserRow, section("user_list")),
        (wire.Limits, section("welcome")),
    ):
        for name in kind.__struct_fields__:
            assert f"`{name}`" in text, f"{kind.__name__}.{name}"


def test_the_codes_after_which_a_peer_stays_away_are_those_of_the_page() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]* \| ([^|]*) \|$", section("bye"), re.MULTILINE)
    assert {code for code, again in rows if again.strip() == "no"} == wire.FINAL_CODES
    assert {code for code, _ in rows} - wire.FINAL_CODES == {"malformed", "limit", "shutdown"}


def test_the_figures_are_those_of_the_code() -> None:
    limits = Limits()
    for figure in (
        f"{MAX_LINE_BYTES:,} bytes",
        f"every {wire.HEARTBEAT_S:.0f} s",
        f"After {wire.DEAD_AFTER_S:.0f} s",
        f"within {LOGIN_S:.0f} s",
        f"At most {wire.ANNOUNCE_WINDOW} may be open",
        f"up to {wire.MAX_BATCH} entries",
        f"At most {wire.MAX_OUTSTANDING} requests",
        f"At most {wire.MAX_SEEKS:,} contents",
        f"up to {wire.MAX_SEEK_BATCH} hex64",
        f"up to {wire.MAX_UNWISH_BATCH} of those numbers",
        f"| up to {wire.MAX_WISHED} |",
        f"1…{wire.MAX_PAGE} (100)",
        f"up to {wire.MAX_USERS_TOLD} of them by name",
        f"up to {wire.MAX_SOURCES_TOLD} of `peer`",
        f"up to {wire.MAX_PARTIALS} hex64 each",
        f"At most {wire.MAX_PARTIALS} contents at a time",
        f"up to {wire.MAX_PARTIAL_TOLD}, after all",
        f"{limits.searches_per_s:.0f} searches a second in the long run, {limits.search_burst} at once",
        f"beyond {limits.connections_per_address} from one address",
        f"than {limits.connections_per_address * ANEW_PER_S:.0f} a second in the long run",
        f"{limits.connections_per_address + MAX_TOLD} at once",
        f"{limits.connections:,} in all",
        f"Beyond {limits.error_burst} such errors",
    ):
        assert figure in " ".join(PAGE.split()), figure


def test_the_test_vectors_are_right() -> None:
    rows = re.findall(r"^\| `(\{.*\})` \| `([0-9a-f]{64})` \|$", PAGE, re.MULTILINE)
    entries = [msgspec.json.decode(text, type=Entry) for text, _ in rows]
    assert len(rows) == 3
    assert [entry_digest(entry).hex() for entry in entries] == [digest for _, digest in rows]
    alone, together = re.findall(r"`([0-9a-f]{64})`", PAGE[PAGE.index("Catalogue digest of the first") :])[:2]
    assert (catalogue_digest(entries[:1]), catalogue_digest(entries)) == (alone, together)
