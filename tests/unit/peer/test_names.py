"""Saved names: the shared name exactly, unless it would do harm; then as little of it changed as possible."""

from __future__ import annotations

from itertools import islice
from unicodedata import category

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from napd.peer.files.names import MAX_NAME_BYTES, numbered, saved_name

HARMLESS = [
    "song.mp3",
    "two words.txt",
    "'quotes' and \"more\".txt",
    "-rf",
    "--help",
    "naïve.txt",
    "e\N{COMBINING ACUTE ACCENT}.txt",
    "🎵🎶.flac",
    "👨\N{ZERO WIDTH JOINER}👩.png",
    "مرحبا.txt",
    "right\N{RIGHT-TO-LEFT OVERRIDE}left.txt",
    "\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}.bin",
    "a\\b",
    "C:",
    "con",
    "*?<>|",
    "$HOME `id` ;",
    " leading and trailing ",
    "trailing.",
    "a..b",
    "x" * 255,
    "é" * 127 + "x",
    "line\N{LINE SEPARATOR}separator",
]


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_name_is_kept_exactly(name: str) -> None:
    assert saved_name(name) == name


@pytest.mark.parametrize(
    ("shared", "saved"),
    [
        ("", "_"),
        (".", "_"),
        ("..", "__"),
        (".bashrc", "_bashrc"),
        ("...x", "___x"),
        ("../../etc/passwd", "___.._etc_passwd"),
        ("/etc/passwd", "_etc_passwd"),
        ("a/b", "a_b"),
        ("new\nline.txt", "new_line.txt"),
        ("\x1b[31mred.txt", "_[31mred.txt"),
        ("nul\x00.txt", "nul_.txt"),
        ("bell\x07\x7f\x85", "bell___"),
        ("\ud800lone.txt", "_lone.txt"),
        ("\n.hidden", "_.hidden"),
    ],
)
def test_what_would_do_harm_becomes_an_underscore(shared: str, saved: str) -> None:
    assert saved_name(shared) == saved


@pytest.mark.parametrize(
    ("shared", "saved"),
    [
        ("x" * 300, "x" * 255),
        ("x" * 300 + ".mp3", "x" * 251 + ".mp3"),
        # 126 characters of two bytes fit before the extension, and the half of a further one does not.
        ("é" * 200 + ".txt", "é" * 125 + ".txt"),
        ("🎵" * 100, "🎵" * 63),
        # What is that long is no extension.
        ("x." + "y" * 300, "x." + "y" * 253),
    ],
)
def test_a_long_name_is_cut_at_a_character_and_keeps_its_extension(shared: str, saved: str) -> None:
    assert saved_name(shared) == saved


def test_a_taken_name_is_numbered_before_its_extension() -> None:
    assert list(islice(numbered("song.mp3"), 3)) == ["song.mp3", "song (1).mp3", "song (2).mp3"]
    assert list(islice(numbered("README"), 2)) == ["README", "README (1)"]
    assert list(islice(numbered("archive.tar.gz"), 2)) == ["archive.tar.gz", "archive.tar (1).gz"]


def test_a_long_name_is_cut_to_make_room_for_its_number() -> None:
    long = "x" * 251 + ".mp3"
    assert list(islice(numbered(long), 1, 2)) == ["x" * 247 + " (1).mp3"]
    assert next(islice(numbered(long), 10, None)) == "x" * 246 + " (10).mp3"


names = st.one_of(
    st.text(max_size=300),
    st.text(st.characters(blacklist_categories=[]), max_size=300),
    st.text("./\\\x00\n_ ()1é🎵a", max_size=300),
)


@settings(deadline=None)
@given(names)
@example("x" * 251 + " (1)")
@example("é" * 124 + "x (12).y")
def test_any_name_gives_names_that_a_directory_takes(shared: str) -> None:
    candidates = list(islice(numbered(saved_name(shared)), 120))
    assert len(set(candidates)) == len(candidates)
    for name in candidates:
        assert 0 < len(name.encode()) <= MAX_NAME_BYTES
        assert "/" not in name
        assert not name.startswith(".")
        assert not any(category(c) in ("Cc", "Cs") for c in name)


@settings(deadline=None)
@given(names)
def test_a_saved_name_stays_what_it_is(shared: str) -> None:
    assert saved_name(saved_name(shared)) == saved_name(shared)
