"""Items, texts, contents and holders in columns are what plain dictionaries of them would be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napd.index import arena, lookup
from napd.index import folders as folders_module
from napd.index import table as table_module
from napd.index.arena import Arena, OpenFile, Stretch
from napd.index.columns import Column, Ids, bitmap, distinct, ids_in
from napd.index.contents import ContentIds
from napd.index.folders import Folders
from napd.index.holders import Holders
from napd.index.items import Item
from napd.index.table import ItemTable
from napd.index.texts import Texts
from napd.index.words import searchable, searchable_text
from napd.model import EVERYONE
from napd.wire.catalogue import Entry, Media
from tests.support.index_script import content

small = st.integers(1, 12)


@pytest.fixture(autouse=True)
def little(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Bounds that are met all the time."""
    monkeypatch.setattr(table_module, "_MAX_ROWS", 2)
    monkeypatch.setattr(table_module, "_MAX_TEXTS", 2)
    monkeypatch.setattr(table_module, "_MAX_STEPS", 2)
    monkeypatch.setattr(folders_module, "_MAX_RECENT", 2)
    monkeypatch.setattr(arena, "_BLOCK", 8)
    monkeypatch.setattr(lookup, "_FIRST", 4)
    monkeypatch.setattr(lookup, "_TABLES", 2)
    yield


def ids(*numbers: int) -> Ids:
    return np.array(numbers, np.uint32)


def test_a_column_grows_and_keeps_what_is_in_it() -> None:
    column = Column(np.uint16)
    column.one[5] = 7
    column.reach(1_000_000)
    column.one[1_000_000] = 9
    assert (column.all[5], column.one[5], column.all[1_000_000], column.one[999_999]) == (7, 7, 9, 0)


@given(st.lists(st.integers(0, 1 << 32 - 1)))
def test_ids_are_sorted_and_each_is_there_once(numbers: list[int]) -> None:
    found = distinct(ids(*numbers))
    assert found.tolist() == sorted(set(numbers))
    assert ids_in(bitmap(found)).tolist() == found.tolist()


@given(st.lists(st.tuples(small, st.binary(max_size=9)), max_size=60))
def test_texts_are_as_they_were_put_and_room_is_used_again(changes: list[tuple[int, bytes]]) -> None:
    texts, expected = Texts(), dict[int, bytes]()
    most = 0
    for number, text in changes:
        if number in expected:
            texts.drop(number)
            del expected[number]
        else:
            texts.put(number, text)
            expected[number] = text
        most = max(most, len(expected))
        assert {number: bytes(texts.get(number)) for number in expected} == expected
    # Three lengths that are told apart, of 12 bytes at most.
    assert len(texts.arena) <= 3 * 12 * most


#: Texts that go into an arena, some at its end, some over others; and how much of it is moved into a file after that.
strokes = st.lists(st.tuples(st.none() | st.integers(0, 40), st.binary(max_size=30), st.booleans()), max_size=15)


@given(strokes)
def test_an_arena_is_a_piece_of_memory(strokes: list[tuple[int | None, bytes, bool]]) -> None:
    found, expected = Arena(), bytearray()
    with TemporaryDirectory() as folder:
        for at, data, moves in strokes:
            if at is None:
                assert found.append(data) == len(expected)
                expected += data
            elif at >= found.fixed:
                found.write(at, data)
                expected += bytes(max(0, at + len(data) - len(expected)))
                expected[at : at + len(data)] = data
            if moves:
                found.fix()
                path = Path(folder) / f"{len(expected)}"
                path.write_bytes(bytes(expected))
                found.append(b"later")
                expected += b"later"
                found.rest_on(Stretch(OpenFile(path), 0, found.fixed))
            assert len(found) == len(expected)
            assert found.read(0, len(found)) == expected
            for first in range(len(expected)):
                assert found.read(first, min(9, len(expected) - first)) == expected[first : first + 9]


def test_texts_stay_what_they_are_when_they_move_into_a_file(tmp_path: Path) -> None:
    texts = Texts()
    texts.put(1, b"one.")
    texts.put(2, b"two")
    texts.put(6, b"gone")
    texts.drop(6)
    texts.fix()
    texts.drop(2)
    # The room of both is being written.
    texts.put(3, b"six")
    (tmp_path / "texts").write_bytes(b"one.two\0gone")
    texts.rest_on(Stretch(OpenFile(tmp_path / "texts"), 0, 12))
    texts.drop(1)
    texts.put(4, b"ten")
    texts.drop(4)
    texts.put(5, b"one")
    assert [texts.get(number) for number in (3, 5)] == [b"six", b"one"]
    assert len(texts.arena) == 20


def test_ids_stay_what_they_are_when_they_move_into_a_file(tmp_path: Path) -> None:
    found = ContentIds()
    found.add(3, content(3))
    assert found.fix() == 4
    found.add(2, content(2))
    found.add(4, content(4))
    (tmp_path / "ids").write_bytes(bytes(96) + bytes.fromhex(content(3)))
    found.rest_on(Stretch(OpenFile(tmp_path / "ids"), 0, 128))
    found.add(1, content(1))
    assert [found.id_of(number) for number in range(1, 5)] == [content(number) for number in range(1, 5)]
    assert [found.number_of(content(number)) for number in range(1, 5)] == [1, 2, 3, 4]
    assert found.fix() == 5
    assert found.piece(1, 5).hex() == "".join(content(number) for number in range(1, 5))


@given(st.lists(st.tuples(small, st.sampled_from(["a", "b/c", "ä", "d" * 90])), max_size=60))
def test_a_folder_goes_with_the_last_item_in_it(changes: list[tuple[int, str]]) -> None:
    folders, expected = Folders(), dict[int, tuple[int, str]]()
    for item, folder in changes:
        if item in expected:
            folders.drop(expected.pop(item)[0])
        else:
            expected[item] = (folders.take(folder), folder)
        assert [folders.get(number) for number, _ in expected.values()] == [path for _, path in expected.values()]
    assert folders.highest <= 12


@given(st.lists(small, max_size=80))
def test_contents_are_found_by_number_and_by_id(changes: list[int]) -> None:
    found, expected = ContentIds(), dict[int, str]()
    for number in changes:
        if expected.pop(number, None) is None:
            expected[number] = content(number)
            found.add(number, content(number))
        else:
            found.remove(number)
        assert len(found) == len(expected)
        for one in range(1, 13):
            assert found.number_of(content(one)) == (one if one in expected else None)
    assert {number: found.id_of(number) for number in expected} == expected


def test_very_many_contents_are_told_apart() -> None:
    found = ContentIds()
    for number in range(1, 5_000):
        found.add(number, content(number))
    for number in range(1, 5_000, 2):
        found.remove(number)
    for number in range(1, 5_000):
        assert found.number_of(content(number)) == (None if number % 2 else number)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 4), st.sets(small))))
def test_holders_are_a_dictionary_of_sets(changes: list[tuple[bool, int, set[int]]]) -> None:
    holders, expected = Holders(), {number: set[int]() for number in range(14)}
    most = 0
    for add, account, contents in changes:
        those = sorted(number for number in contents if (account in expected[number]) is not add)
        (holders.add if add else holders.remove)(account, ids(*those))
        for number in those:
            (expected[number].add if add else expected[number].discard)(account)
        most = max(most, sum(map(len, expected.values())))
        for number, accounts in expected.items():
            assert sorted(holders.of(number)) == sorted(accounts)
    assert holders.places <= most


@given(
    st.lists(st.tuples(st.integers(1, 30), st.sets(small)), unique_by=lambda row: row[0]),
    st.sets(st.integers(1, 30)),
    st.integers(1, 4),
)
def test_some_holders_of_many_contents_are_those_of_each(
    held: list[tuple[int, set[int]]], marked: set[int], most: int
) -> None:
    holders, among = Holders(), Column(np.uint8)
    for account, contents in held:
        holders.add(account, ids(*sorted(contents)))
    for account in marked:
        among.one[account] = 1
    found = holders.some_of_each(ids(*range(14)), among, most)
    for number, some in enumerate(found):
        there = {account for account, contents in held if number in contents and account in marked}
        assert len(some) == min(most, len(there)) == len(set(some) & there)
        assert some == holders.some_of(number, among, most)


def test_a_long_list_of_those_who_are_not_there_is_walked_to_its_end() -> None:
    holders, among = Holders(), Column(np.uint8)
    for account in range(1, 301):
        holders.add(account, ids(5, 6))
    among.one[1] = 1
    assert holders.some_of_each(ids(5, 6), among, 3) == [[1], [1]]


entries = st.builds(
    Entry,
    content=st.integers(1, 3).map(content),
    size=st.integers(0, 1 << 46),
    folder=st.sampled_from(["x", "Ä/b/c", "語/音 楽"]),
    name=st.sampled_from(["a b.mp3", "Éa_B", "音楽.flac", "n" * 255, "😀" * 255]),
    audience=st.sampled_from([(EVERYONE,), ("@me", "staff")]),
    media=st.builds(
        Media, duration_s=st.sampled_from([None, 0.0, 0.1, 1e9]), bitrate_kbps=st.sampled_from([None, 0, 10**7])
    ),
)


@given(st.lists(st.tuples(small, entries), max_size=40))
def test_the_table_is_a_dictionary_of_items(changes: list[tuple[int, Entry]]) -> None:
    table, expected = ItemTable(), dict[int, Item]()
    numbers = {content(number): number for number in range(1, 4)}
    for item, entry in changes:
        if item in expected:
            gone = [item, item + 1, item]
            known = {number for number in gone if number in expected}
            assert {number for number, _ in table.forget(gone)} == known
            for number in known:
                del expected[number]
        else:
            expected[item] = Item(item, numbers[entry.content], entry)
            assert table.learn(expected[item]) == searchable(entry.folder, entry.name).terms
            assert table.learn(expected[item]) is None
        assert len(table) == len(expected)
        assert table.missing(ids(*range(1, 2000))).tolist() == [n for n in range(1, 2000) if n not in expected]
        assert set(table.restricted) == {n for n, one in expected.items() if EVERYONE not in one.entry.audience}
        for number, one in expected.items():
            same_as(table, number, one)
        for one in numbers:
            of_it = {n for n, item in expected.items() if item.entry.content == one}
            assert table.number_of(one) == (numbers[one] if of_it else None)
            if of_it:
                assert set(table.items_of(numbers[one])) == of_it
                assert table.content_id(numbers[one]) == one
                assert (table.only_item_of(numbers[one]) is None) is (len(of_it) > 1)
        there = sorted({item.content for item in expected.values()})
        assert sorted(table.items_of_all(ids(*there)).tolist()) == sorted(expected)


def same_as(table: ItemTable, number: int, item: Item) -> None:
    row, entry = table.row(number), item.entry
    assert (row.content, row.name, row.folder, row.size) == (item.content, entry.name, entry.folder, entry.size)
    assert row.media == (None if entry.media == Media() else entry.media)
    assert row.audience == (None if EVERYONE in entry.audience else entry.audience)
    assert row.text == searchable(entry.folder, entry.name).text
    assert table.name_text(number) == searchable("", entry.name).text
    assert table.words.one[number] == searchable("", entry.name).words


@given(st.text(min_size=1).filter(lambda text: "\0" not in text), st.text(min_size=1))
def test_the_text_alone_is_the_same(folder: str, name: str) -> None:
    assert searchable_text(folder, name) == searchable(folder, name).text


def test_items_may_be_forgotten_little_by_little_and_by_several() -> None:
    table = ItemTable()
    items = [Item(n, 1 + n // 5, Entry(content(1 + n // 5), n, "x", f"{n}")) for n in range(1, 10)]
    for item in items:
        table.learn(item)
    one, other = table.forget(range(1, 8)), table.forget(range(1, 10))
    assert [next(one)[0], next(other)[0], next(other)[0], next(one)[0]] == [1, 2, 3, 4]
    # A content comes back before the last of its items is out of its list.
    table.learn(Item(10, 1, Entry(content(1), 10, "x", "10")))
    assert [item for item, _ in one] == [5, 6, 7]
    assert table.items_of(1) == [10]
    other.close()
    assert table.items_of(1) == [10]
    assert sorted(table.items_of(2)) == [8, 9]
    assert [item for item, _ in table.forget([8, 9, 10])] == [8, 9, 10]
    assert [table.number_of(content(number)) for number in (1, 2)] == [None, None]
    assert len(table) == 0


def test_sizes_of_more_than_four_gigabytes_are_told_as_others() -> None:
    table = ItemTable()
    sizes = [0, 1, (1 << 32) - 2, (1 << 32) - 1, 1 << 32, 1 << 46]
    for number, size in enumerate(sizes, 1):
        table.learn(Item(number, number, Entry(content(number), size, "x", f"{number}")))
    assert table.sizes.of(ids(6, 1, 4)).tolist() == [1 << 46, 0, (1 << 32) - 1]
    assert table.sizes.between(0, 7).tolist() == [0, *sizes]
    assert [table.row(number).size for number in range(1, 7)] == sizes
    assert [item for item, _ in table.forget([5])] == [5]
    assert table.sizes.between(4, 8).tolist() == [(1 << 32) - 1, 0, 1 << 46, 0]
