"""Columns grow under those who use them, and nothing that was in them is lost."""

from __future__ import annotations

from time import process_time

import numpy as np

from napd.index.columns import Column


def test_a_column_that_grows_keeps_its_values_and_is_0_where_it_is_new() -> None:
    column = Column(np.uint32)
    for number in (1, 1_000, 5_000, 123_456):
        column.reach(number)
        column.one[number] = number
    assert len(column.all) > 123_456
    assert np.flatnonzero(column.all).tolist() == [1, 1_000, 5_000, 123_456]
    assert column.all[123_456] == column.one[123_456] == 123_456


def test_a_column_grows_while_somebody_looks_at_what_it_was() -> None:
    column = Column(np.uint32)
    column.one[7] = 7
    kept = column.all[:10]
    column.reach(100_000)
    column.one[7] = 8
    assert (kept[7], column.all[7]) == (7, 8)


def test_a_column_takes_over_values_with_room_for_more() -> None:
    column = Column(np.uint64)
    column.put(np.arange(10_000, dtype=np.uint64))
    assert column.all[:10_000].tolist() == list(range(10_000))
    assert not column.all[10_000:].any()
    column.reach(50_000)
    assert column.one[9_999] == 9_999


def test_growing_by_much_is_no_work() -> None:
    column = Column(np.uint64)
    column.put(np.ones(4_000_000, np.uint64))
    began = process_time()
    column.reach(len(column.all))
    # Copying these takes ten times as long.
    assert process_time() - began < 0.02
    assert column.all[:4_000_000].all()
