"""Lines and raw bytes told apart: fed or filled in, however they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napd.net.splitter import Splitter, TooLong
from napd.wire.line import MAX_LINE_BYTES


class Hearer:
    """A line ``raw N`` announces raw bytes; ``into N`` does, and has a buffer for them; ``stop`` wants no more."""

    def __init__(self) -> None:
        self.splitter = Splitter(self.line, self.raw)
        self.lines: list[bytes] = []
        self.blocks: list[bytearray] = []
        self.buffers: list[bytearray] = []
        self.expected: list[int] = []

    def line(self, line: bytes) -> None:
        self.lines.append(line)
        word, _, size = line.partition(b" ")
        if word == b"stop":
            self.splitter.stop()
        if word not in (b"raw", b"into"):
            return
        self.blocks.append(bytearray())
        if word == b"into":
            # More room than is needed: what is beyond must stay as it is.
            self.buffers.append(bytearray(b"~" * (int(size) + 3)))
            self.splitter.expect_raw(int(size), memoryview(self.buffers[-1]))
        else:
            self.splitter.expect_raw(int(size))

    def raw(self, data: bytes | memoryview) -> None:
        self.blocks[-1] += data

    def take(self, data: bytes, piece: int, *, fill: bool) -> None:
        """As a stream would deliver it: into the buffer where there is one, if it can."""
        while data:
            space = self.splitter.space() if fill else None
            size = min(piece, len(data), len(space) if space is not None else piece)
            if space is None:
                self.splitter.feed(data[:size])
            else:
                space[:size] = data[:size]
                self.splitter.filled(size)
            data = data[size:]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([b"raw", b"into"]), st.binary(max_size=40) | st.just(b"\n\nx\n")), max_size=5),
    st.integers(1, 60),
    st.booleans(),
)
def test_what_was_said_is_heard_however_it_is_cut(parts: list[tuple[bytes, bytes]], piece: int, fill: bool) -> None:
    hearer = Hearer()
    stream = b"".join(b"%s %d\n" % (word, len(block)) + block for word, block in parts) + b"end\n"
    hearer.take(stream, piece, fill=fill)
    assert hearer.lines == [*(b"%s %d" % (word, len(block)) for word, block in parts), b"end"]
    assert hearer.blocks == [block for _, block in parts]
    assert hearer.buffers == [block + b"~~~" for word, block in parts if word == b"into"]


@pytest.mark.parametrize("piece", [1, 1000, MAX_LINE_BYTES + 1, MAX_LINE_BYTES * 2])
def test_the_longest_line_is_heard_and_a_longer_one_ends_it(piece: int) -> None:
    hearer = Hearer()
    longest = b"x" * MAX_LINE_BYTES
    hearer.take(longest + b"\n", piece, fill=False)
    assert hearer.lines == [longest]
    with pytest.raises(TooLong):
        hearer.take(longest + b"x\nmore\n", piece, fill=False)
    hearer.splitter.feed(b"\nnothing\n")
    assert hearer.lines == [longest]


def test_a_line_without_an_end_is_not_kept_beyond_its_bound() -> None:
    hearer = Hearer()
    with pytest.raises(TooLong):
        for _ in range(10):
            hearer.splitter.feed(b"x" * 10_000)


def test_nothing_is_told_after_a_stop() -> None:
    hearer = Hearer()
    hearer.splitter.feed(b"stop\nmore\nraw 3\nabc")
    hearer.splitter.feed(b"still\n")
    assert hearer.lines == [b"stop"]
    assert hearer.splitter.space() is None


def test_more_than_there_is_room_for_is_refused() -> None:
    hearer = Hearer()
    with pytest.raises(ValueError, match="not asked for"):
        hearer.splitter.filled(1)
    hearer.splitter.feed(b"into 3\n")
    with pytest.raises(ValueError, match="not asked for"):
        hearer.splitter.filled(4)
