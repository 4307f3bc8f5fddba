"""Whatever comes between the pieces in which announces become known, it comes to what the catalogues say."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from napd.index import catalogues
from napd.index.items import Asker
from napd.index.search import wanted_of
from napd.index.store.interface import Swept
from napd.wire import index as wire
from napd.wire.catalogue import Entry
from napd.wire.line import encode
from tests.support.index_script import IndexScript, PeerScript, entry
from tests.support.slow_store import SlowStore
from tests.support.waiting import one_turn

USERS = ("ann", "bob")
#: Several names of one content, one of them not for everyone.
POOL = [entry(f"a/song {number}", seed=number // 2) for number in range(6)]
POOL.append(entry("a/song hidden", seed=0, audience=("staff",)))

users = st.sampled_from(USERS)
some = st.sets(st.sampled_from(range(len(POOL))))
changes = st.one_of(
    st.tuples(st.just("announce"), users, some, some, st.booleans()),
    st.tuples(st.just("answer")),
    st.tuples(st.just("turn")),
    st.tuples(st.just("leave"), users),
    st.tuples(st.just("come"), users),
    st.tuples(st.just("sweep")),
)


@define(eq=False)
class World:
    store: SlowStore = field(factory=SlowStore)
    index: IndexScript = field(init=False)
    peers: dict[str, PeerScript] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.index = IndexScript(self.store)
        self.peers = {user: self.index.online(user) for user in USERS}

    def announce(self, user: str, add: set[int], withdraw: set[int], reset: bool) -> None:
        peer = self.peers[user]
        if not peer.is_gone():
            gone = () if reset else tuple(POOL[number] for number in withdraw - add)
            step = peer.step(*(POOL[number] for number in add), withdraw=gone, reset=reset or peer.revision == 0)
            peer.transport.link.dataReceived(encode(step))

    def answer(self) -> None:
        self.store.answer(min(1, len(self.store.unanswered)))

    def turn(self) -> None:
        one_turn(self.index.clock)

    def leave(self, user: str) -> None:
        if not self.peers[user].is_gone():
            self.peers[user].leave()

    def come(self, user: str) -> None:
        """Its earlier connection may still be there."""
        self.peers[user].connect()
        self.peers[user].login()

    def sweep(self) -> None:
        """What the store answers, it answers in order."""
        self.store.answer(len(self.store.unanswered))
        swept: Deferred[Swept] = self.store.sweep(0)
        swept.addCallback(lambda found: self._drop(found.removed))

    def _drop(self, items: Any) -> None:
        self.index.background.start("drop", self.index.services.catalogues.drop(items))

    def settle(self) -> None:
        self.store.answer(len(self.store.unanswered))
        self.index.settle()

    # --- What it came to -------------------------------------------------------------------------

    def shown(self, user: str) -> set[Entry]:
        services = self.index.services
        online = services.presence.by_user(user)
        rows = [] if online is None else [services.table.row(item) for item in online.items]
        by_name = {one.name: one for one in POOL}
        return {by_name[row.name] for row in rows}

    def found(self) -> set[str]:
        wanted = wanted_of(wire.Search(1, "song"), 1000)
        return {found.content for found in self.index.services.engine.search(wanted, Asker(0, "x", "y")).results}


@given(st.lists(changes, max_size=30))
def test_what_is_shown_is_what_the_catalogues_say(history: list[tuple[Any, ...]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogues, "LEARNED", 1)
        world = World()
        for change, *arguments in history:
            getattr(world, change)(*arguments)
        world.settle()
    assert world.index.faults == []
    there = {user: peer for user, peer in world.peers.items() if not peer.is_gone()}
    for user in USERS:
        assert world.shown(user) == (there[user].entries if user in there else set())
    public = [one for peer in there.values() for one in peer.entries if one.audience == ("everyone",)]
    assert world.found() == {one.content for one in public}
    services = world.index.services
    assert services.presence.contents == len({one.content for peer in there.values() for one in peer.entries})
    assert services.intake.cost == 0
    world.sweep()
    world.settle()
    kept: set[int] = set()
    for account in (1, 2):
        world.store.holdings(account).addCallback(kept.update)
    known = {item for item in range(1, 1000) if services.table.knows(item)}
    assert known <= kept, "what nobody holds is forgotten"
