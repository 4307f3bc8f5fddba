"""Searching over the wire: what is found, how it is shown and ordered, pages, limits; and who is online."""

from __future__ import annotations

import pytest

from napd.index.claims import MAX_ASKED
from napd.index.engine import MemoryEngine
from napd.index.items import Asker, Item
from napd.index.limits import Limits
from napd.index.presence import Presence
from napd.index.search import Wanted, wanted_of
from napd.index.store.interface import Account
from napd.index.table import ItemTable
from napd.model import PeerId
from napd.wire import index as wire
from napd.wire.line import MAX_LINE_BYTES
from tests.support.index_script import IndexScript, PeerScript, content, entry


@pytest.fixture
def index() -> IndexScript:
    return IndexScript()


@pytest.fixture
def asker(index: IndexScript) -> PeerScript:
    return index.online("zoe")


def test_a_result_tells_what_the_holders_say(index: IndexScript, asker: PeerScript) -> None:
    index.online("ann", entry("Music/Album/song.mp3", size=123, duration_s=61.5, bitrate_kbps=320))
    (result,) = asker.search("song").results
    assert result == wire.Result(
        content=content("Music/Album/song.mp3"),
        name="song.mp3",
        folder="Music/Album",
        size=123,
        sources=1,
        users=("ann",),
        type="audio",
        media={"duration_s": 61.5, "bitrate_kbps": 320.0},
    )


def test_holders_are_counted_whatever_they_call_it_and_most_of_them_choose_the_name(
    index: IndexScript, asker: PeerScript
) -> None:
    index.online("ann", entry("a/odd name.mp3", seed="x", size=5))
    for user in ("bob", "cat"):
        index.online(user, entry("b/common.mp3", seed="x", size=7))
    (result,) = asker.search("mp3").results
    assert (result.name, result.folder, result.size) == ("common.mp3", "b", 7)
    assert (result.sources, result.users, result.names) == (3, ("ann", "bob", "cat"), 2)


def test_a_result_is_called_what_was_searched_for_although_most_call_it_something_else(
    index: IndexScript, asker: PeerScript
) -> None:
    index.online("ann", entry("a/zulu song.mp3", seed="x"))
    for user in ("bob", "cat"):
        index.online(user, entry("b/alpha.bin", seed="x"))
    for words, filters in (("zulu", {}), ("zulu", {"ext": ("mp3",)}), ("zulu -alpha", {}), ("song", {"user": "ann"})):
        (result,) = asker.search(words, **filters).results
        assert (result.name, result.sources) == ("zulu song.mp3", 3)


def test_one_account_has_one_vote_however_often_it_shares_a_content(index: IndexScript, asker: PeerScript) -> None:
    index.online("ann", *(entry(f"{n}/zzz.mp3", seed="x") for n in range(5)))
    index.online("bob", entry("b/aaa.mp3", seed="x"))
    (result,) = asker.search("mp3").results
    assert (result.name, result.sources) == ("aaa.mp3", 2)


def test_of_a_great_crowd_a_part_is_asked_what_it_calls_a_content() -> None:
    table = ItemTable()
    presence = Presence(table)
    engine = MemoryEngine(table, presence)
    engine.learn([Item(1, 1, entry("a/word common", seed="x")), Item(2, 1, entry("a/word odd", seed="x"))])
    for account in range(MAX_ASKED * 3):
        online = presence.connect(Account(account, f"id{account}", f"u{account}", PeerId("p")), 1, 0.0)
        presence.add(online, [2 if account % 3 == 0 else 1])
    (found,) = engine.search(wanted_of(wire.Search(1, "word"), 100), ASKER).results
    assert found.shown.name == "word common"
    assert found.sources == MAX_ASKED * 3


def test_who_came_first_does_not_matter(index: IndexScript, asker: PeerScript) -> None:
    orders = []
    for users in (("ann", "bob"), ("bob", "ann")):
        again = IndexScript()
        seen_by = again.online("zoe")
        for user in users:
            again.online(user, entry(f"{user}/{user}.mp3", seed="x"))
        orders.append(seen_by.search("mp3").results)
    assert orders[0] == orders[1]


def test_own_files_are_no_results_even_under_another_name(index: IndexScript) -> None:
    index.online("ann", entry("a/song.mp3", seed="x"), entry("a/song two.mp3"))
    peer = index.online("bob", entry("mine/called otherwise.bin", seed="x"))
    assert peer.found("song") == ["song two.mp3"]


def test_words_are_looked_for_in_the_name_and_the_two_nearest_folders(index: IndexScript, asker: PeerScript) -> None:
    index.online("ann", entry("Share/Artist/Album/Song.mp3"))
    assert asker.found("artist album song") == ["Song.mp3"]
    assert asker.found("share") == []


@pytest.mark.parametrize(
    ("query", "options", "names"),
    [
        ("track", {"ext": ("mp3",)}, ["a track.mp3"]),
        ("track", {"ext": (".MP3", "mkv")}, ["a track.mp3", "b track.mkv"]),
        ("track", {"ext": ("tar.gz",)}, ["c track.tar.gz"]),
        ("track", {"type": "video"}, ["b track.mkv"]),
        ("track", {"min_size": 200}, ["b track.mkv", "c track.tar.gz"]),
        ("track", {"max_size": 100}, ["a track.mp3"]),
        ("track", {"min_size": 200, "max_size": 200}, ["b track.mkv"]),
        ("track", {"min_size": 201, "max_size": 199}, []),
        ("track", {"min_bitrate": 256}, ["a track.mp3"]),
        ("track", {"min_bitrate": 257}, []),
        ("track", {"user": "ann"}, ["a track.mp3", "b track.mkv"]),
        ("track", {"user": "nobody"}, []),
        ("track", {"user": "zoe"}, []),
        ("track -mkv", {}, ["a track.mp3", "c track.tar.gz"]),
        ("tra*", {}, ["a track.mp3", "b track.mkv", "c track.tar.gz"]),
        ('"b track"', {}, ["b track.mkv"]),
        ("TRÁCK", {"ext": ("mp3",)}, ["a track.mp3"]),
        ("nowhere", {}, []),
    ],
)
def test_filters_and_query_words_narrow(
    index: IndexScript, asker: PeerScript, query: str, options: dict[str, object], names: list[str]
) -> None:
    index.online("ann", entry("s/a track.mp3", size=100, bitrate_kbps=256), entry("s/b track.mkv", size=200))
    index.online("bob", entry("s/c track.tar.gz", size=300))
    assert asker.found(query, sort="name", **options) == names


def test_filters_hold_for_what_is_shown(index: IndexScript, asker: PeerScript) -> None:
    for user in ("ann", "bob"):
        index.online(user, entry("s/song.mp3", seed="x"))
    index.online("cat", entry("s/song.ogg", seed="x"))
    assert asker.found("song", ext=("ogg",)) == ["song.ogg"]
    assert asker.found("ogg -mp3") == ["song.ogg"]
    assert asker.found("ogg") == ["song.ogg"]
    assert asker.found("song") == ["song.mp3"]


def test_orders(index: IndexScript, asker: PeerScript) -> None:
    index.online("ann", entry("s/b word.txt", size=3), entry("s/a word.txt", size=1), entry("s/c word.txt", size=2))
    index.online("bob", entry("s/c word.txt", size=2))
    assert asker.found("word", sort="name") == ["a word.txt", "b word.txt", "c word.txt"]
    assert asker.found("word", sort="size") == ["b word.txt", "c word.txt", "a word.txt"]
    assert asker.found("word", sort="sources")[0] == "c word.txt"
    assert asker.found("word")[0] == "c word.txt"


def test_the_best_fitting_name_comes_first_among_equally_held(index: IndexScript, asker: PeerScript) -> None:
    index.online(
        "ann",
        entry("s/a long tale of red wine.txt"),
        entry("s/red wine.txt"),
        entry("s/wine red.txt"),
        entry("red wine/other.txt"),
    )
    assert asker.found("red wine") == ["red wine.txt", "a long tale of red wine.txt", "wine red.txt", "other.txt"]


@pytest.mark.parametrize("sort", ["best", "sources", "size", "name"])
def test_pages_follow_each_other_while_peers_come_and_go(index: IndexScript, asker: PeerScript, sort: str) -> None:
    ann = index.online("ann", *(entry(f"a/song {n:02}.mp3", size=n) for n in range(0, 20, 2)))
    index.online("bob", *(entry(f"b/song {n:02}.mp3", size=n) for n in range(1, 20, 2)))
    first = asker.search("song", sort=sort, limit=6)
    assert first.truncated
    assert first.next is not None
    ann.leave()
    second = asker.search("song", sort=sort, limit=100, cursor=first.next)
    assert not second.truncated
    assert second.next is None
    seen = [result.content for result in (*first.results, *second.results)]
    assert len(seen) == len(set(seen))
    assert {result.users for result in second.results} == {("bob",)}
    assert sum(result.users == ("bob",) for result in (*first.results, *second.results)) == 10


@pytest.mark.parametrize(("query", "cursor"), [("", None), ("-only", None), ("word", "rubbish"), ("word", "é")])
def test_a_search_that_cannot_be_is_answered_with_an_error(
    index: IndexScript, asker: PeerScript, query: str, cursor: str | None
) -> None:
    asker.say(wire.Search(5, query, cursor=cursor))
    error = asker.one(wire.Error)
    assert (error.code, error.id) == ("usage", 5)


@pytest.mark.parametrize("query", ["song -song", "song type:audio ext:jpg", "song size>2M size<1M", "type:movie"])
def test_what_can_never_match_is_answered_at_once_with_the_reason(
    index: IndexScript, asker: PeerScript, query: str
) -> None:
    index.online("ann", entry("a/song.mp3"))
    page = asker.search(query)
    assert page.reason
    assert (page.results, page.truncated, page.next) == ((), False, None)
    assert asker.search("song").reason is None


def test_options_and_what_is_typed_hold_together(index: IndexScript, asker: PeerScript) -> None:
    index.online("ann", entry("a/song.mp3", size=50), entry("a/song.ogg", size=5), entry("a/tune.ogg", size=50))
    index.online("bob", entry("b/song.ogg", size=70))
    assert asker.found("ext:ogg", min_size=10, user="ann") == ["tune.ogg"]
    assert asker.found("song OR tune size>=50 user:ann", ext=("mp3",)) == ["song.mp3"]
    assert asker.search("user:bob", user="ann").reason == "nobody is two users"


def test_filters_alone_are_a_search(index: IndexScript, asker: PeerScript) -> None:
    index.online("ann", entry("a/song.mp3", size=50), entry("a/text.txt", size=5))
    for query, options in (("type:audio", {}), ("", {"ext": ("mp3",)}), ("size>10", {}), ("user:ann -ext:txt", {})):
        assert asker.found(query, **options) == ["song.mp3"]
    assert asker.found("size>=0", sort="size") == ["song.mp3", "text.txt"]


def test_a_page_with_long_names_comes_in_several_lines(index: IndexScript, asker: PeerScript) -> None:
    names = [f"word {n} " + "語" * 240 for n in range(100)]
    ann = index.online("ann")
    for n, name in enumerate(names):
        ann.announce(entry("f" * 2000 + "/" + name), reset=n == 0)
    asker.say(wire.Search(1, "word"))
    data = asker.transport.value()
    parts = asker.all(wire.Results)
    assert len(parts) > 1
    assert sum(len(part.results) for part in parts) == 100
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
    assert max(map(len, data.split(b"\n"))) <= MAX_LINE_BYTES


def test_searches_are_limited_and_the_session_stays() -> None:
    index = IndexScript(limits=Limits(searches_per_s=2, search_burst=3))
    peer = index.online("ann")
    for n in range(5):
        peer.say(wire.Search(n, "x"))
    said = peer.heard()
    assert [type(message) for message in said] == [wire.Results] * 3 + [wire.Error] * 2
    assert [message.id for message in said if isinstance(message, wire.Error)] == [3, 4]
    assert len(index.events("limit.hit")) == 1
    index.clock.advance(1)
    assert peer.found("x") == []


def test_only_so_many_requests_may_be_open() -> None:
    index = IndexScript(limits=Limits(search_burst=1000))
    peer = index.online("ann")
    peer.say(*(wire.Search(n, "x") for n in range(wire.MAX_OUTSTANDING + 3)))
    said = peer.heard()
    assert sum(isinstance(message, wire.Results) for message in said) == wire.MAX_OUTSTANDING
    errors = [message for message in said if isinstance(message, wire.Error)]
    assert [(error.code, error.id) for error in errors] == [("limit", wire.MAX_OUTSTANDING + n) for n in range(3)]


def test_a_page_is_limited_by_the_index() -> None:
    index = IndexScript(limits=Limits(page=2))
    index.online("ann", *(entry(f"a/song {n}.mp3") for n in range(5)))
    peer = index.online("bob")
    page = peer.search("song", limit=1000)
    assert len(page.results) == 2
    assert page.next is not None


def test_a_search_is_logged_and_counted(index: IndexScript, asker: PeerScript) -> None:
    index.online("ann", entry("a/song.mp3"))
    asker.search("song")
    assert index.events("search.answered") == [{"user": "zoe", "query": "song", "results": 1, "took_ms": 0.0}]
    assert index.services.figures.searches == 1


# --- Users -------------------------------------------------------------------------------------------


def users(peer: PeerScript, words: str = "") -> list[tuple[str, int, int]]:
    peer.say(wire.Users(4, words))
    rows = [row for part in peer.all(wire.UserList) for row in part.users]
    return [(row.user, row.listings, row.bytes) for row in rows]


def test_everybody_online_is_listed_with_what_he_shares(index: IndexScript, asker: PeerScript) -> None:
    index.online("ann", entry("a/1", size=5), entry("a/2", size=7))
    index.online("bob").leave()
    assert users(asker) == [("ann", 2, 12), ("zoe", 0, 0)]


def test_users_are_filtered_by_words_of_their_names(index: IndexScript, asker: PeerScript) -> None:
    for user in ("ann.smith", "bob.smith", "ann.jones"):
        index.online(user)
    assert [row[0] for row in users(asker, "Smith")] == ["ann.smith", "bob.smith"]
    assert [row[0] for row in users(asker, "smith ann")] == ["ann.smith"]
    assert users(asker, "nobody") == []


def test_since_is_when_the_session_began(index: IndexScript, asker: PeerScript) -> None:
    began = index.now()
    index.clock.advance(3)
    index.online("ann")
    asker.say(wire.Users(4))
    assert [row.since for row in asker.one(wire.UserList).users] == [began + 3, began]


# --- Bounds of the engine ----------------------------------------------------------------------------


def filled(held: list[int], **bounds: int) -> tuple[MemoryEngine, Presence]:
    """An engine with a content for each figure, which so many accounts hold."""
    table = ItemTable()
    presence = Presence(table)
    engine = MemoryEngine(table, presence, **bounds)
    engine.learn(Item(n, n, entry(f"a/word {n}", seed=n, size=n)) for n in range(1, len(held) + 1))
    for account in range(max(held)):
        online = presence.connect(Account(account, f"id{account}", f"u{account}", PeerId("p")), 1, 0.0)
        presence.add(online, [n for n, holders in enumerate(held, 1) if holders > account])
    return engine, presence


ASKER = Asker(10_000, "asker", "peer")


def search(engine: MemoryEngine, **how: object) -> tuple[list[int], bool]:
    page = engine.search(wanted_of(wire.Search(1, "word", **how), 1000), ASKER)  # type: ignore[arg-type]
    return [result.sources for result in page.results], page.truncated


def test_a_common_word_ends_early_with_the_best_held(monkeypatch: pytest.MonkeyPatch) -> None:
    held = [1] * 200 + [9] * 10 + [3] * 20
    engine, _ = filled(held, examined=10_000)
    sources, truncated = search(engine, sort="sources", limit=15)
    assert sources == [9] * 10 + [3] * 5
    assert truncated


def test_no_search_looks_at_more_than_its_bound() -> None:
    engine, _ = filled([1] * 300, examined=50)
    for sort in ("best", "sources", "size", "name"):
        sources, truncated = search(engine, sort=sort, limit=1000)
        assert len(sources) == 50
        assert truncated


def test_what_is_looked_at_whole_is_not_called_truncated() -> None:
    engine, _ = filled([1] * 50, examined=50)
    assert search(engine, limit=1000) == ([1] * 50, False)


def test_paging_reaches_beyond_what_is_enough_for_one_page() -> None:
    engine, _ = filled([5] * 30 + [1] * 30, examined=1000)
    seen: list[str] = []
    cursor = None
    while True:
        wanted: Wanted = wanted_of(wire.Search(1, "word", sort="sources", limit=7, cursor=cursor), 1000)
        page = engine.search(wanted, ASKER)
        seen += [result.content for result in page.results]
        cursor = page.next
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 60


def test_forgotten_items_are_found_no_more_and_take_no_memory() -> None:
    engine, presence = filled([1] * 3)
    (online,) = presence.all()
    presence.remove(online, [1, 2, 3])
    engine.forget([1, 2, 3, 4])
    assert search(engine) == ([], False)
    assert engine.size() == (0, 0)


def test_the_empty_file_of_ten_thousand_names_costs_no_more_than_others() -> None:
    table = ItemTable()
    presence = Presence(table)
    engine = MemoryEngine(table, presence)
    engine.learn(Item(n, 1, entry(f"a/{n}/word.txt", seed="empty", size=0)) for n in range(1, 10_001))
    online = presence.connect(Account(1, "id", "user", PeerId("p")), 1, 0.0)
    presence.add(online, range(1, 10_001))
    page = engine.search(wanted_of(wire.Search(1, "word"), 100), ASKER)
    assert [result.shown.name for result in page.results] == ["word.txt"]
    assert presence.contents == 1
    presence.disconnect(online)
    assert engine.search(wanted_of(wire.Search(1, "word"), 100), ASKER).results == []
