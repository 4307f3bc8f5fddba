"""What is rare in a swarm, against plain counting; and what the picker asks of those who have only parts."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from napd.content.digest import GROUP_CHUNKS
from napd.peer.fetch.swarm import Swarm
from napd.peer.picker import MAX_GROUPS, SWARM_RUN, Picker

SOURCES = ["ada", "bob", "cyd", "dan"]
masks = st.integers(0, (1 << 12) - 1)
told = st.lists(st.tuples(st.sampled_from(SOURCES), st.integers(0, 1), masks), max_size=30)


def numbers(bits: int) -> set[int]:
    return {place for place in range(bits.bit_length()) if bits >> place & 1}


@settings(deadline=None)
@given(told, st.lists(st.sampled_from(SOURCES), max_size=3), masks, st.integers(0, 1), st.integers(0, 2**64 - 1))
def test_the_rarest_are_those_that_counting_finds(
    told: list[tuple[str, int, int]], left: list[str], candidates: int, group: int, seed: int
) -> None:
    swarm = Swarm(seed)
    plain: dict[tuple[str, int], int] = {}
    for source, where, bits in told:
        before = plain.get((source, where), 0)
        assert swarm.tell(source, where, bits) == bits & ~before
        plain[source, where] = bits
    for source in left:
        swarm.leave(source)
        plain = {key: bits for key, bits in plain.items() if key[0] != source}
    assert all(swarm.of(source, where) == bits for (source, where), bits in plain.items())
    assert swarm.count("ada") == sum(len(numbers(bits)) for (source, _), bits in plain.items() if source == "ada")
    if not candidates:
        return
    count = Counter(place for (_, where), bits in plain.items() if where == group for place in numbers(bits))
    fewest = min(count[place] for place in numbers(candidates))
    chosen, all_of_them = swarm.choose(group, candidates)
    assert chosen in numbers(all_of_them)
    assert numbers(all_of_them) == {place for place in numbers(candidates) if count[place] == fewest}


def test_those_who_fetch_the_same_begin_with_different_chunks() -> None:
    first = {Swarm(seed * 7919).choose(0, (1 << 500) - 1)[0] for seed in range(40)}
    assert len(first) > 30


def in_swarm(chunks: int, **having: set[int]) -> tuple[Picker, Swarm]:
    swarm = Swarm(3)
    for source, places in having.items():
        swarm.join(source)
        for group in range(-(-chunks // GROUP_CHUNKS)):
            bits = sum(1 << place % GROUP_CHUNKS for place in places if place // GROUP_CHUNKS == group)
            swarm.tell(source, group, bits)
    return Picker(chunks), swarm


def test_of_one_that_has_parts_only_those_are_asked() -> None:
    picker, swarm = in_swarm(2000, ada={5, 6, 1030})
    asked: set[int] = set()
    while run := picker.take("ada", 8, 2000, swarm=swarm, partial=True):
        asked |= set(range(run[0], run[0] + run[1]))
    assert asked == {5, 6, 1030}
    assert picker.asked_of("ada") == asked


def test_one_whose_chunks_are_far_behind_those_that_it_lacks_is_asked_for_them() -> None:
    groups = 3 * MAX_GROUPS
    chunks = groups * GROUP_CHUNKS
    picker = Picker(chunks)
    swarm = Swarm(3)
    # It lacks the first chunk of each group but the last, and nobody else is there; all the others have come.
    first = [group * GROUP_CHUNKS for group in range(groups)]
    for group in range(groups):
        swarm.tell("ada", group, (1 << GROUP_CHUNKS) - (1 if group == groups - 1 else 2))
        picker.hold(first[group], GROUP_CHUNKS, (1 << GROUP_CHUNKS) - 2)
    taken = [picker.take("ada", 8, chunks, swarm=swarm, partial=True) for _ in range(4)]
    assert [run for run in taken if run is not None] == [(first[-1], 1)]

    # And what it gets in the first of them is not passed over for ever.
    swarm.tell("ada", 0, 1)
    taken = [picker.take("ada", 8, chunks, swarm=swarm, partial=True) for _ in range(4)]
    assert [run for run in taken if run is not None] == [(0, 1)]


def test_groups_of_which_nothing_is_missing_do_not_keep_one_from_those_behind_them() -> None:
    groups = 2 * MAX_GROUPS
    picker = Picker(groups * GROUP_CHUNKS)
    swarm = Swarm(3)
    for group in range(groups):
        swarm.tell("ada", group, (1 << GROUP_CHUNKS) - 2)
        if group < groups - 1:
            picker.hold(group * GROUP_CHUNKS, GROUP_CHUNKS, (1 << GROUP_CHUNKS) - (2 if group == 0 else 1))
    run = picker.take("ada", 8, groups * GROUP_CHUNKS, swarm=swarm, partial=True)
    assert run is not None
    assert run[0] >= (groups - 1) * GROUP_CHUNKS


def test_one_with_nothing_that_is_known_is_asked_nothing() -> None:
    picker, swarm = in_swarm(2000, ada={1500}, bob=set())
    assert picker.take("ada", 8, 1024, swarm=swarm, partial=True) is None
    assert picker.take("bob", 8, 2000, swarm=swarm, partial=True) is None
    assert picker.take("cyd", 8, 2000, swarm=swarm, partial=True) is None


def test_what_nobody_has_is_asked_of_the_one_who_has_all() -> None:
    picker, swarm = in_swarm(64, ada=set(range(60)))
    first, count = picker.take("whole", 16, 64, swarm=swarm) or (0, 0)
    assert 60 <= first < first + count <= 64


def test_in_a_swarm_runs_are_short_and_alone_they_are_not() -> None:
    picker, swarm = in_swarm(64, ada={1})
    assert (picker.take("whole", 16, 64, swarm=swarm) or (0, 99))[1] <= SWARM_RUN
    alone, _ = in_swarm(64)
    assert alone.take("whole", 16, 64, swarm=Swarm(1)) == (0, 16)


def test_who_reads_while_it_comes_gets_the_lowest_that_a_source_has() -> None:
    picker, swarm = in_swarm(64, ada={9, 10, 40})
    picker.sequential = True
    assert picker.take("ada", 8, 64, swarm=swarm, partial=True) == (9, 2)
    assert picker.take("whole", 8, 64, swarm=swarm) == (0, 8)


def test_at_the_end_only_those_are_asked_again_who_have_it() -> None:
    picker, swarm = in_swarm(2, ada={0}, bob={1})
    picker.take("whole", 2, 2)
    assert picker.take("ada", 1, 2, swarm=swarm, partial=True) == (0, 1)
    assert picker.take("ada", 1, 2, swarm=swarm, partial=True) is None
    assert picker.take("bob", 1, 2, swarm=swarm, partial=True) == (1, 1)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(SOURCES), masks), max_size=12), st.data())
def test_no_chunk_is_asked_twice_before_the_end_and_none_of_who_lacks_it(
    told: list[tuple[str, int]], data: st.DataObject
) -> None:
    picker, swarm = in_swarm(12)
    having = dict(told)
    for source, bits in having.items():
        swarm.join(source)
        swarm.tell(source, 0, bits)
    asked: set[int] = set()
    for _ in range(30):
        source = data.draw(st.sampled_from([*SOURCES, "whole"]))
        partial = source != "whole"
        before = picker.next_missing()
        run = picker.take(source, 3, 12, swarm=swarm, partial=partial)
        if run is None:
            continue
        taken = set(range(run[0], run[0] + run[1]))
        assert not partial or taken <= numbers(having.get(source, 0))
        assert before is None or not taken & asked
        asked |= taken
