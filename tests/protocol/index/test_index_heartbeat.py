"""The heartbeat's last look, when the clock's sums are not exact."""

from __future__ import annotations

from napd.wire import index as wire
from tests.support.index_script import IndexScript


def test_a_silent_session_whose_time_is_all_but_up_is_over() -> None:
    """Found by simulation (seed 48): what was left of the time was too little to move the clock, again and again."""
    index = IndexScript()
    index.clock.rightNow = 22.876
    peer = index.online("ada")
    index.clock.advance(3.781)
    peer.say(wire.Ping())
    peer.heard()
    for _ in range(4):
        # Exactly when it wants to be called: steps of another size would hide it.
        index.clock.rightNow = min(call.getTime() for call in index.clock.getDelayedCalls())
        index.settle()

    assert peer.is_gone()
    assert len(peer.all(wire.Ping)) == 3
