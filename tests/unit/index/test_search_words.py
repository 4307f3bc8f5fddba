"""How names and queries become words, and what a query means."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napd.errors import Misuse
from napd.index.language import MAX_PIECES, understand
from napd.index.words import MAX_WORD, fold, runs, searchable, terms_and_words
from napd.wire.kinds import KINDS, extension, extensions_of, kind_of


def words(text: str) -> list[str]:
    return [run.text for run in runs(fold(text))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World!", ["hello", "world"]),
        ("01-track_name.mp3", ["01", "track", "name", "mp3"]),
        ("S01E02", ["s01e02"]),
        ("Ñandú Ångström", ["nandu", "angstrom"]),
        ("e\u0301clair \u00e9clair", ["eclair", "eclair"]),
        ("Straße ﬁn", ["strasse", "fin"]),
        ("Øre Łódź ægir", ["ore", "lodz", "aegir"]),
        ("İstanbul ISTANBUL ıstanbul", ["istanbul", "istanbul", "istanbul"]),
        ("Ёлка ЙОД", ["елка", "йод"]),
        ("شَدَّة שָׁלוֹם", ["شدة", "שלום"]),
        ("Ｆｕｌｌ　Ｗｉｄｔｈ １２", ["full", "width", "12"]),
        ("東京タワーlive2", ["東京タワー", "live2"]),
        ("ｶﾞｷﾞ か\u3099", ["ガギ", "が"]),
        ("한국어 노래", ["한국어", "노래"]),
        ("हिन्दी ไทย", ["हिन्दी", "ไทย"]),
        ("🎉party🎉", ["🎉", "party", "🎉"]),
        ("\ufffd\ufffdx", ["x"]),
        ("don’t AC/DC", ["don", "t", "ac", "dc"]),
        ("soft\u00adhyphen zero\u200bwidth", ["softhyphen", "zero", "width"]),
        ("...---...", []),
        ("", []),
        ("x" * 300, ["x" * MAX_WORD]),
    ],
)
def test_text_is_cut_into_folded_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_й_and_kana_keep_their_marks_and_accents_go() -> None:
    assert words("й") != words("и")
    assert words("が") != words("か")
    assert words("ё") == words("е")


@given(st.text(max_size=80))
def test_folding_is_the_same_for_every_way_to_write_a_text(text: str) -> None:
    assert words(unicodedata.normalize("NFC", text)) == words(unicodedata.normalize("NFD", text))


@given(st.text(max_size=300), st.text(min_size=1, max_size=300))
def test_any_name_is_found_by_itself(folder: str, name: str) -> None:
    found_by = searchable(folder, name)
    try:
        query = understand('"' + name.replace('"', " ") + '"')
    except Misuse:
        assert words(name) == []
        return
    for choice in query.wanted:
        assert set(choice.pieces[0].terms) <= found_by.terms
        assert choice.found_in(found_by.text)


names = st.text(
    st.sampled_from("aB1 .-_é\u0301йи\u0306ß東ー京ｶﾞ가\u3099🎉\ufe0f\ufffdø<=\u0338\u200d\x01\x02\n"), max_size=40
)


@given(st.text(max_size=80) | names, st.text(max_size=80) | names)
def test_the_short_way_to_the_terms_of_a_name_comes_to_the_same(folder: str, name: str) -> None:
    found_by = searchable(folder, name)
    for _ in range(2):
        assert terms_and_words(folder, name) == (found_by.terms, found_by.words)


@given(st.text(max_size=300))
def test_whatever_is_typed_is_understood_or_empty(typed: str) -> None:
    try:
        query = understand(typed)
    except Misuse as error:
        assert error.code == "usage"
    else:
        assert sum(len(choice.pieces) for choice in query.wanted) <= MAX_PIECES
        assert query.wanted or any(sign in typed for sign in ":<>=≥≤：")


def test_the_file_name_and_the_two_nearest_folders_are_searched() -> None:
    found_by = searchable("Share/Artist/Album/CD 1", "Song.mp3")
    assert found_by.text == " album | cd 1 | song mp3 "
    assert found_by.terms == {"album", "cd", "1", "song", "mp3"}


def test_unspaced_scripts_are_looked_up_by_single_characters_and_pairs() -> None:
    assert searchable("s", "東京都.txt").terms == {"s", "東", "京", "都", "東京", "京都", "txt"}
    assert searchable("s", "京.txt").terms == {"s", "京", "txt"}


def find(query: str, name: str, folder: str = "") -> bool:
    """Whether a query finds a name, by its text alone."""
    text = searchable(folder, name).text
    asked = understand(query)
    return all(choice.found_in(text) for choice in asked.wanted) and not any(
        piece.found_in(text) for piece in asked.excluded
    )


@pytest.mark.parametrize(
    ("query", "name", "found"),
    [
        ("hello", "Hello World.txt", True),
        ("hell", "Hello World.txt", False),
        ("hell*", "Hello World.txt", True),
        ("world hello", "Hello World.txt", True),
        ('"hello world"', "Hello World.txt", True),
        ('"world hello"', "Hello World.txt", False),
        ("“hello world”", "Hello World.txt", True),
        ('"hello wor*', "Hello World.txt", True),
        ("hello -world", "Hello World.txt", False),
        ("hello --world", "Hello World.txt", False),
        ('hello -"big world"', "Hello World.txt", True),
        ("hello -wor*", "Hello World.txt", False),
        ("hello-world", "Hello World.txt", True),
        ("world.hello", "Hello World.txt", False),
        ("- hello", "Hello World.txt", True),
        ("* hello", "Hello World.txt", True),
        ("hello !!!", "Hello World.txt", True),
        ("café", "CAFE.txt", True),
        ("京都", "東京都.txt", True),
        ("東都", "東京都.txt", False),
        ("京", "東京都.txt", True),
        ("東*", "東京都.txt", True),
        ("東京live", "東京 live.txt", True),
        ("🎉", "the 🎉 party.txt", True),
        ("it's", "it's.txt", True),
    ],
)
def test_queries_mean_what_people_expect(query: str, name: str, found: bool) -> None:
    assert find(query, name) is found


def test_no_phrase_reaches_from_a_folder_into_the_file_name() -> None:
    assert find("album song", "song.mp3", "album")
    assert not find('"album song"', "song.mp3", "album")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("-hello", "leave out"),
        ("!!! ...", "no letter"),
        ('""', "no letter"),
        ("*", "no letter"),
    ],
)
def test_only_a_query_without_anything_to_search_for_is_refused(typed: str, said: str) -> None:
    with pytest.raises(Misuse, match=said) as caught:
        understand(typed)
    assert caught.value.hint is not None


def test_a_query_has_a_limited_number_of_pieces() -> None:
    query = understand(" ".join(f"w{n} -x{n}" for n in range(1000)))
    assert len(query.wanted) == len(query.excluded) == MAX_PIECES


def test_what_is_typed_twice_counts_once() -> None:
    assert len(understand("a A á a").wanted) == 1


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.MP3", "audio"),
        ("a.mkv", "video"),
        ("a.jpeg", "image"),
        ("a.b.pdf", "document"),
        ("a.tar.gz", "archive"),
        ("setup.exe", "program"),
        ("a.unknown", None),
        ("README", None),
        (".mp3", None),
        ("mp3", None),
        ("a.", None),
    ],
)
def test_the_extension_tells_the_kind(name: str, kind: str | None) -> None:
    assert kind_of(name) == kind


def test_no_extension_is_of_two_kinds() -> None:
    all_of_them = [ext for kind in KINDS for ext in extensions_of(kind)]
    assert len(all_of_them) == len(set(all_of_them))


@pytest.mark.parametrize(("name", "ext"), [("a.TXT", "txt"), ("..a", ""), (".profile", ""), ("a", ""), ("a.", "")])
def test_extensions_are_in_lower_case_and_hidden_files_have_none(name: str, ext: str) -> None:
    assert extension(name) == ext
