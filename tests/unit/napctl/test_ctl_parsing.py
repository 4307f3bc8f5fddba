"""Sizes, rates, times and places as people type them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napctl.parsing import parse_place, parse_rate, parse_seconds
from napd.errors import Misuse
from napd.sizes import MAX_BYTES, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("10", 10),
        ("10B", 10),
        ("10k", 10_000),
        ("10K", 10_000),
        ("10M", 10_000_000),
        ("10MB", 10_000_000),
        ("1.5G", 1_500_000_000),
        ("1.5 GB", 1_500_000_000),
        (" .5M ", 500_000),
        ("10MiB", 10 * 1024**2),
        ("10Mi", 10 * 1024**2),
        ("1kib", 1024),
        ("2T", 2 * 10**12),
        ("1.0000000001k", 1000),
        ("0.1MiB", 104_857),
    ],
)
def test_a_size_is_read_exactly(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", " ", ".", "B", "M", "-1", "+1", "1,5G", "10iB", "10Mbit", "1e9", "ten", "1.", "10M 5", "٣M", "0x10", "inf"],
)
def test_what_is_no_size_is_refused_and_the_message_says_what_is(text: str) -> None:
    with pytest.raises(Misuse, match="10MiB"):
        parse_size(text)


@pytest.mark.parametrize("text", ["10P", "9007199254740992", "9" * 400])
def test_a_size_over_the_protocols_numbers_is_refused(text: str) -> None:
    with pytest.raises(Misuse, match="more than any file"):
        parse_size(text)


@given(st.integers(0, MAX_BYTES))
def test_plain_digits_are_bytes(size: int) -> None:
    assert parse_size(str(size)) == size


@given(st.text(max_size=12))
def test_any_text_is_a_size_or_a_misuse(text: str) -> None:
    try:
        assert 0 <= parse_size(text) <= MAX_BYTES
    except Misuse:
        pass


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10MB/s", 10e6),
        ("10M", 10e6),
        ("500k/s", 500e3),
        ("1MiB/s", 1024.0**2),
        ("1MBps", 1e6),
        ("0", 0.0),
        ("none", 0.0),
        ("Unlimited", 0.0),
        ("off", 0.0),
    ],
)
def test_a_rate_is_a_size_per_second_or_no_limit(text: str, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "/s", "10/m", "fast", "-1", "10Mbit/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(Misuse, match="no rate"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30.0), ("1.5s", 1.5), ("500ms", 0.5), ("2m", 120.0), ("1h", 3600.0), ("0", 0.0), ("1d", 86400.0)],
)
def test_a_time_is_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1", "nan", "inf", "1 2", "1y", "9" * 400, "400d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(Misuse):
        parse_seconds(text)


@pytest.mark.parametrize("text", ["top", "up", "down", "bottom", "1", "12"])
def test_a_place_is_a_word_or_a_position_from_1(text: str) -> None:
    assert parse_place(text) == text


@pytest.mark.parametrize("text", ["", "0", "-1", "first", "1.5", "²", "9" * 10])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(Misuse, match="top, up, down, bottom"):
        parse_place(text)
