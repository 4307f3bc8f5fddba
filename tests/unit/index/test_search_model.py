"""Whatever peers announce, and however they come and go: a search finds what a plain look through all would find."""

from __future__ import annotations

import re
from math import log2
from typing import Any

from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from napd.model import EVERYONE
from napd.wire import index as wire
from napd.wire.catalogue import Entry, Media
from tests.support.index_script import IndexScript, content

USERS = ("ann", "bob", "cat", "dan")
WORDS = ("red", "green", "redder")

words = st.sampled_from(WORDS)
names = st.builds(
    lambda parts, ext: "-".join(parts) + ext,
    st.lists(words, min_size=1, max_size=3),
    st.sampled_from([".mp3", ".txt", ""]),
)
folders = st.lists(words, min_size=1, max_size=3).map("/".join)
audiences = st.sampled_from([(EVERYONE,)] * 6 + [("@account-1",), ("@account-2", "@account-3"), ("staff",)])
medias = st.sampled_from([Media()] * 3 + [Media(bitrate_kbps=128), Media(duration_s=9.5, bitrate_kbps=320)])
entries = st.builds(
    Entry,
    content=st.integers(0, 4).map(content),
    size=st.sampled_from([0, 10, 1000, 1_000_000]),
    folder=folders,
    name=names,
    audience=audiences,
    media=medias,
)


@define
class Typed:
    """One piece of a query, as typed and as meant."""

    kind: str
    words: tuple[str, ...]
    excluded: bool

    def text(self) -> str:
        shown = {
            "word": self.words[0],
            "prefix": f"{self.words[0][:3]}*",
            "phrase": '"' + " ".join(self.words) + '"',
            "either": " OR ".join(self.words),
        }
        return ("-" if self.excluded else "") + shown[self.kind]

    def meaning(self) -> tuple[tuple[bool, tuple[str, ...]], ...]:
        """Of each piece whether it is a prefix, and the words that count: a phrase of one word is that word."""
        if self.kind == "either":
            return tuple((False, (word,)) for word in dict.fromkeys(self.words))
        if self.kind == "prefix":
            return ((True, (self.words[0][:3],)),)
        return ((False, self.words if self.kind == "phrase" else self.words[:1]),)

    def rules_out(self, word: str) -> bool:
        """Whether nothing that has this word is left."""
        return self.excluded and self.fits([[word]])

    def fits(self, components: list[list[str]]) -> bool:
        if self.kind == "word":
            return any(self.words[0] in tokens for tokens in components)
        if self.kind == "prefix":
            return any(token.startswith(self.words[0][:3]) for tokens in components for token in tokens)
        if self.kind == "either":
            return any(word in tokens for word in self.words for tokens in components)
        size = len(self.words)
        return any(
            tuple(tokens[at : at + size]) == self.words for tokens in components for at in range(len(tokens) - size + 1)
        )


pieces = st.builds(
    Typed,
    kind=st.sampled_from(["word", "word", "prefix", "phrase"]),
    words=st.lists(words, min_size=1, max_size=2).map(tuple),
    excluded=st.sampled_from([False, False, False, True]),
) | st.builds(
    Typed, kind=st.just("either"), words=st.lists(words, min_size=2, max_size=3).map(tuple), excluded=st.just(False)
)
queries = st.lists(pieces, min_size=1, max_size=2).filter(lambda found: any(not piece.excluded for piece in found))
filters: st.SearchStrategy[dict[str, Any]] = (
    st.just({})
    | st.just({})
    | st.fixed_dictionaries(
        {},
        optional={
            "ext": st.sampled_from([("mp3",), (".TXT", "pdf")]),
            "type": st.sampled_from(["audio", "document"]),
            "min_size": st.sampled_from([1, 11, 1000]),
            "max_size": st.sampled_from([0, 10, 999]),
            "min_bitrate": st.sampled_from([1, 129, 320]),
            "user": st.sampled_from(USERS),
        },
    )
)


def as_typed(wished: dict[str, Any]) -> str:
    """The same filters, among the words."""
    shown = {
        "ext": lambda value: f"ext:{','.join(value)}",
        "type": lambda value: f"type:{value}",
        "min_size": lambda value: f"size>={value}",
        "max_size": lambda value: f"size <= {value}",
        "min_bitrate": lambda value: f"bitrate>={value}k",
        "user": lambda value: f"user:@{value}",
    }
    return " ".join(shown[name](value) for name, value in wished.items())


def tokens_of(entry: Entry) -> list[list[str]]:
    return [re.findall("[a-z0-9]+", part) for part in [*entry.folder.split("/")[-2:], entry.name]]


@define
class Model:
    """Accounts online and what each holds, and what each wishes for: dictionaries."""

    online: dict[str, set[Entry]] = field(factory=dict)
    wishes: dict[str, tuple[list[Typed], dict[str, Any]]] = field(factory=dict)

    def everyone(self) -> set[Entry]:
        return {entry for held in self.online.values() for entry in held if EVERYONE in entry.audience}

    def told(self, wisher: str, user: str, announced: set[Entry], seen: set[Entry]) -> list[tuple[Any, ...]]:
        """What somebody hears of what a user announced, of which the index had seen some for everyone."""
        if wisher not in self.wishes:
            return []
        typed, wished = self.wishes[wisher]
        meant = {
            entry.content
            for entry in announced
            if (entry not in seen or wished.get("user") == user)
            and visible(entry, wisher)
            and wished.get("user", user) == user
            and matches(entry, typed, wished)
        }
        return sorted(row for row in self.search(wisher, typed, "name", wished) if row[0] in meant)

    def search(self, asker: str, typed: list[Typed], sort: str, wished: dict[str, Any]) -> list[tuple[Any, ...]]:
        offers = [
            (user, entry)
            for user, held in self.online.items()
            for entry in held
            if user != asker and visible(entry, asker)
        ]
        own = {entry.content for entry in self.online.get(asker, ())}
        found = []
        for one in {entry.content for _, entry in offers} - own:
            result = self._result([offer for offer in offers if offer[1].content == one], typed, sort, wished)
            if result is not None:
                found.append(result)
        return [row for _, row in sorted(found)]

    def _result(
        self, offers: list[tuple[str, Entry]], typed: list[Typed], sort: str, wished: dict[str, Any]
    ) -> tuple[Any, Any] | None:
        matching = [
            entry for user, entry in offers if wished.get("user", user) == user and matches(entry, typed, wished)
        ]
        if not matching:
            return None
        # Only what was searched for has a say in what the content is called.
        said = [(user, entry) for user, entry in offers if entry in matching]
        name = most(said, lambda entry: entry.name)
        folder = most([offer for offer in said if offer[1].name == name], lambda entry: entry.folder)
        size = most(said, lambda entry: entry.size)
        described = [offer for offer in said if offer[1].media != Media()]
        media = (
            Media(*most(described, lambda entry: (entry.media.duration_s, entry.media.bitrate_kbps)))
            if described
            else Media()
        )
        users = sorted({user for user, _ in offers})
        content_id = offers[0][1].content
        place = {
            "best": -(max(points(typed, entry) for entry in matching) + round(1000 * log2(1 + len(users)))),
            "sources": -len(users),
            "size": -size,
            "name": name,
        }[sort]
        told = {
            key: value
            for key, value in (("duration_s", media.duration_s), ("bitrate_kbps", media.bitrate_kbps))
            if value is not None
        }
        names = len({entry.name for _, entry in offers})
        return (place, content_id), (content_id, name, folder, size, len(users), tuple(users), told, names)


def visible(entry: Entry, asker: str) -> bool:
    return EVERYONE in entry.audience or f"@account-{USERS.index(asker) + 1}" in entry.audience


def matches(entry: Entry, typed: list[Typed], wished: dict[str, Any]) -> bool:
    return all(piece.fits(tokens_of(entry)) != piece.excluded for piece in typed) and meets(
        wished, entry.name, entry.size, entry.media
    )


def meets(wished: dict[str, Any], name: str, size: int, media: Media) -> bool:
    ext = name.rpartition(".")[2] if "." in name else ""
    return (
        ("ext" not in wished or ext in {one.strip(".").lower() for one in wished["ext"]})
        and ("type" not in wished or {"mp3": "audio", "txt": "document"}.get(ext) == wished["type"])
        and wished.get("min_size", 0) <= size <= wished.get("max_size", 1 << 60)
        and (media.bitrate_kbps or 0) >= wished.get("min_bitrate", 0)
    )


def most(offers: list[tuple[str, Entry]], claim: Any) -> Any:
    votes: dict[Any, set[str]] = {}
    for user, entry in offers:
        votes.setdefault(claim(entry), set()).add(user)
    return min(
        votes,
        key=lambda value: (-len(votes[value]), tuple(v or 0 for v in value) if isinstance(value, tuple) else value),
    )


def points(typed: list[Typed], entry: Entry) -> int:
    """What the words are worth, by the rules of docs/explanation/index.md."""
    name = tokens_of(entry)[-1]
    barred = [piece for piece in typed if piece.excluded]
    wanted = list(dict.fromkeys(_left(piece, barred) for piece in typed if not piece.excluded))
    # What is typed as words has to end where a word ends; a prefix need not.
    patterns = [
        [f" {' '.join(words)}" + ("" if is_prefix else " ") for is_prefix, words in choice] for choice in wanted
    ]
    text = f" {' '.join(name)} "
    asked = 0
    for choice, alternatives in zip(wanted, patterns, strict=True):
        asked += max(
            (len(words) for (_, words), pattern in zip(choice, alternatives, strict=True) if pattern in text), default=0
        )
    total = 2000 * min(asked, len(name)) // len(name)
    whole = "".join(alternatives[0] for alternatives in patterns if len(alternatives) == 1).replace("  ", " ")
    if len(wanted) > 1 and all(len(choice) == 1 for choice in wanted) and whole in text:
        total += 1000
    return total


def _left(piece: Typed, barred: list[Typed]) -> tuple[tuple[bool, tuple[str, ...]], ...]:
    """What a choice is between, once what is left out is taken away."""
    if piece.kind != "either":
        return piece.meaning()
    return tuple(
        (is_prefix, words)
        for is_prefix, words in piece.meaning()
        if not any(other.rules_out(words[0]) for other in barred)
    )


def row_of(r: wire.Result) -> tuple[Any, ...]:
    return r.content, r.name, r.folder, r.size, r.sources, r.users, r.media, r.names


class SearchMachine(RuleBasedStateMachine):
    @initialize(first=st.lists(st.lists(entries, min_size=4, max_size=8), min_size=4, max_size=4))
    def begin(self, first: list[list[Entry]]) -> None:
        self.index = IndexScript()
        self.model = Model()
        # Everybody comes once, in order, so that everybody's account id is known.
        self.peers = {user: self.index.online(user, *held) for user, held in zip(USERS, first, strict=True)}
        self.model.online = {user: set(peer.entries) for user, peer in self.peers.items()}

    @rule(
        user=st.sampled_from(USERS),
        add=st.lists(entries, min_size=1, max_size=6),
        reset=st.sampled_from([False, False, True]),
    )
    def announce(self, user: str, add: list[Entry], reset: bool) -> None:
        peer = self.peers[user]
        if user in self.model.online:
            seen, before = self.model.everyone(), self.model.online[user]
            peer.announce(*add, reset=reset or not peer.revision)
            assert peer.all(wire.Ack)[-1].revision == peer.revision
            self.model.online[user] = set(peer.entries)
            self.wishes_are_told(user, set(add) - before, seen)

    @rule(user=st.sampled_from(USERS), data=st.data())
    def withdraw(self, user: str, data: st.DataObject) -> None:
        peer = self.peers[user]
        if user in self.model.online and peer.entries:
            self.index.wait(2, step=0.5)
            gone = data.draw(st.lists(st.sampled_from(sorted(peer.entries, key=repr)), max_size=3))
            peer.announce(withdraw=tuple(gone))
            self.model.online[user] = set(peer.entries)

    @rule(user=st.sampled_from(USERS))
    def leave(self, user: str) -> None:
        if self.model.online.pop(user, None) is not None:
            self.peers[user].leave()
            self.model.wishes.pop(user, None)

    @rule(user=st.sampled_from(USERS))
    def come_back(self, user: str) -> None:
        """With the same catalogue: nothing is announced again."""
        peer = self.peers[user]
        peer.connect()
        welcome = peer.login()
        assert welcome.digest == peer.digest
        self.model.online[user] = set(peer.entries)
        self.model.wishes.pop(user, None)
        self.wishes_are_told(user, set(), set())

    @rule(user=st.sampled_from(USERS), add=st.lists(entries, max_size=3))
    def come_back_with_more(self, user: str, add: list[Entry]) -> None:
        peer = self.peers[user]
        if not peer.revision:
            return
        peer.connect()
        before, held = peer.revision, set(peer.entries)
        step = peer.step(*add)
        welcome = peer.login()
        self.model.wishes.pop(user, None)
        self.model.online[user] = held
        seen = self.model.everyone()
        if welcome.revision == before:
            peer.say(step)
        self.model.online[user] = set(peer.entries)
        self.wishes_are_told(user, set(add) - held if welcome.revision == before else set(), seen)

    @rule(user=st.sampled_from(USERS), typed=queries, wished=filters, among_words=st.booleans())
    def wish(self, user: str, typed: list[Typed], wished: dict[str, Any], among_words: bool) -> None:
        if user not in self.model.online:
            return
        query, options = " ".join(piece.text() for piece in typed), wished
        if among_words and wished:
            query, options = f"{as_typed(wished)} {query}", {}
        self.peers[user].heard()
        self.peers[user].say(wire.Wish(1, query, **options))
        (answer,) = self.peers[user].all(wire.Wished)
        self.model.wishes.pop(user, None)
        if answer.reason is None:
            self.model.wishes[user] = typed, wished

    def wishes_are_told(self, user: str, announced: set[Entry], seen: set[Entry]) -> None:
        """Within two seconds, and nothing else."""
        for peer in self.peers.values():
            peer.heard()
        self.index.wait(2, step=0.5)
        for wisher in self.model.online:
            parts = self.peers[wisher].all(wire.Wished)
            # What is for everyone and what is for some is told apart, so one content may be told twice.
            told = {result.content: row_of(result) for part in parts for result in part.results}
            assert sorted(told.values()) == self.model.told(wisher, user, announced, seen)

    @rule(
        user=st.sampled_from(USERS),
        typed=queries,
        sort=st.sampled_from(["best", "sources", "size", "name"]),
        wished=filters,
        among_words=st.booleans(),
        limit=st.sampled_from([1, 2, 100]),
    )
    def search(
        self, user: str, typed: list[Typed], sort: str, wished: dict[str, Any], among_words: bool, limit: int
    ) -> None:
        if user not in self.model.online:
            return
        query = " ".join(piece.text() for piece in typed)
        options = wished
        if among_words and wished:
            query, options = f"{as_typed(wished)} {query}", {}
        rows: list[tuple[Any, ...]] = []
        cursor: str | None = None
        while True:
            self.index.wait(1, step=1)
            page = self.peers[user].search(query, sort=sort, limit=limit, cursor=cursor, **options)
            rows += [row_of(result) for result in page.results]
            assert page.reason is None or not (rows or page.truncated)
            assert page.truncated == (page.next is not None)
            cursor = page.next
            if cursor is None:
                break
        assert rows == self.model.search(user, typed, sort, wished)

    @invariant()
    def figures_add_up(self) -> None:
        for peer in getattr(self, "peers", {}).values():
            # Nobody is silent.
            if not peer.is_gone():
                peer.say(wire.Pong())
        if hasattr(self, "model"):
            presence = self.index.services.presence
            assert presence.listings == sum(len(held) for held in self.model.online.values())
            assert presence.bytes == sum(entry.size for held in self.model.online.values() for entry in held)
            assert presence.contents == len({entry.content for held in self.model.online.values() for entry in held})
            assert self.index.faults == []


TestSearch = SearchMachine.TestCase
TestSearch.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
