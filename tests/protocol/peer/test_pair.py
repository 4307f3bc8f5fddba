"""Both ends of a peer link together, under any interleaving: every request ends exactly once, and nothing is left."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from random import Random
from typing import Any

from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from napd.content.digest import CHUNK_BYTES, chunk_bytes, chunk_count
from napd.errors import NapError, SourceFailed
from napd.model import ContentId
from napd.net.buffers import Buffers
from napd.net.identity import new_identity
from napd.net.link import SecureLink
from napd.net.pacing import Pacer
from napd.peer.fetch.fetching import FetchSession
from napd.peer.fetch.requests import GetRequest
from napd.wire import peer as wire
from tests.support.memory import MemoryNetwork, settle
from tests.support.swarm import Library, Node, Town

#: The last one is nobody's.
SIZES = (0, 30_000, CHUNK_BYTES + 5, 4 * CHUNK_BYTES)
CONTENTS = st.integers(0, len(SIZES))
DATA = [Random(size).randbytes(size) for size in SIZES]
KEYS = {user: new_identity() for user in ("bob", "rival")}


@define(eq=False)
class Asked:
    """A `Receiver` for one request, and what it has heard."""

    content: int
    first: int
    count: int
    request: GetRequest = field(init=False)
    chunks: list[int] = field(factory=list)
    ends: list[SourceFailed | None] = field(factory=list)
    cancelled: bool = False

    def chunk_came(self, chunk: int, data: bytes) -> None:
        assert not self.cancelled, "heard of after it was cancelled"
        assert not self.ends, "a chunk after the end"
        assert chunk == self.first + len(self.chunks), "out of order"
        at = chunk * CHUNK_BYTES
        assert bytes(data) == DATA[self.content][at : at + chunk_bytes(SIZES[self.content], chunk)]
        self.chunks.append(chunk)

    def get_ended(self, failure: SourceFailed | None) -> None:
        assert not self.cancelled, "heard of after it was cancelled"
        self.ends.append(failure)
        assert failure is not None or len(self.chunks) == self.count, "an end without all chunks"

    def place_told(self, position: int | None) -> None:
        assert position is None or position > 0


@define(eq=False)
class Fetcher:
    """One `FetchSession` on one link, and its requests."""

    clock: Clock
    network: MemoryNetwork
    town: Town
    node: Node
    user: str
    session: FetchSession = field(init=False)
    pacer: Pacer = field(init=False)
    asked: list[Asked] = field(factory=list)
    manifests: list[list[Any]] = field(factory=list)
    over: list[NapError] = field(factory=list)
    ready: bool = False

    def __attrs_post_init__(self) -> None:
        self.pacer = Pacer(self.clock)
        key = KEYS[self.user]
        self.session = FetchSession(
            self.clock, "test", self._ticket, self.pacer, self._admitted, self._ended, Buffers(CHUNK_BYTES)
        )
        link = SecureLink(self.clock, self.session, wire.ALPN, expected=self.node.key.id)
        self.session.attach(link)
        dialler = self.network.dialler(f"{self.user}.example", key)
        Deferred.fromCoroutine(dialler.dial(self.node.address, wire.ALPN, lambda: link))
        settle(self.clock)
        assert self.ready

    def _ticket(self) -> str:
        stand_in: Any = self
        return self.town.ticket(stand_in)

    @property
    def key(self) -> Any:
        return KEYS[self.user]

    def _admitted(self, session: FetchSession) -> None:
        self.ready = True

    def _ended(self, session: FetchSession, reason: NapError) -> None:
        self.over.append(reason)

    def get(self, content: int, first: int, count: int) -> None:
        asked = Asked(content, first, count)
        self.asked.append(asked)
        asked.request = self.session.requests.get(self.node.contents[content], first, count, "t", asked)  # type: ignore[attr-defined]


class PairMachine(RuleBasedStateMachine):
    """A real serving node with one slot or more, a real fetching session, and a rival for the slots."""

    @initialize(slots=st.integers(1, 2), rate=st.sampled_from([None, 500e3, 5e6]))
    def connect(self, slots: int, rate: float | None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="napd-pair-"))
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.town = Town(self.clock)
        self.node: Any = Node(self.town, self.network, "ada", self.directory / "ada", slots=slots)
        library: Library = self.node.library
        self.node.contents = [library.add(f"{size}.bin", data) for size, data in zip(SIZES, DATA, strict=True)]
        self.node.contents.append(ContentId("f" * 64))
        self.kept = dict(library.files)
        self.node.up.set_rate(rate)
        self.bob = self.fetcher("bob")
        self.rival = self.fetcher("rival")

    def fetcher(self, user: str) -> Fetcher:
        return Fetcher(self.clock, self.network, self.town, self.node, user)

    # --- Asking ----------------------------------------------------------------------------------

    @rule(content=CONTENTS, first=st.integers(0, 3), count=st.integers(1, 4), rival=st.booleans())
    def get(self, content: int, first: int, count: int, rival: bool) -> None:
        (self.rival if rival else self.bob).get(content, first, count)

    @rule(content=CONTENTS, group=st.sampled_from([None, 0, 7]))
    def ask_for_a_manifest(self, content: int, group: int | None) -> None:
        contents = self.node.contents
        session = self.bob.session
        if not session.alive:
            return
        ask = session.requests
        answer = ask.outline(contents[content]) if group is None else ask.group(contents[content], group)
        heard: list[Any] = []
        self.bob.manifests.append(heard)
        answer.addBoth(heard.append)

    @precondition(lambda self: any(not asked.ends for asked in self.bob.asked))
    @rule(data=st.data(), but_current=st.booleans())
    def cancel(self, data: st.DataObject, but_current: bool) -> None:
        asked = data.draw(st.sampled_from([asked for asked in self.bob.asked if not asked.ends]))
        self.bob.session.requests.cancel(asked.request, but_current=but_current)
        asked.cancelled = asked.request.left == 0

    # --- What happens meanwhile ------------------------------------------------------------------

    @rule(turns=st.integers(1, 40))
    def a_few_turns(self, turns: int) -> None:
        for _ in range(turns):
            self.clock.advance(0)

    @rule(seconds=st.sampled_from([0.05, 0.3, 1.0, 4.0]))
    def time_passes(self, seconds: float) -> None:
        for _ in range(int(seconds / 0.05)):
            self.clock.advance(0.05)

    @rule(slots=st.integers(1, 3))
    def slots_change(self, slots: int) -> None:
        self.node.uploads.turns.set_limit(slots)

    @rule(content=st.integers(0, len(SIZES) - 1), there=st.booleans())
    def the_share_changes(self, content: int, there: bool) -> None:
        number = self.node.contents[content]
        if there:
            self.node.library.files[number] = self.kept[number]
        else:
            self.node.library.files.pop(number, None)

    @rule(rate=st.sampled_from([None, 200e3, 2e6]))
    def the_fetcher_is_limited(self, rate: float | None) -> None:
        self.bob.pacer.set_rate(rate)

    @rule(how=st.sampled_from(["hangs up", "cut here", "cut there"]), rival=st.booleans())
    def a_link_is_lost(self, how: str, rival: bool) -> None:
        fetcher = self.rival if rival else self.bob
        if how == "hangs up":
            fetcher.session.close()
        else:
            for transport in list(self.network.transports):
                if transport.identity is (fetcher.key if how == "cut here" else self.node.key):
                    peer = transport.other.identity if how == "cut there" else transport.identity
                    if peer is fetcher.key:
                        transport.abortConnection()
        settle(self.clock)
        self.everything_has_ended(fetcher)
        if rival:
            self.rival = self.fetcher("rival")
        else:
            self.bob = self.fetcher("bob")

    # --- What must be so -------------------------------------------------------------------------

    @invariant()
    def nothing_ends_twice(self) -> None:
        for fetcher in self.fetchers():
            assert len(fetcher.over) <= 1
            assert all(len(asked.ends) <= 1 for asked in fetcher.asked)

    def fetchers(self) -> list[Fetcher]:
        return [self.bob, self.rival] if hasattr(self, "bob") else []

    def everything_has_ended(self, fetcher: Fetcher) -> None:
        for asked in fetcher.asked:
            assert len(asked.ends) == (0 if asked.cancelled else 1) or asked.request.cancelled, asked
            assert not asked.ends or asked.ends[0] is not None or asked.request.left == 0
        assert all(len(heard) == 1 for heard in fetcher.manifests)

    def teardown(self) -> None:
        if not hasattr(self, "bob"):
            return
        try:
            self.node.uploads.turns.set_limit(8)
            self.node.up.set_rate(None)
            for fetcher in self.fetchers():
                fetcher.pacer.set_rate(None)
            for _ in range(200):
                self.clock.advance(0.1)
            for fetcher in self.fetchers():
                assert not fetcher.over, f"the link was lost: {fetcher.over}"
                self.everything_has_ended(fetcher)
                self.all_that_could_be_had_came(fetcher)
                assert sum(asked.request.left for asked in fetcher.asked if None in asked.ends) == 0
                # Nothing is in flight: as many as ever can be asked for at once.
                for _ in range(wire.MAX_OUTSTANDING):
                    fetcher.get(1, 0, 1)
            for _ in range(300):
                self.clock.advance(0.1)
            for fetcher in self.fetchers():
                self.everything_has_ended(fetcher)
            assert self.node.uploads.rows() == []
            assert self.node.faults == []
            for fetcher in self.fetchers():
                fetcher.session.close()
            settle(self.clock)
            assert all(transport.closed for transport in self.network.transports)
        finally:
            shutil.rmtree(self.directory)

    def all_that_could_be_had_came(self, fetcher: Fetcher) -> None:
        for asked in fetcher.asked:
            if asked.request.cancelled or asked.content == len(SIZES):
                continue
            in_bounds = asked.first + asked.count <= max(1, chunk_count(SIZES[asked.content]))
            if not in_bounds:
                assert asked.ends[0] is not None
            elif len(self.node.library.files) == len(SIZES) and asked.ends[0] is not None:
                # Only a share that changed meanwhile explains a refusal.
                assert asked.ends[0].code == "gone"


TestPair = PairMachine.TestCase
TestPair.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
