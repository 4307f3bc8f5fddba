"""The picker against a plain model: sources with everything and with parts, asked, refusing, lost, in any order.

It never asks twice outside the end game, never for what is verified or what a source has not, keeps to its order, and
always finishes if every chunk has somebody who serves it.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from napd.content.digest import GROUP_CHUNKS
from napd.peer.fetch.swarm import Swarm
from napd.peer.picker import END_GAME_SOURCES, SWARM_RUN, Picker

WHOLE = ("ada", "bob")
PARTIAL = ("cyd", "dan", "eve")
SOURCES = st.sampled_from((*WHOLE, *PARTIAL))


class PickerMachine(RuleBasedStateMachine):
    """`at`: the chunks that matter, of a small content, or around the border of two groups of a large one."""

    @initialize(
        large=st.booleans(), sequential=st.booleans(), held=st.sets(st.integers(0, 11)), seed=st.integers(0, 99)
    )
    def begin(self, large: bool, sequential: bool, held: set[int], seed: int) -> None:
        start = GROUP_CHUNKS - 6 if large else 0
        self.size = start + 12
        self.at = range(start, self.size)
        self.picker = Picker(self.size, sequential=sequential)
        self.sequential = sequential
        self.swarm = Swarm(seed)
        self.asked: dict[int, list[str]] = {}
        self.verified = {*range(start), *(start + chunk for chunk in held)}
        self.having: dict[str, set[int]] = {source: set(self.at) for source in WHOLE}
        for first in range(0, self.size, GROUP_CHUNKS):
            count = min(GROUP_CHUNKS, self.size - first)
            self.picker.hold(first, count, _bits(self.verified, first, count))

    # --- The model -------------------------------------------------------------------------------

    def missing(self) -> set[int]:
        return set(self.at) - self.verified - self.asked.keys()

    def swarms(self) -> bool:
        """Somebody has parts, and there is a choice to make."""
        return any(source in self.having for source in PARTIAL)

    def holders(self, chunk: int) -> int:
        return sum(chunk in self.having.get(source, ()) for source in PARTIAL)

    def forget(self, source: str, chunk: int) -> None:
        self.asked[chunk].remove(source)
        if not self.asked[chunk]:
            del self.asked[chunk]

    # --- Asking ----------------------------------------------------------------------------------

    @rule(source=SOURCES, most=st.integers(1, 6), offset=st.integers(0, 12))
    def take(self, source: str, most: int, offset: int) -> None:
        below = self.at.start + offset
        partial = source in PARTIAL
        swarm = self.swarm if partial or self.swarms() else None
        run = self.picker.take(source, most, below, swarm=swarm, partial=partial)
        has = self.having.get(source, set())
        new = {chunk for chunk in self.missing() if chunk < below and chunk in has}
        hedges = set()
        if not self.missing():
            hedges = {
                chunk
                for chunk, sources in self.asked.items()
                if chunk < below and len(sources) < END_GAME_SOURCES and source not in sources and chunk in has
            }
        if run is None:
            assert not new and not hedges, "there was something for it"
            return
        first, count = run
        assert 0 < count <= most
        if not new:
            assert count == 1 and first in hedges
        else:
            assert set(range(first, first + count)) <= new
            self.is_the_right_one(first, count, new, partial=partial)
        for chunk in range(first, first + count):
            self.asked.setdefault(chunk, []).append(source)

    def is_the_right_one(self, first: int, count: int, new: set[int], *, partial: bool) -> None:
        if self.sequential or not (partial or self.swarms()):
            assert first == min(new), "the lowest first"
            return
        assert count <= SWARM_RUN
        group = min(new) // GROUP_CHUNKS
        rarest = min(self.holders(chunk) for chunk in new if chunk // GROUP_CHUNKS == group)
        for chunk in range(first, first + count):
            assert chunk // GROUP_CHUNKS == group
            assert self.holders(chunk) == rarest, "what the fewest have first"

    # --- What becomes of it ----------------------------------------------------------------------

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        chunk = data.draw(st.sampled_from(sorted(self.asked)))
        assert self.picker.verified(chunk) == self.asked.pop(chunk)
        assert self.picker.verified(chunk) == []
        self.verified.add(chunk)

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        chunk = data.draw(st.sampled_from(sorted(self.asked)))
        source = data.draw(st.sampled_from(self.asked[chunk]))
        self.picker.release(source, chunk)
        self.forget(source, chunk)

    @rule(source=SOURCES, offset=st.integers(0, 11))
    def serve_after_all(self, source: str, offset: int) -> None:
        chunk = self.at.start + offset
        is_missing = chunk in self.missing()
        assert self.picker.claim(source, chunk) is is_missing
        if is_missing:
            self.asked[chunk] = [source]

    @rule(source=SOURCES)
    def lose(self, source: str) -> None:
        self.picker.release_all(source)
        for chunk in [chunk for chunk, sources in self.asked.items() if source in sources]:
            self.forget(source, chunk)
        if source in PARTIAL:
            self.swarm.leave(source)
            self.having.pop(source, None)

    @rule(source=st.sampled_from(PARTIAL), chunks=st.sets(st.integers(0, 11)))
    def tell(self, source: str, chunks: set[int]) -> None:
        """One that has parts says which; a liar has fewer than before, or what is not there at all."""
        self.swarm.join(source)
        has = self.having[source] = {self.at.start + chunk for chunk in chunks}
        for first in range(0, self.size + GROUP_CHUNKS, GROUP_CHUNKS):
            beyond = 1 << (GROUP_CHUNKS - 1) if first + GROUP_CHUNKS > self.size else 0
            self.swarm.tell(source, first // GROUP_CHUNKS, _bits(has, first, GROUP_CHUNKS) | beyond)

    # --- Always, and in the end ------------------------------------------------------------------

    @invariant()
    def agrees_with_the_model(self) -> None:
        if not hasattr(self, "picker"):
            return
        assert self.picker.left == self.size - len(self.verified)
        assert self.picker.done is (len(self.verified) == self.size)
        for chunk in self.at:
            assert self.picker.is_verified(chunk) is (chunk in self.verified)
        assert self.picker.verified_bits(self.at.start, self.size) == _bits(self.verified, self.at.start, 12)
        for source in (*WHOLE, *PARTIAL):
            assert self.picker.asked_of(source) == {c for c, sources in self.asked.items() if source in sources}
        assert self.picker.next_missing() == min(self.missing(), default=None)

    def teardown(self) -> None:
        """One honest source is enough to finish; and so are some with parts, if they have everything together."""
        if not hasattr(self, "picker"):
            return
        for source in (*WHOLE, *PARTIAL):
            self.lose(source)
        if self.sequential:
            helpers = {"ada": set(self.at)}
        else:
            helpers = {source: set(self.at[nth :: len(PARTIAL)]) for nth, source in enumerate(PARTIAL)}
            for source, has in helpers.items():
                self.tell(source, {chunk - self.at.start for chunk in has})
        rounds = 0
        while not self.picker.done:
            rounds += 1
            assert rounds <= len(self.at), "it does not finish"
            for source in helpers:
                partial = source in PARTIAL
                run = self.picker.take(source, 3, self.size, swarm=self.swarm if partial else None, partial=partial)
                for chunk in () if run is None else range(run[0], sum(run)):
                    assert chunk in helpers[source]
                    self.picker.verified(chunk)


def _bits(chunks: set[int], first: int, count: int) -> int:
    return sum(1 << (chunk - first) for chunk in chunks if first <= chunk < first + count)


TestPicker = PickerMachine.TestCase
TestPicker.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
