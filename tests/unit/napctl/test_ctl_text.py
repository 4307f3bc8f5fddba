"""Text for a terminal: nothing steers it, columns are counted as it counts them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napctl.text import (
    age_text,
    clock_text,
    count_text,
    cut,
    pad,
    percent_text,
    rate_text,
    size_text,
    span_text,
    visible,
    width,
)

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a b", "a b"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\tc\rd\x00", "a\\nb\\tc\\rd\\x00"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202etxt.exe", "\\u202etxt.exe"),
        ("a\u2028b", "a\\u2028b"),
        ("caf\udce9", "caf\\xe9"),
        ("\ud800", "\\ud800"),
        ("日本語", "日本語"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("a\u00a0b\u3000c", "a\u00a0b\u3000c"),
        ("cafe\u0301", "cafe\u0301"),
    ],
)
def test_what_a_terminal_might_obey_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(ANY_TEXT)
def test_visible_text_has_no_control_and_can_be_encoded(text: str) -> None:
    shown = visible(text)
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in shown)
    shown.encode()


@given(ANY_TEXT, st.integers(0, 40))
def test_cut_text_fits_and_short_text_stays(text: str, columns: int) -> None:
    shown = visible(text)
    assert width(cut(shown, columns)) <= columns
    if width(shown) <= columns:
        assert cut(shown, columns) == shown


def test_the_middle_is_cut_so_that_the_extension_stays() -> None:
    assert cut("a very long name of a song.flac", 16) == "a very lon….flac"


def test_wide_characters_count_two_columns_and_combining_ones_none() -> None:
    assert width("日本") == 4
    assert width("e\u0301") == 1
    assert pad("日本", 6) == "日本  "
    assert pad("7", 3, right=True) == "  7"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (64_200_000, "64.2 MB"),
        (99_949, "99.9 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_999, "1.0 MB"),
        (1_500_000_000, "1.5 GB"),
        (2**53, "9.0 PB"),
        (10**22, "10000 EB"),
        (None, "?"),
    ],
)
def test_sizes_are_powers_of_1000(size: int | None, text: str) -> None:
    assert size_text(size) == text


def test_rates_below_a_byte_are_nothing() -> None:
    assert rate_text(0.4) == "-"
    assert rate_text(12_345_678.9) == "12.3 MB/s"


def test_a_hundred_per_cent_is_said_only_when_nothing_is_missing() -> None:
    assert percent_text(999_999, 1_000_000) == "99%"
    assert percent_text(1_000_000, 1_000_000) == "100%"
    assert percent_text(0, 0) == "100%"
    assert percent_text(5, None) == "?"


def test_times() -> None:
    assert [clock_text(s) for s in (None, 3, 724, 11045, 172800)] == ["-", "0:03", "12:04", "3:04:05", "2 d"]
    assert [span_text(s) for s in (-1, 12, 300, 7800, 7200, 356400)] == [
        "0 s",
        "12 s",
        "5 min",
        "2 h 10 min",
        "2 h",
        "4 d 3 h",
    ]
    assert age_text("1970-01-01T00:00:00Z", 300) == "5 min"
    assert age_text("not\x1ba time", 300) == "not\\x1ba time"
    assert age_text(None, 300) == "-"


def test_counts() -> None:
    assert count_text(1, "file") == "1 file"
    assert count_text(1204, "file") == "1,204 files"
    assert count_text(2, "index", "indexes") == "2 indexes"
