"""The picker: which chunk to ask of which source next. Pure; property-tested (tests/unit/peer/test_picker.py).

The lowest comes first; but where others who fetch the same content serve what they have of it, one that the fewest
have, so that each has something to give to the others. Of a source that has only parts nothing else is asked.

Promises: outside the end game no chunk is asked of two sources; every missing chunk is asked sooner or later as long as
somebody takes; what a lost source was asked for goes to others; a verified chunk is never asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from attrs import define, field

from ..content.digest import GROUP_CHUNKS
from .fetch.swarm import Swarm, lowest

#: How many sources one chunk may be asked of at the very end, rather than wait for the slowest.
END_GAME_SOURCES = 2
#: Chunks in a run where those come first that the fewest have: a long run would be one peer's for long.
SWARM_RUN = 4
#: Groups that lack something and are looked through for one run; the next time those after them are.
MAX_GROUPS = 16

_MISSING = 0
_ASKED = 1
_VERIFIED = 2
#: Binary digits as states.
_STATES = bytes.maketrans(b"01", bytes((_MISSING, _VERIFIED)))

#: States as binary digits.
_MISSING_DIGITS = bytes(ord("1") if state == _MISSING else ord("0") for state in range(256))
_VERIFIED_DIGITS = bytes(ord("1") if state == _VERIFIED else ord("0") for state in range(256))


@define
class Picker:
    """Chunks of one download: missing, asked of somebody, or verified.

    A byte a chunk: 100 KiB for a content of 100 GiB, searched at memory speed.
    """

    chunks: int
    #: Lowest first whatever else would be cleverer: somebody reads while it comes.
    sequential: bool = False
    _state: bytearray = field(init=False)
    _asked: dict[int, list[Hashable]] = field(init=False, factory=dict)
    _by_source: dict[Hashable, set[int]] = field(init=False, factory=dict)
    _left: int = field(init=False)
    _cursor: int = field(init=False, default=0)
    #: The groups up to which a source, which has only parts, was found to have nothing that is missing.
    _passed: dict[Hashable, int] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self._state = bytearray(self.chunks)
        self._left = self.chunks

    @property
    def done(self) -> bool:
        return self._left == 0

    @property
    def left(self) -> int:
        """Chunks not verified yet."""
        return self._left

    def verified(self, chunk: int) -> list[Hashable]:
        """This chunk is good; returns the sources it is still asked of, to be told to cancel."""
        if self._state[chunk] == _VERIFIED:
            return []
        self._state[chunk] = _VERIFIED
        self._left -= 1
        others = self._asked.pop(chunk, [])
        for source in others:
            self._by_source[source].discard(chunk)
        return others

    def hold(self, first: int, count: int, bits: int) -> None:
        """Of so many chunks that nobody was asked for, those with a bit are verified; the first is the lowest.

        In bulk: a large download that is taken up has very many.
        """
        states = format(bits, f"0{count}b")[::-1].encode().translate(_STATES)
        self._left -= states.count(_VERIFIED) - self._state.count(_VERIFIED, first, first + count)
        self._state[first : first + count] = states

    def is_verified(self, chunk: int) -> bool:
        return self._state[chunk] == _VERIFIED

    def verified_bits(self, first: int, end: int) -> int:
        """Which chunks from `first` on, before `end`, are verified: the first is the lowest bit."""
        return self._bits(first, end, _VERIFIED_DIGITS)

    def _bits(self, first: int, end: int, digits: bytes) -> int:
        return int(self._state[first:end].translate(digits)[::-1] or b"0", 2)

    def asked_of(self, source: Hashable) -> set[int]:
        return set(self._by_source.get(source, ()))

    def next_missing(self) -> int | None:
        """The first chunk that is neither verified nor asked of anybody."""
        at = self._state.find(_MISSING, self._cursor)
        if at < 0:
            return None
        self._cursor = at
        return at

    def take(
        self,
        source: Hashable,
        most: int,
        below: int,
        sooner: Callable[[Hashable, int], float] | None = None,
        *,
        swarm: Swarm | None = None,
        partial: bool = False,
    ) -> tuple[int, int] | None:
        """Ask the next run of chunks of this source: (first, count), or None if there is none for it.

        :param most: how many chunks the run may have.
        :param below: only chunks with a smaller number (their digests are known).
        :param sooner: by how many seconds this source should beat that one to a chunk; in the end game only what it
            wins is asked of it. Without it, whatever has only been asked of one.
        :param swarm: what those have who have only parts; where there are such, what few have comes first.
        :param partial: this source is one of those.
        """
        first = self._state.find(_MISSING, self._cursor, below)
        if first < 0:
            having = swarm if partial else None
            return self._take_end_game(source, below, sooner, having)
        self._cursor = first
        if partial or (swarm and not self.sequential):
            return None if swarm is None else self._take_of_swarm(source, most, below, swarm, partial=partial)
        last = first
        while last + 1 < below and last + 1 - first < most and self._state[last + 1] == _MISSING:
            last += 1
        for chunk in range(first, last + 1):
            self._assign(chunk, source)
        return first, last - first + 1

    def _take_of_swarm(
        self, source: Hashable, most: int, below: int, swarm: Swarm, *, partial: bool
    ) -> tuple[int, int] | None:
        """A short run of what the source has, in the first group that has any: the lowest, or what few have."""
        looked = 0
        at = max(self._cursor, self._passed.get(source, 0) * GROUP_CHUNKS)
        while (at := self._state.find(_MISSING, at, below)) >= 0:
            group = at // GROUP_CHUNKS
            start, at = group * GROUP_CHUNKS, (group + 1) * GROUP_CHUNKS
            having = swarm.of(source, group) if partial else (1 << GROUP_CHUNKS) - 1
            if not having:
                continue
            candidates = having & self._bits(start, min(at, below), _MISSING_DIGITS)
            if candidates:
                first, fit = (lowest(candidates), candidates)
                if not self.sequential:
                    first, fit = swarm.choose(group, candidates)
                count = 1
                while count < min(most, SWARM_RUN) and fit >> (first + count) & 1:
                    count += 1
                for chunk in range(start + first, start + first + count):
                    self._assign(chunk, source)
                return start + first, count
            looked += 1
            if looked == MAX_GROUPS:
                self._passed[source] = group + 1
                return None
        # From the beginning again: it may have got something there meanwhile.
        self._passed.pop(source, None)
        return None

    def _take_end_game(
        self,
        source: Hashable,
        below: int,
        sooner: Callable[[Hashable, int], float] | None,
        having: Swarm | None,
    ) -> tuple[int, int] | None:
        """Nothing is left to ask for the first time: ask for what would otherwise be waited for longest."""
        if self.next_missing() is not None:
            return None
        best: int | None = None
        gain = 0.0
        for chunk, sources in self._asked.items():
            if chunk >= below or len(sources) >= END_GAME_SOURCES or source in sources:
                continue
            if having is not None and not having.of(source, chunk // GROUP_CHUNKS) >> (chunk % GROUP_CHUNKS) & 1:
                continue
            if sooner is None:
                best = chunk
                break
            gained = min(sooner(other, chunk) for other in sources)
            if gained > gain:
                best, gain = chunk, gained
        if best is None:
            return None
        self._assign(best, source)
        return best, 1

    def claim(self, source: Hashable, chunk: int) -> bool:
        """The source is going to deliver this chunk after all; False if that is not missing any more."""
        if self._state[chunk] != _MISSING:
            return False
        self._assign(chunk, source)
        return True

    def release(self, source: Hashable, chunk: int) -> None:
        """The source will not deliver this chunk (it was wrong, cancelled, or must wait its turn)."""
        sources = self._asked.get(chunk)
        if sources is None or source not in sources:
            return
        sources.remove(source)
        self._by_source[source].discard(chunk)
        if not sources:
            del self._asked[chunk]
            self._state[chunk] = _MISSING
            self._cursor = min(self._cursor, chunk)

    def release_all(self, source: Hashable) -> None:
        """The source is gone."""
        for chunk in self.asked_of(source):
            self.release(source, chunk)
        self._by_source.pop(source, None)
        self._passed.pop(source, None)

    def _assign(self, chunk: int, source: Hashable) -> None:
        self._state[chunk] = _ASKED
        self._asked.setdefault(chunk, []).append(source)
        self._by_source.setdefault(source, set()).add(chunk)
