"""Whose address the index dials next: peers in turn, few at a time of each, and nobody for ever."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred

from napd.index.dial_turns import MOST_PER_PEER, OLDEST_EVERY, DialTurns
from napd.model import PeerId

ADA, BOB, CYD = (PeerId(name) for name in ("ada", "bob", "cyd"))


def begun(turns: list[Deferred[None]]) -> list[bool]:
    return [turn.called for turn in turns]


def test_one_peer_never_has_all_places() -> None:
    dials = DialTurns(4)
    adas = [dials.begin(ADA) for _ in range(8)]
    assert sum(begun(adas)) == MOST_PER_PEER
    assert dials.begin(BOB).called


def test_who_had_the_fewest_comes_first() -> None:
    dials = DialTurns(1)
    ada = dials.begin(ADA)
    adas = [dials.begin(ADA) for _ in range(3)]
    bob, cyd = dials.begin(BOB), dials.begin(CYD)
    assert begun([ada, bob, cyd]) == [True, False, False]
    dials.end(ADA)
    dials.end(BOB)
    assert begun([bob, cyd]) == [True, True]
    assert not any(begun(adas))


def test_a_row_of_newcomers_keeps_nobody_waiting_for_ever() -> None:
    dials = DialTurns(1)
    assert dials.begin(ADA).called
    second = dials.begin(ADA)
    holding = ADA
    for number in range(2 * OLDEST_EVERY):
        coming = PeerId(f"new{number}")
        dials.begin(coming)
        dials.end(holding)
        holding = ADA if second.called else coming
        if second.called:
            return
    raise AssertionError("ada's second address was never dialled")


def test_who_waits_no_more_leaves_no_trace() -> None:
    dials = DialTurns(1)
    dials.begin(ADA)
    bob = dials.begin(BOB)
    bob.addErrback(lambda failure: failure.trap(CancelledError))
    bob.cancel()
    cyd = dials.begin(CYD)
    dials.end(ADA)
    assert cyd.called


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([ADA, BOB, CYD]), st.booleans()), max_size=60), st.integers(1, 4))
def test_no_place_is_free_while_somebody_could_have_it(steps: list[tuple[PeerId, bool]], most: int) -> None:
    dials = DialTurns(most)
    turns: list[tuple[PeerId, Deferred[None]]] = []
    for peer, begins in steps:
        if begins:
            turns.append((peer, dials.begin(peer)))
        else:
            mine = next((entry for entry in turns if entry[0] == peer and entry[1].called), None)
            if mine is not None:
                turns.remove(mine)
                dials.end(peer)
        going = [entry[0] for entry in turns if entry[1].called]
        waiting = [entry[0] for entry in turns if not entry[1].called]
        assert len(going) <= most
        assert all(going.count(one) <= MOST_PER_PEER for one in going)
        assert len(going) == most or all(going.count(one) == MOST_PER_PEER for one in waiting)


def test_dials_that_end_at_once_are_no_recursion() -> None:
    dials = DialTurns(1)
    assert dials.begin(ADA).called
    ended = []
    for number in range(2000):
        peer = PeerId(f"peer{number}")

        def over(_: None, peer: PeerId = peer) -> None:
            ended.append(peer)
            dials.end(peer)

        dials.begin(peer).addCallback(over)
    dials.end(ADA)
    assert len(ended) == 2000
