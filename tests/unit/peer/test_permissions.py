"""Who may fetch: one open listing is enough, and no listing opens nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napd.model import EVERYONE
from napd.peer.serve.permissions import may_fetch
from napd.wire.ticket import Claims


def claims(account: str = "a1", groups: tuple[str, ...] = ()) -> Claims:
    return Claims(
        index="a" * 52, account=account, user="ada", peer="b" * 52, groups=groups, issued=0.0, expires=1.0, key="a" * 52
    )


@pytest.mark.parametrize(
    ("audiences", "allowed"),
    [
        ([], False),
        ([()], False),
        ([(EVERYONE,)], True),
        ([("staff",)], True),
        ([("guests",)], False),
        ([("guests", "staff")], True),
        ([("@a1",)], True),
        ([("@a2",)], False),
        # Another listing of the same content that is open opens the content.
        ([("guests",), ("@a1",)], True),
        # An account's id without its mark is the name of a group.
        ([("a1",)], False),
        # It is the account that counts, never the name.
        ([("@ada",)], False),
        ([("Staff",)], False),
    ],
)
def test_an_audience_opens_to_its_members(audiences: list[tuple[str, ...]], allowed: bool) -> None:
    assert may_fetch(claims(groups=("staff", "music")), audiences) is allowed


words = st.sampled_from(["staff", "guests", "@a1", "@a2", "a1"])


@settings(deadline=None)
@given(st.lists(st.lists(words, max_size=3), max_size=3), st.sets(st.sampled_from(["staff", "guests"])))
def test_an_empty_audience_and_no_listing_are_the_same_answer(audiences: list[list[str]], groups: set[str]) -> None:
    asker = claims(groups=tuple(groups))
    allowed = may_fetch(asker, audiences)
    assert allowed == any(member in groups or member == "@a1" for audience in audiences for member in audience)
    assert may_fetch(asker, [*audiences, ()]) == allowed
    assert may_fetch(asker, [*audiences, (EVERYONE,)])
