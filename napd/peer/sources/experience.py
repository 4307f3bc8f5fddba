"""What past transfers taught about each peer: its pace, how near it is, how often it failed. Kept between runs.

What was learnt loses half its weight with each `HALF_LIFE_S`; what has lost almost all of it is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attrs import define, frozen

from ...model import PeerId
from .scoring import Facts

#: Seconds in which what was learnt loses half its weight.
HALF_LIFE_S = 7 * 86_400.0
#: Below this weight a pace is not believed any more.
LEAST_WEIGHT = 0.1
#: Busy seconds after which a new pace counts for half of what is remembered.
LEARNING_S = 10.0
#: Peers that are remembered; the one that was not used for longest is forgotten first.
MAX_PEERS = 1000
#: Seconds between two times that what was learnt is written down: a crash costs that much of it.
SAVE_S = 30.0
#: A chunk more or less makes no difference beyond so many.
MOST_GOOD = 1000.0


@frozen
class Lesson:
    """One peer as it is remembered. `as_of`: seconds since 1970."""

    peer: PeerId
    bytes_per_s: float | None
    rtt_s: float | None
    good: float
    bad: float
    as_of: float


@define
class _Learnt:
    bytes_per_s: float | None = None
    rtt_s: float | None = None
    good: float = 0.0
    bad: float = 0.0
    as_of: float = 0.0


class Experience:
    """:param now: seconds since 1970.
    :param lessons: what was kept, in any order.
    :param save: keeps lessons for the next start, or says later that it could not.
    """

    def __init__(
        self,
        now: Callable[[], float],
        lessons: Iterable[Lesson],
        save: Callable[[Sequence[Lesson], Callable[[], None]], object],
    ) -> None:
        self._now = now
        self._save = save
        self._saved_at = now()
        self._changed: dict[PeerId, None] = {}
        self._known: dict[PeerId, _Learnt] = {}
        for kept in sorted(lessons, key=lambda lesson: lesson.as_of)[-MAX_PEERS:]:
            self._known[kept.peer] = _Learnt(kept.bytes_per_s, kept.rtt_s, kept.good, kept.bad, kept.as_of)

    def facts(self, peer: PeerId) -> Facts:
        learnt = self._known.get(peer)
        if learnt is None:
            return Facts()
        fade = self._fade(learnt)
        pace = learnt.bytes_per_s if fade >= LEAST_WEIGHT else None
        return Facts(pace, learnt.rtt_s, good=learnt.good * fade, bad=learnt.bad * fade)

    # --- Learning --------------------------------------------------------------------------------

    def measured(self, peer: PeerId, bytes_per_s: float, busy_s: float, rtt_s: float | None) -> None:
        """It gave so much over so many busy seconds."""
        learnt = self._used(peer)
        if learnt.bytes_per_s is None:
            learnt.bytes_per_s = bytes_per_s
        else:
            learnt.bytes_per_s += (bytes_per_s - learnt.bytes_per_s) * (1 - 0.5 ** (busy_s / LEARNING_S))
        if rtt_s is not None:
            learnt.rtt_s = rtt_s if learnt.rtt_s is None else (3 * learnt.rtt_s + rtt_s) / 4

    def succeeded(self, peer: PeerId) -> None:
        """A chunk came and was right."""
        learnt = self._used(peer)
        learnt.good = min(MOST_GOOD, learnt.good + 1)

    def failed(self, peer: PeerId) -> None:
        """It could not be reached, broke off, stalled or sent something wrong."""
        self._used(peer).bad += 1

    # --- Keeping ---------------------------------------------------------------------------------

    def keep(self, *, at_once: bool = False) -> None:
        """Write down what was learnt since the last time, unless that was just now."""
        if not self._changed or (self._now() - self._saved_at < SAVE_S and not at_once):
            return
        changed, self._changed = self._changed, {}
        self._saved_at = self._now()
        lessons = [_lesson(peer, self._known[peer]) for peer in changed if peer in self._known]
        self._save(lessons, lambda: self._not_saved(changed))

    def _not_saved(self, changed: Iterable[PeerId]) -> None:
        """The next time takes these along."""
        self._changed = {peer: None for peer in (*changed, *self._changed) if peer in self._known}

    def _used(self, peer: PeerId) -> _Learnt:
        """Its entry, aged to now, as the one used last."""
        learnt = self._known.pop(peer, None) or _Learnt(as_of=self._now())
        fade = self._fade(learnt)
        learnt.good *= fade
        learnt.bad *= fade
        if fade < LEAST_WEIGHT:
            learnt.bytes_per_s = None
        learnt.as_of = self._now()
        self._known[peer] = learnt
        self._changed[peer] = None
        if len(self._known) > MAX_PEERS:
            del self._known[next(iter(self._known))]
        return learnt

    def _fade(self, learnt: _Learnt) -> float:
        return float(0.5 ** (max(0.0, self._now() - learnt.as_of) / HALF_LIFE_S))


def _lesson(peer: PeerId, learnt: _Learnt) -> Lesson:
    return Lesson(peer, learnt.bytes_per_s, learnt.rtt_s, learnt.good, learnt.bad, learnt.as_of)
