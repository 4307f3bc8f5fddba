"""How long a source has kept us waiting, and what it gave meanwhile. Pure: the caller brings the time.

Only its own time counts: not that in which nothing was owed, in which our own limit kept us from reading, or in which
this daemon was late.
"""

from __future__ import annotations

from attrs import define, field

from ...wire.peer import DEAD_AFTER_S
from ..sources.throughput import Throughput

#: Seconds without a byte, while something is owed and it is not our turn to wait, after which others are asked for it,
#: and after which the source is left. A disk that has to start up takes longer than the first.
DOUBT_S = 2.5
STALL_S = 10.0
#: Seconds within which a source that is said to have come back has to give a sign of life on a link from before.
PROOF_S = 2.0
#: How often `look` is to be called.
WATCH_S = 0.5
#: Seconds after a pause for our own limit in which a source's pace says nothing about it.
THROTTLED_S = 1.0


@define
class Patience:
    """Of one link. `stuck_s`: since the last byte of what is owed; `silent_s`: since the last sign of life."""

    throughput: Throughput = field(factory=Throughput)
    owed: bool = False
    stuck_s: float = 0.0
    silent_s: float = 0.0
    _heard_at: float = 0.0
    _progress_at: float = 0.0
    _looked_at: float = 0.0
    _proof_since: float | None = None
    _paused: bool = False
    _throttled_until: float = 0.0

    # --- What happens ----------------------------------------------------------------------------

    def heard(self, now: float) -> None:
        """A sign of life."""
        self._heard_at = now
        self.silent_s = 0.0

    def progressed(self, now: float, size: int = 0) -> None:
        """Something of what is owed has come."""
        self.heard(now)
        self._progress_at = now
        self.stuck_s = 0.0
        self._measure(now, size)

    def owes(self, now: float, owed: bool) -> None:
        """Whether something is owed from now on; if nothing was before, its time begins now."""
        self._measure(now)
        if owed and not self.owed:
            self._progress_at = now
            self.stuck_s = 0.0
        self.owed = owed

    def pause(self, now: float, delay_s: float) -> None:
        """Our own limit keeps us from reading."""
        self._paused = True
        self._throttled_until = now + delay_s + THROTTLED_S

    def resume(self, now: float) -> None:
        self.progressed(now)
        self._paused = False

    def ask_for_proof(self, now: float) -> None:
        """It is said to have come back: what is heard from now on proves that this link is not of the time before."""
        self._proof_since = now
        self.silent_s = 0.0

    # --- What that means -------------------------------------------------------------------------

    def look(self, now: float) -> str | None:
        """Add up how long we have waited; why the source is to be left, if it is.

        A look that comes late is this end's fault, so none counts double.
        """
        since, self._looked_at = self._looked_at, now
        self._measure(now)
        if not self._paused:
            self.silent_s += min(max(0.0, now - max(since, self._heard_at)), 2 * WATCH_S)
            if self.owed:
                self.stuck_s += min(max(0.0, now - max(since, self._progress_at)), 2 * WATCH_S)
            else:
                self.stuck_s = 0.0
        if self._proof_since is not None and self._heard_at > self._proof_since:
            self._proof_since = None
        if self.stuck_s >= STALL_S:
            # A source that answers pings and nothing else is alive, and of no use.
            return f"no byte for {STALL_S:.0f} s"
        if self.silent_s >= (DEAD_AFTER_S if self._proof_since is None else PROOF_S):
            return "the source is silent"
        return None

    @property
    def doubtful(self) -> bool:
        """It owes something and sends nothing: what it was asked for had better be asked of others."""
        return self.stuck_s >= DOUBT_S

    def throttled(self, now: float) -> bool:
        """Our own limit slows it down: its pace says nothing about it."""
        return self._paused or now < self._throttled_until

    def _measure(self, now: float, size: int = 0) -> None:
        """Count what has come, and the time since the last call if something was owed in it."""
        if self.throttled(now):
            self.throughput.skip(now)
        else:
            self.throughput.note(size, now, busy=self.owed)
