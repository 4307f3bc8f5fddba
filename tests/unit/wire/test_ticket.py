"""Tickets: an index's word, good for one peer for a time, and for nobody else."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from napd.errors import Denied
from napd.model import PeerId
from napd.net.identity import Identity, PublicKey, new_identity
from napd.wire.ticket import LEEWAY_S, Claims, check, pack, signed_bytes, unpack

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

INDEX_SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PEER_SEED = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
VECTOR_BODY = (
    b'{"index":"a3r73d62fg5wbk2zkv66mhw3blwnwiyrgs7dbz23ivpy4g3zf6uq","account":"5f1d7a84db2be6a4","user":"ada",'
    b'"peer":"32zn5u45yjx44dtaqw3pynf7nnmudej3x7rouykbcph7tyaeyfya","groups":["staff"],"issued":1767225600.0,'
    b'"expires":1767312000.0,"key":"a3r73d62fg5wbk2zkv66mhw3blwnwiyrgs7dbz23ivpy4g3zf6uq"}'
)
