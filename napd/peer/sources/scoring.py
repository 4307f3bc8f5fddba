"""Which source is expected to give most. Pure: facts in, a score with its parts out.

A score is the bytes per second that a source should give for the next `JOB_BYTES`, the first byte's way included:

    JOB_BYTES / (queue_s + rtt_s + JOB_BYTES / bytes_per_s) × reliability

so "fastest or nearest" is answered by what was measured, and every part is in units that a person can check.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from attrs import frozen

#: What a source is imagined to be asked for: a full window. Of smaller jobs the way is a larger part.
JOB_BYTES = 16 << 20
#: What one that was never measured is expected to give, and how far away it is.
UNKNOWN_BYTES_PER_S = 1e6
UNKNOWN_RTT_S = 0.05
#: Seconds that a place in a source's queue costs, when it tells no estimate.
PLACE_S = 30.0
#: A failure counts as much as so many chunks that came.
FAILURE_CHUNKS = 8.0
#: So many chunks are taken for granted, so that a first failure is no verdict.
BENEFIT_OF_DOUBT = 4.0
#: One of so many places at work is kept for sources that were never measured, but at least one.
EXPLORE_PART = 4

K = TypeVar("K", bound=Hashable)


@frozen
class Facts:
    """What is known of a source. `good`: chunks that came and were right; `bad`: failures, wrong chunks; both aged."""

    bytes_per_s: float | None = None
    rtt_s: float | None = None
    queue_position: int | None = None
    queue_s: float | None = None
    good: float = 0.0
    bad: float = 0.0


@frozen
class Score:
    """`bytes_per_s` is the score; the others are its parts."""

    bytes_per_s: float
    measured: bool
    pace_bytes_per_s: float
    rtt_s: float
    queue_s: float
    reliability: float


def score(facts: Facts) -> Score:
    measured = facts.bytes_per_s is not None
    pace = max(1.0, UNKNOWN_BYTES_PER_S if facts.bytes_per_s is None else facts.bytes_per_s)
    rtt = UNKNOWN_RTT_S if facts.rtt_s is None else facts.rtt_s
    queue = 0.0
    if facts.queue_position is not None:
        queue = facts.queue_position * PLACE_S if facts.queue_s is None else facts.queue_s
    trusted = facts.good + BENEFIT_OF_DOUBT
    reliability = trusted / (trusted + FAILURE_CHUNKS * facts.bad)
    total = JOB_BYTES / (queue + rtt + JOB_BYTES / pace) * reliability
    return Score(total, measured, pace, rtt, queue, reliability)


def best_first(scores: Mapping[K, Score]) -> list[K]:
    """The measured ones by score, and then those of which nothing is known, in the order given."""
    return sorted(scores, key=lambda key: (not scores[key].measured, -scores[key].bytes_per_s))


def choose(scores: Mapping[K, Score], places: int) -> Sequence[K]:
    """Whom to put to work next: the best, but some places go to those of which nothing is known, to be measured."""
    ranked = best_first(scores)
    unknown = [key for key in ranked if not scores[key].measured]
    known = ranked[: len(ranked) - len(unknown)]
    exploring = min(len(unknown), max(1, places // EXPLORE_PART)) if places > 1 or not known else 0
    best = known[: max(0, places - exploring)]
    return best + unknown[: max(0, places - len(best))]
