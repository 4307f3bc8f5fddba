"""Parole and bans: a slip is no verdict, lies are, and nobody is left alone for ever."""

from __future__ import annotations

import pytest

from napd.model import ContentId, PeerId
from napd.peer.sources.standings import LIAR_BAN_S, MAX_REMEMBERED, MERCY_S, PAROLE_CHUNKS, REFUSAL_BAN_S, Standings

SONG, FILM = ContentId("1" * 64), ContentId("2" * 64)
ADA, BOB = PeerId("ada"), PeerId("bob")


@pytest.fixture
def standings() -> Standings:
    return Standings()


def test_a_wrong_chunk_is_parole_for_that_content_alone(standings: Standings) -> None:
    assert not standings.rejected(SONG, ADA)
    assert standings.on_parole(SONG, ADA)
    assert not standings.on_parole(FILM, ADA)
    assert not standings.on_parole(SONG, BOB)


def test_another_wrong_chunk_on_parole_is_to_be_a_ban(standings: Standings) -> None:
    standings.rejected(SONG, ADA)
    assert standings.rejected(SONG, ADA)


def test_enough_good_chunks_end_a_parole(standings: Standings) -> None:
    standings.rejected(SONG, ADA)
    assert [standings.accepted(SONG, ADA) for _ in range(PAROLE_CHUNKS)] == [True] * (PAROLE_CHUNKS - 1) + [False]
    assert not standings.rejected(SONG, ADA)


def test_good_chunks_of_one_who_never_lied_cost_nothing(standings: Standings) -> None:
    assert not standings.accepted(SONG, ADA)
    assert standings._standings == {}


def test_bans_end_by_themselves_and_a_liar_s_ends_in_parole(standings: Standings) -> None:
    standings.ban(SONG, ADA, "integrity", 0.0)
    standings.ban(SONG, BOB, "gone", 0.0)
    assert (standings.ban_code(SONG, ADA, 1.0), standings.ban_code(SONG, BOB, 1.0)) == ("integrity", "gone")
    assert standings.ban_code(FILM, ADA, 1.0) is None
    assert standings.ban_code(SONG, BOB, REFUSAL_BAN_S) is None
    assert standings.ban_code(SONG, ADA, LIAR_BAN_S - 1) == "integrity"
    assert standings.ban_code(SONG, ADA, LIAR_BAN_S) is None
    assert standings.on_parole(SONG, ADA)
    assert not standings.on_parole(SONG, BOB)


def test_mercy_comes_later_with_each_ban_and_never_later_than_the_ban_s_own_end(standings: Standings) -> None:
    waits = []
    now = 0.0
    for _ in range(10):
        standings.ban(SONG, ADA, "integrity", now)
        standings.have_mercy(SONG, ADA, now)
        waits.append(standings.ban_left_s(SONG, ADA, now))
        now += waits[-1]
        assert standings.ban_code(SONG, ADA, now) is None
        assert standings.on_parole(SONG, ADA)
    assert waits[:3] == [MERCY_S, 2 * MERCY_S, 4 * MERCY_S]
    assert waits[-1] == LIAR_BAN_S


def test_a_served_parole_starts_mercy_over(standings: Standings) -> None:
    for _ in range(3):
        standings.ban(SONG, ADA, "integrity", 0.0)
    for _ in range(PAROLE_CHUNKS):
        standings.accepted(SONG, ADA)
    standings.ban(SONG, ADA, "integrity", 0.0)
    standings.have_mercy(SONG, ADA, 0.0)
    assert standings.ban_left_s(SONG, ADA, 0.0) == MERCY_S


def test_mercy_is_for_liars_only(standings: Standings) -> None:
    standings.ban(SONG, ADA, "busy", 0.0)
    standings.have_mercy(SONG, ADA, 0.0)
    assert standings.ban_left_s(SONG, ADA, 0.0) == REFUSAL_BAN_S
    standings.have_mercy(SONG, BOB, 0.0)


def test_who_comes_back_is_asked_again_but_no_liar(standings: Standings) -> None:
    standings.ban(SONG, ADA, "integrity", 0.0)
    standings.ban(SONG, BOB, "gone", 0.0)
    for peer in (ADA, BOB):
        standings.came_back(SONG, peer)
    assert standings.ban_code(SONG, ADA, 1.0) == "integrity"
    assert standings.ban_code(SONG, BOB, 1.0) is None
    standings.pardon(SONG)
    assert standings.ban_code(SONG, ADA, 1.0) is None


def test_what_is_remembered_has_a_bound(standings: Standings) -> None:
    for number in range(MAX_REMEMBERED + 10):
        standings.rejected(SONG, PeerId(str(number)))
    assert len(standings._standings) == MAX_REMEMBERED
    assert not standings.on_parole(SONG, PeerId("0"))
    assert standings.on_parole(SONG, PeerId(str(MAX_REMEMBERED)))


@pytest.mark.parametrize(("said", "left"), [(None, REFUSAL_BAN_S), (5.0, 5.0), (0.0, 1.0), (1e9, 3600.0)])
def test_who_says_when_to_ask_again_is_believed_within_bounds(
    standings: Standings, said: float | None, left: float
) -> None:
    standings.ban(SONG, ADA, "busy", 100.0, said)
    assert standings.ban_left_s(SONG, ADA, 100.0) == left
