"""What people type into a search, and what it means: words, OR, filters, and what can never match."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napd.errors import Misuse
from napd.index.attributes import ANY, Attributes
from napd.index.language import MAX_PIECES, understand
from napd.index.query import Query
from napd.index.table import Row
from napd.wire.catalogue import Media


def fits(query: Query, name: str, size: int = 1000, bitrate: int | None = None) -> bool:
    media = None if bitrate is None else Media(bitrate_kbps=bitrate)
    return query.fits(Row(1, name, "", size, media, None))


def finds(typed: str, name: str, size: int = 1000, bitrate: int | None = None) -> bool:
    return fits(understand(typed), name, size, bitrate)


def patterns(typed: str) -> list[list[str]]:
    """The words and phrases that are wanted, choice by choice."""
    return [[piece.pattern.strip() for piece in choice.pieces] for choice in understand(typed).wanted]


# --- OR ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("sun OR moon", [["sun", "moon"]]),
        ("a sun OR moon OR mars b", [["a"], ["sun", "moon", "mars"], ["b"]]),
        ('sun OR "blue moon"', [["blue moon", "sun"]]),
        ("sun OR moo*", [["sun", "moo"]]),
        ("sun or moon", [["sun"], ["or"], ["moon"]]),
        ("sun Or moon", [["sun"], ["or"], ["moon"]]),
        ('sun "OR" moon', [["sun"], ["or"], ["moon"]]),
        ("sun OR OR moon", [["sun", "moon"]]),
        ("sun OR sun", [["sun"]]),
        ("sun OR !!! moon", [["sun", "moon"]]),
        ("OR", [["or"]]),
        ("OR gate", [["or"], ["gate"]]),
        ("either OR", [["either"], ["or"]]),
        ("-sun OR moon", [["moon"]]),
        ("moon OR -sun", [["moon"]]),
        ("moon OR ext:mp3 mars", [["moon"], ["mars"]]),
    ],
)
def test_or_joins_the_words_and_phrases_that_it_stands_between(typed: str, wanted: list[list[str]]) -> None:
    assert patterns(typed) == wanted


def test_one_of_several_is_enough() -> None:
    for name, found in (("sun river.txt", True), ("moon river.txt", True), ("river.txt", False), ("moon.txt", False)):
        assert finds("sun OR moon river", name) is found


def test_the_pieces_of_all_choices_are_limited_together() -> None:
    query = understand(" OR ".join(f"w{n}" for n in range(1000)) + " more")
    assert [len(choice.pieces) for choice in query.wanted] == [MAX_PIECES]
    assert len(understand(" ".join(f"a{n} OR b{n}" for n in range(1000))).wanted) == MAX_PIECES // 2


# --- Filters -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "name", "found"),
    [
        ("ext:mp3", "a.mp3", True),
        ("EXT:.MP3", "a.Mp3", True),
        ("ext:mp3", "mp3", False),
        ("ext:mp3", ".mp3", False),
        ("ext:flac,mp3", "a.mp3", True),
        ("ext:flac ext:mp3", "a.mp3", True),
        ("ext:flac OR ext:mp3", "a.mp3", True),
        ("ext:tar.gz", "a.tar.gz", True),
        ("ext:tar.gz", "a.gz", False),
        ("a -ext:mp3", "a.mp3", False),
        ("a -ext:mp3", "a.ogg", True),
        ("a -ext:tar.gz", "a.tar.gz", False),
        ("a -ext:tar.gz", "a.gz", True),
        ("type:audio", "a.ogg", True),
        ("type:Video,audio", "a.ogg", True),
        ("type:video", "a.ogg", False),
        ("a -type:audio", "a.ogg", False),
        ("a -type:audio", "a.txt", True),
        ("type:audio moon", "moon.ogg", True),
        ("moon type:audio", "sun.ogg", False),
    ],
)
def test_extension_and_type_are_typed_among_the_words(typed: str, name: str, found: bool) -> None:
    assert finds(typed, name) is found


@pytest.mark.parametrize(
    ("typed", "least", "most"),
    [
        ("size>10M", 10_000_001, ANY.max_size),
        ("size>=10M", 10_000_000, ANY.max_size),
        ("size<10MiB", 0, 10 * 2**20 - 1),
        ("size<=1.5k", 0, 1500),
        ("size=1000", 1000, 1000),
        ("SIZE > 10M", 10_000_001, ANY.max_size),
        ("size:>10M", 10_000_001, ANY.max_size),
        ("size≥10M", 10_000_000, ANY.max_size),
        ("size>1k size<2k size>1200", 1201, 1999),
        ("x -size>1k", 0, 1000),
        ("x -size<1k", 1000, ANY.max_size),
    ],
)
def test_sizes_are_compared(typed: str, least: int, most: int) -> None:
    attributes = understand(typed).attributes
    assert (attributes.min_size, attributes.max_size) == (least, most)


@pytest.mark.parametrize(
    ("typed", "bitrate", "found"),
    [
        ("bitrate>=256", 256, True),
        ("bitrate>256", 256, False),
        ("bitrate>=256k", 320, True),
        ("bitrate<=128kbps", 128, True),
        ("bitrate<128", 128, False),
        ("bitrate=192", 192, True),
        ("bitrate>=256", None, False),
        ("bitrate<128", None, False),
        ("a -bitrate>=128", 96, True),
    ],
)
def test_bitrates_are_compared_and_one_that_is_not_known_is_none(typed: str, bitrate: int | None, found: bool) -> None:
    assert finds(typed, "a.mp3", bitrate=bitrate) is found


def test_users_are_typed_like_their_names() -> None:
    assert understand("user:ann").users == ("ann",)
    assert understand("moon user:@Ann,bob user:cat").users == ("ann", "bob", "cat")
    assert understand("moon").users is None


@pytest.mark.parametrize(
    "typed", ["Episode:IV", "type:", "ext: mp3", "size", "size>", "bitrate", "size>big", "resize>3"]
)
def test_what_is_no_filter_is_words(typed: str) -> None:
    query = understand(typed)
    assert query.wanted
    assert query.attributes == ANY
    assert query.impossible is None


def test_a_filter_in_quotes_is_words() -> None:
    assert finds('"ext:mp3"', "ext mp3.txt")


def test_filters_that_are_typed_and_options_have_to_hold_both() -> None:
    query = understand(
        "moon ext:gz size<10 user:ann,bob", Attributes(ext=("tar.gz", "zip"), min_size=5), ("bob", "cat")
    )
    assert query.attributes == Attributes(ext=("tar.gz",), min_size=5, max_size=9)
    assert query.users == ("bob",)


# --- What can never match ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("moon -moon", "moon is both wanted and left out"),
        ('"blue moon" -moon', "blue moon is both"),
        ("moons -moo*", "moons is both"),
        ("sun OR moon -sun -moon", "is both wanted and left out"),
        ("ext:mp3 -ext:mp3", ".mp3 is both"),
        ("ext:tar.gz -ext:gz", ".tar.gz is both"),
        ("type:audio -type:audio", "audio is both"),
        ("type:audio ext:jpg", "no .jpg file is of a type"),
        ("ext:mp3 -type:audio", "no .mp3 file is of a type"),
        ("type:movie", "movie is no type: it is audio, video"),
        ("size>2M size<1M", "no size is at least 2000001 and at most 999999 bytes"),
        ("size<0", "smaller than 0"),
        ("size>100T", "no file is larger"),
        ("size>10X", "'10X' is no size"),
        ("bitrate>320 bitrate<128", "no bitrate is at least 321 and at most 127 kbit/s"),
        ("bitrate<1", "no bitrate"),
        ("bitrate>3x", "'3x' is no bitrate"),
        ("user:änn", "änn is nobody's name"),
        ("moon -user:ann", "not left out"),
        ("moon -size=3", "cannot be left out"),
    ],
)
def test_what_can_never_match_is_known_with_the_reason(typed: str, reason: str) -> None:
    found = understand(typed).impossible
    assert found is not None
    assert reason in found
    assert len(found) <= 256


@pytest.mark.parametrize(
    ("typed", "attributes", "users", "reason"),
    [
        ("moon ext:mp3", Attributes(ext=("ogg",)), None, "no file has both extensions"),
        ("moon type:audio", Attributes(kinds=("video",)), None, "no file is of two types"),
        ("moon user:ann", ANY, ("bob",), "nobody is two users"),
        ("moon size>10", Attributes(max_size=5), None, "no size"),
    ],
)
def test_what_is_typed_may_contradict_an_option(
    typed: str, attributes: Attributes, users: tuple[str, ...] | None, reason: str
) -> None:
    assert reason in str(understand(typed, attributes, users).impossible)


@pytest.mark.parametrize(
    "typed", ["sun OR moon -sun", "moon -mo", "moo* -moon", "moon ext:xyz", "size>=1k size<=1k", "size>=0"]
)
def test_what_may_match_is_not_refused(typed: str) -> None:
    assert understand(typed).impossible is None


def test_a_choice_that_is_left_out_is_no_choice() -> None:
    assert patterns("sun OR moon -sun") == [["moon"]]


@pytest.mark.parametrize("typed", ["-moon", "-ext:mp3", "-type:audio -moon", "", " ", "!!!"])
def test_only_to_leave_out_is_no_search(typed: str) -> None:
    with pytest.raises(Misuse):
        understand(typed)


# --- Whatever is typed ---------------------------------------------------------------------------

SNIPPETS = [
    "a", "b", "a*", "ab*", '"a b"', "OR", "-", '"', "ext:", "mp3", "type:", "audio", "user:", "ann", "size", ">", "10",
    "M", "<=", "bitrate", "=", ",", ":", "é", "京都", "!", "≥", "@", ".", " ", " ", " ", "\0", "9" * 400,
]  # fmt: skip
typed_parts = st.lists(st.sampled_from(SNIPPETS), max_size=25).map("".join)


@given(typed_parts)
def test_nothing_that_is_typed_is_an_error_but_emptiness(typed: str) -> None:
    try:
        query = understand(typed)
    except Misuse as error:
        assert error.code == "usage"
        assert "to search for" in str(error)
    else:
        assert query.impossible is None or 0 < len(query.impossible) <= 256


kinds = st.lists(st.sampled_from(["audio", "archive"]), max_size=2).map(tuple)
extensions = st.lists(st.sampled_from(["mp3", "gz", "tar.gz", "xyz"]), max_size=2).map(tuple)
asked = st.builds(
    Attributes,
    ext=extensions.map(lambda ext: ext or None),
    kinds=kinds.map(lambda kinds: kinds or None),
    min_size=st.sampled_from([0, 5, 1 << 50]),
    max_size=st.sampled_from([ANY.max_size, 7, 3, -1]),
    min_bitrate=st.sampled_from([0, 128]),
    max_bitrate=st.sampled_from([None, 0, 128, 100]),
    barred_ext=extensions,
    barred_kinds=kinds,
)
names = st.sampled_from(["a.mp3", "a.gz", "a.tar.gz", "a.xyz", ".mp3", "mp3", "a.txt"])


@given(asked, asked, names, st.sampled_from([0, 3, 4, 5, 6, 8]), st.sampled_from([None, 0, 100, 110, 128, 129]))
def test_what_meets_both_meets_each_and_what_contradicts_itself_is_met_by_nothing(
    one: Attributes, another: Attributes, name: str, size: int, bitrate: int | None
) -> None:
    media = None if bitrate is None else Media(bitrate_kbps=bitrate)
    both = one.and_also(another)
    met = both.met_by(name, size, media)
    assert met == (one.met_by(name, size, media) and another.met_by(name, size, media))
    assert not met or both.contradiction() is None
