"""Tickets: an index's word, good for one peer for a time, and for nobody else."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from napd.errors import Denied
from napd.model import PeerId
from napd.net.identity import Identity, PublicKey, load_identity, new_identity
from napd.wire.ticket import LEEWAY_S, Claims, check, pack, signed_bytes, unpack
from tests.support.processes import ROOT

INDEX = new_identity()
PEER = new_identity()
ISSUED = 1_700_000_000.0
EXPIRES = ISSUED + 86_400


def claims(**changes: Any) -> Claims:
    plain = Claims(
        index=INDEX.id,
        account="a1",
        user="ada",
        peer=PEER.id,
        groups=("staff",),
        issued=ISSUED,
        expires=EXPIRES,
        key=INDEX.id,
    )
    return msgspec.structs.replace(plain, **changes)


def ticket(signer: Identity = INDEX, **changes: Any) -> str:
    return signer.sign_ticket(msgspec.json.encode(claims(**changes)))


def judge(text: str, peer: PeerId = PEER.id, now: float = ISSUED + 10) -> Claims:
    return INDEX.public.check_ticket(text, peer=peer, now=now)


def refusal(text: str, peer: PeerId = PEER.id, now: float = ISSUED + 10) -> str:
    with pytest.raises(Denied) as told:
        judge(text, peer, now)
    return told.value.code


def test_a_good_ticket_says_who_the_peer_is() -> None:
    assert judge(ticket()) == claims()


def test_a_ticket_is_two_words_of_base64url_without_padding() -> None:
    text = ticket()
    assert text.count(".") == 1
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


def test_somebody_else_s_signature_is_refused() -> None:
    assert refusal(ticket(signer=new_identity())) == "bad_ticket"


def test_a_ticket_that_names_another_index_is_refused() -> None:
    assert refusal(ticket(index=new_identity().id)) == "bad_ticket"


def test_a_ticket_shown_by_another_peer_is_refused() -> None:
    assert refusal(ticket(), peer=new_identity().id) == "bad_ticket"


@pytest.mark.parametrize(
    ("now", "good"),
    [
        (ISSUED - LEEWAY_S - 1, False),
        (ISSUED - LEEWAY_S, True),
        (ISSUED, True),
        (EXPIRES, True),
        (EXPIRES + LEEWAY_S, True),
        (EXPIRES + LEEWAY_S + 1, False),
        (0.0, False),
    ],
)
def test_a_ticket_holds_from_issue_to_expiry_with_five_minutes_leeway(now: float, good: bool) -> None:
    assert LEEWAY_S == 300
    if good:
        assert judge(ticket(), now=now)
    else:
        assert refusal(ticket(), now=now) == "expired"


def test_claims_that_were_changed_after_signing_are_refused() -> None:
    _, body, signature = unpack(ticket())
    assert refusal(pack(body.replace(b'"ada"', b'"eve"'), signature)) == "bad_ticket"


def test_a_signature_for_another_purpose_is_refused() -> None:
    body = msgspec.json.encode(claims())
    assert refusal(pack(body, INDEX.private_key.sign(body))) == "bad_ticket"
    assert refusal(pack(body, INDEX.private_key.sign(b"nap/successor/1\0" + body))) == "bad_ticket"


def test_the_signature_covers_the_bytes_as_they_were_sent_not_what_they_mean() -> None:
    spaced = json.dumps(json.loads(msgspec.json.encode(claims())), indent=1).encode()
    text = pack(spaced, INDEX.private_key.sign(signed_bytes(spaced)))
    assert judge(text) == claims()


def test_fields_of_a_later_version_are_ignored() -> None:
    body = json.dumps({**json.loads(msgspec.json.encode(claims())), "colour": "blue"}).encode()
    assert judge(INDEX.sign_ticket(body)) == claims()


@pytest.mark.parametrize("user", ["Ada", "", "a b", "-a", "x" * 33, "ada\n"])
def test_a_ticket_with_a_user_name_that_is_none_is_refused(user: str) -> None:
    assert refusal(ticket(user=user)) == "bad_ticket"


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "a.b", "a.b.c", "e30.e30", "not a ticket", "ü.ü", "=.=", "[" * 4000 + "." + "[" * 90, "\x00.\x00"],
)
def test_what_is_no_ticket_is_refused(text: str) -> None:
    assert refusal(text) == "bad_ticket"


def test_deep_nesting_in_a_ticket_is_refused() -> None:
    assert refusal(INDEX.sign_ticket(b'{"x":' + b"[" * 3000 + b"]" * 3000 + b"}")) == "bad_ticket"


@settings(deadline=None)
@given(st.text(max_size=300) | st.binary(max_size=200).map(lambda b: base64.urlsafe_b64encode(b).decode() + ".AA"))
def test_any_text_is_refused_as_a_ticket(text: str) -> None:
    assert refusal(text) == "bad_ticket"


@settings(deadline=None)
@given(st.data())
def test_any_changed_character_spoils_a_ticket(data: st.DataObject) -> None:
    text = ticket()
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("AQgw_-.z9").filter(lambda c: c != text[at]))
    changed = text[:at] + other + text[at + 1 :]
    before, after = unpack(text), _unpacked(changed)
    if after is not None and before[1:] == after[1:]:
        # The last character of a word has bits that mean nothing.
        return
    assert refusal(changed) == "bad_ticket"


def _unpacked(text: str) -> tuple[Claims, bytes, bytes] | None:
    try:
        return unpack(text)
    except Denied:
        return None


def test_check_judges_claims_alone() -> None:
    check(claims(), index=INDEX.id, peer=PEER.id, now=ISSUED)
    with pytest.raises(Denied):
        check(claims(), index=PEER.id, peer=PEER.id, now=ISSUED)


# --- The test vector of docs/reference/tickets.md -------------------------------------------------


def vector() -> dict[str, str]:
    """The document's block of ``name: value`` lines."""
    text = (ROOT / "docs" / "reference" / "tickets.md").read_text("utf-8")
    block = text.partition("## Test vector")[2].partition("```\n")[2].partition("```")[0]
    return dict(line.split(": ", 1) for line in block.splitlines())


def test_the_documented_ticket_is_what_we_sign_and_accept(tmp_path: Path) -> None:
    told = vector()
    seed = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(told["index private key"]))
    key = tmp_path / "key.pem"
    key.write_bytes(seed.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    index = load_identity(key)
    body = told["claims"].encode()

    assert told["index public key"] == index.private_key.public_key().public_bytes_raw().hex()
    assert told["index id"] == index.id
    assert told["signed"] == signed_bytes(body).hex()[: len(told["signed"].rstrip("…"))] + "…"
    assert told["signature"] == unpack(told["ticket"])[2].hex()
    assert told["ticket"] == index.sign_ticket(body)
    decoded = index.public.check_ticket(told["ticket"], peer=PeerId(told["peer id"]), now=1767225600.0)
    assert msgspec.json.encode(decoded) == body
    peer_key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(told["peer private key"])).public_key()
    assert PublicKey.of(peer_key).id == told["peer id"]
