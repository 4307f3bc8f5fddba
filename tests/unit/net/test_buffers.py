"""Buffers are used again, and never while anybody can see them."""

from __future__ import annotations

from napd.net.buffers import Buffers


def address(view: memoryview) -> int:
    return id(view.obj)


def test_what_nobody_refers_to_is_used_again() -> None:
    buffers = Buffers(100)
    first = buffers.take()
    block = address(first)
    assert len(first) == 100
    assert address(buffers.take()) != block
    del first
    taken = [buffers.take() for _ in range(2)]
    assert block in {address(view) for view in taken}


def test_a_slice_of_a_view_is_enough_to_keep_it() -> None:
    buffers = Buffers(100, most_kept=1)
    view = buffers.take()
    view[:3] = b"abc"
    piece = view[:3]
    del view
    other = buffers.take()
    other[:3] = b"xyz"
    assert piece == b"abc"


def test_no_more_are_kept_than_may_be() -> None:
    buffers = Buffers(100, most_kept=2)
    many = [buffers.take() for _ in range(5)]
    assert len({address(view) for view in many}) == 5
    kept = {address(view) for view in many[:2]}
    many.clear()
    assert {address(view) for view in [buffers.take(), buffers.take()]} == kept


def test_trimming_gives_up_what_is_free_and_nothing_else() -> None:
    buffers = Buffers(100)
    used, free = buffers.take(), buffers.take()
    used[:3] = b"abc"
    block = address(used)
    del free
    buffers.trim()
    others = [buffers.take() for _ in range(3)]
    for view in others:
        view[:3] = b"xyz"
    assert used[:3] == b"abc"
    del used
    assert address(buffers.take()) == block
