"""A page has what comes first of all that matches, though hardly anything of it was looked at."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napd.index import best_first as order_module
from napd.index import judge, ranking
from napd.index.best_first import best_first
from napd.index.engine import MemoryEngine
from napd.index.items import Asker, Item
from napd.index.language import understand
from napd.index.order import name_key, points_of, source_points, text_bounds, text_points
from napd.index.presence import Presence
from napd.index.search import wanted_of
from napd.index.store.interface import Account
from napd.index.table import MAX_WORDS, ItemTable
from napd.index.words import searchable
from napd.model import PeerId
from napd.wire import index as wire
from tests.support.index_script import entry

ASKER = Asker(10_000, "asker", "peer")
WORDS = ("red", "green", "blue", "reddish")


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that some hundred items are many."""
    monkeypatch.setattr(order_module, "_FIRST", 4)
    monkeypatch.setattr(ranking, "GROUP", 16)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1 << 60))))
def test_the_highest_come_first_and_equal_ones_by_their_ties(rows: list[tuple[int, int]]) -> None:
    figures = np.array([figure for figure, _ in rows], np.int64)
    ties = np.array([tie for _, tie in rows], np.int64)
    found = [number for piece in best_first(figures, lambda numbers: ties[numbers]) for number in piece.tolist()]
    assert sorted(found) == list(range(len(rows)))
    assert [rows[number] for number in found] == sorted(rows, key=lambda row: (-row[0], row[1]))


@given(
    st.sampled_from(["red", "red green", '"red green"', "red OR green", "re* green", "red green blue", "語"]),
    st.lists(st.sampled_from([*WORDS, "語", "☃", "x-y"]), min_size=1, max_size=9),
)
def test_no_name_is_worth_more_than_its_number_of_words_says(typed: str, name: list[str]) -> None:
    query, found_by = understand(typed), searchable("red/green", " ".join(name))
    assert text_points(query, found_by.text) <= text_bounds(query)[min(found_by.words, MAX_WORDS)]


@given(st.lists(st.integers(0, 1 << 32) | st.integers(0, 3000)))
def test_sources_are_worth_the_same_one_by_one_and_by_the_thousand(sources: list[int]) -> None:
    assert points_of(np.array(sources, np.int64)).tolist() == list(map(source_points, sources))


class Community:
    """Some contents of one or more names each, held by random accounts."""

    def __init__(self, seed: int) -> None:
        random = Random(seed)
        self.table = ItemTable()
        self.presence = Presence(self.table)
        self.engine = MemoryEngine(self.table, self.presence)
        self.items: list[Item] = []
        self.holders: dict[int, set[int]] = {}
        for content in range(1, 301):
            for _ in range(random.choice([1, 1, 1, 2, 5])):
                folder, name = (random.choices(WORDS, k=random.randint(1, most)) for most in (2, 5))
                made = entry(f"{'/'.join(folder)}/{' '.join(name)}", seed=content, size=random.choice([0, 5, content]))
                self.items.append(Item(len(self.items) + 1, content, made))
        self.engine.learn(self.items)
        for number in range(1, 41):
            online = self.presence.connect(Account(number, f"id{number}", f"u{number}", PeerId("p")), 1, 0.0)
            held = [item for item in self.items if random.random() < 0.5 ** (1 + item.content % 7)]
            self.presence.add(online, [item.id for item in held])
            for item in held:
                self.holders.setdefault(item.id, set()).add(number)
            if seed % 2:
                self.presence.connects_from(online, "81.2.3.0/24" if number % 3 else f"81.2.{number}.0/24")
                self.presence.slots_told(online, number % 2)

    def page_by_page(self, typed: str, sort: str, limit: int) -> list[str]:
        found: list[str] = []
        cursor = None
        while True:
            asked = wanted_of(wire.Search(1, typed, sort=sort, limit=limit, cursor=cursor), 100)  # type: ignore[arg-type]
            page = self.engine.search(asked, ASKER)
            found += [result.content for result in page.results]
            assert page.truncated == (page.next is not None)
            cursor = page.next
            if cursor is None:
                return found

    def plainly(self, typed: str, sort: str) -> list[str]:
        """All of them looked at."""
        query = understand(typed)
        places: dict[str, tuple[int | str, str]] = {}
        for item in self.items:
            text = searchable(item.entry.folder, item.entry.name).text
            if item.id not in self.holders or not query.fits(self.table.row(item.id)):
                continue
            content = item.entry.content
            place = (self._figure(sort, item, text_points(query, text)), content)
            places[content] = min(places.get(content, place), place)
        return [content for _, content in sorted(places.values())]

    def _figure(self, sort: str, item: Item, worth: int) -> int:
        holders = set().union(
            *(self.holders.get(other.id, set()) for other in self.items if other.content == item.content)
        )
        if sort == "sources":
            return -len(holders)
        excess = self.presence.networks.excess(holders)
        all_busy = bool(holders) and holders <= self.presence.busy
        return -(worth + source_points(len(holders) - excess)) + (200 if all_busy else 0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sort", ["best", "sources"])
def test_page_by_page_everything_comes_in_order(seed: int, sort: str) -> None:
    community = Community(seed)
    for typed in ("red", "red green", "green blue", '"red green"', "re*", "red OR blue", "red -green", "size>=5"):
        expected = community.plainly(typed, sort)
        for limit in (7, 100):
            assert community.page_by_page(typed, sort, limit) == expected


def test_sources_of_one_network_count_as_they_are_now() -> None:
    """What is remembered of them is forgotten when they change."""
    community = Community(1)
    random = Random(1)
    for step in range(30):
        online = random.choice(sorted(community.presence.all(), key=lambda one: one.account.number))
        number = online.account.number
        if step % 3 == 0:
            community.presence.connects_from(online, random.choice([None, "81.2.3.0/24", "9.9.9.0/24"]))
        elif step % 3 == 1:
            gone = random.sample(sorted(online.items), min(5, len(online.items)))
            community.presence.remove(online, gone)
            for item in gone:
                community.holders[item].discard(number)
        else:
            held = random.sample(range(1, len(community.items) + 1), 5)
            community.presence.add(online, held)
            for item in held:
                community.holders.setdefault(item, set()).add(number)
        community.holders = {item: holders for item, holders in community.holders.items() if holders}
        assert community.page_by_page("red", "best", 100) == community.plainly("red", "best")


@pytest.mark.parametrize("sort", ["size", "name"])
def test_orders_by_what_is_shown_are_those_of_what_is_shown(sort: str) -> None:
    community = Community(1)
    for typed in ("red", "red green", "re* -blue"):
        asked = wanted_of(wire.Search(1, typed, sort=sort, limit=1000), 1000)  # type: ignore[arg-type]
        found = community.engine.search(asked, ASKER).results
        keys = [-result.shown.size if sort == "size" else name_key(result.shown.name) for result in found]
        assert keys == sorted(keys)  # type: ignore[type-var]
        assert {result.content for result in found} == set(community.plainly(typed, "best"))
        assert community.page_by_page(typed, sort, 9) == [result.content for result in found]


def test_a_page_of_a_common_word_takes_few_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    community = Community(2)
    looks: list[int] = []
    monkeypatch.setattr(
        judge, "text_points", lambda query, text, real=text_points: looks.append(1) or real(query, text)
    )
    expected = community.plainly("red", "best")[:5]
    asked = wanted_of(wire.Search(1, "red", limit=5), 100)
    assert [result.content for result in community.engine.search(asked, ASKER).results] == expected
    assert len(looks) < 60
