"""The index as it is: TLS on 127.0.0.1, a database in a file, several peers at once, restarts and sudden ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.protocol import Factory

from napd.errors import CannotStart, WrongIdentity
from napd.index.daemon import IndexDaemon
from napd.index.limits import Limits
from napd.index.snapshots import SNAPSHOT_NAME, SnapshotFile
from napd.index.store.interface import IndexStore
from napd.index.store.sqlite.store import SqliteStore
from napd.net.dial import TLSDialler
from napd.net.link import SecureLink
from napd.net.tls import server_factory
from napd.ops.events import Events
from napd.ops.listening import listen
from napd.ops.threads import Worker
from napd.wire import index as wire
from napd.wire.catalogue import catalogue_digest
from napd.wire.peer import ALPN
from tests.support.index_script import BEGIN, EPOCH, TLSScript, entry, identity
from tests.support.processes import Processes
from tests.support.waiting import Eventually

reactor: Any = global_reactor
ACCOUNTS = count(1)
SONG = entry("Music/song.mp3", size=5)


class RunningIndex:
    """An index on a port and a database of its own."""

    def __init__(self, state: Path, eventually: Eventually, limits: Limits | None = None) -> None:
        self.eventually = eventually
        self.events: list[str] = []
        events = Events(lambda: BEGIN)
        events.listen(lambda event: self.events.append(event.event))
        self.identity = identity("index")
        store: IndexStore = SqliteStore.open(
            reactor, state / "index.db", lambda: f"account-{next(ACCOUNTS)}", Random(1)
        )
        self.daemon = IndexDaemon(
            clock=reactor,
            now=lambda: BEGIN,
            events=events,
            identity=self.identity,
            store=store,
            dialler=TLSDialler(reactor, self.identity),
            random=Random(1),
            bind=lambda factory: listen(reactor, "tcp:0:interface=127.0.0.1", factory),
            snapshot=SnapshotFile(state / SNAPSHOT_NAME, Worker(reactor, "index-snapshot")),
            limits=limits,
        )

    async def peer(self, user: str, **login: Any) -> TLSScript:
        peer = TLSScript(reactor, identity(user), self.eventually)
        await peer.dial(self.daemon.listen, self.identity.id)
        await peer.login(user, **login)
        return peer


StartIndex = Callable[..., RunningIndex]


@pytest.fixture
def start(tmp_path: Path, eventually: Eventually) -> Any:
    running: list[RunningIndex] = []

    def start_index(**how: Any) -> RunningIndex:
        running.append(RunningIndex(tmp_path, eventually, **how))
        return running[-1]

    yield start_index
    for index in running:
        if "stopped" not in index.events:
            pytest_twisted.blockon(ensureDeferred(index.daemon.stop()))


async def stop(index: RunningIndex) -> None:
    await index.daemon.stop()
    index.events.append("stopped")


async def found(peer: TLSScript, query: str) -> list[str]:
    peer.say(wire.Search(1, query))
    return [result.name for result in (await peer.expect(wire.Results)).results]


async def test_two_peers_find_each_others_files_and_a_lost_one_is_gone(
    start: StartIndex, eventually: Eventually
) -> None:
    index = start()
    ann, bob = await index.peer("ann"), await index.peer("bob")
    bob.say(wire.Seek((SONG.content,)))
    assert (await bob.expect(wire.Sources)).sources == ()
    ann.say(wire.Announce(EPOCH, 0, 1, (SONG,), reset=True, digest=catalogue_digest([SONG])))
    assert (await ann.expect(wire.Ack)).revision == 1
    assert await found(bob, "song") == ["song.mp3"]
    assert (await bob.expect(wire.Sources)).sources[0].user == "ann"
    assert ann.link is not None
    ann.link.abort(CannotStart("power cut"))
    assert (await bob.expect(wire.Sources)).sources == ()
    assert await found(bob, "song") == []
    await bob.leave()


async def test_what_was_acknowledged_is_there_after_a_restart(start: StartIndex) -> None:
    index = start()
    ann = await index.peer("ann")
    ann.say(wire.Announce(EPOCH, 0, 1, (SONG,), reset=True))
    position = await ann.expect(wire.Ack)
    await stop(index)
    assert (await ann.expect(wire.Bye)).code == "shutdown"

    index = start()
    ann = TLSScript(reactor, identity("ann"), index.eventually)
    await ann.dial(index.daemon.listen, index.identity.id)
    welcome = await ann.login("ann", epoch=EPOCH, revision=1, digest=catalogue_digest([SONG]))
    assert welcome.revision == position.revision
    bob = await index.peer("bob")
    assert await found(bob, "song") == ["song.mp3"]
    for peer in (ann, bob):
        await peer.leave()


async def test_an_index_that_stops_while_peers_announce_loses_nothing_that_it_acknowledged(start: StartIndex) -> None:
    index = start()
    ann = await index.peer("ann")
    for step in range(8):
        batch = tuple(entry(f"Music/{step} {n}.mp3") for n in range(250))
        ann.say(wire.Announce(EPOCH, step, step + 1, batch, reset=step == 0))
    acknowledged = (await ann.expect(wire.Ack)).revision
    await stop(index)
    await ann.expect(wire.Bye)
    assert "daemon.fault" not in index.events

    index = start()
    ann = TLSScript(reactor, identity("ann"), index.eventually)
    await ann.dial(index.daemon.listen, index.identity.id)
    assert (await ann.login("ann", epoch=EPOCH, revision=9, digest="1" * 64)).revision >= acknowledged
    await ann.leave()


async def test_the_index_dials_back_over_tls_and_publishes_what_it_proved(start: StartIndex) -> None:
    index = start()
    listener = PeerPort("ann")
    bob = await index.peer("bob")
    ann = await index.peer("ann", port=listener.port, advertise=("127.0.0.1:1",))
    assert (await ann.expect(wire.Reachable)).addresses == (f"127.0.0.1:{listener.port}",)
    ann.say(wire.Announce(EPOCH, 0, 1, (SONG,), reset=True))
    await ann.expect(wire.Ack)
    bob.say(wire.Seek((SONG.content,)))
    assert (await bob.expect(wire.Sources)).sources[0].addresses == (f"127.0.0.1:{listener.port}",)
    for peer in (ann, bob):
        await peer.leave()
    await listener.stop()


async def test_somebody_else_who_listens_there_proves_nothing(start: StartIndex) -> None:
    index = start()
    listener = PeerPort("somebody else")
    ann = await index.peer("ann", port=listener.port)
    assert (await ann.expect(wire.Reachable)).addresses == ()
    await ann.leave()
    await listener.stop()


class PeerPort:
    """Where a peer listens: TLS, its key, nothing more."""

    def __init__(self, user: str) -> None:
        class User:
            def link_secured(self, key: object) -> None: ...
            def line_heard(self, line: bytes) -> None: ...
            def raw_heard(self, data: bytes) -> None: ...
            def link_lost(self, reason: object) -> None: ...

        factory = Factory.forProtocol(lambda: SecureLink(reactor, User(), ALPN))
        self._listening = listen(reactor, "tcp:0:interface=127.0.0.1", server_factory(identity(user), [ALPN], factory))
        self.port = self._listening.port

    def stop(self) -> Awaitable[Any]:
        return self._listening.stop()


async def test_a_peer_that_expects_another_index_hangs_up_and_was_never_there(
    start: StartIndex, eventually: Eventually
) -> None:
    index = start()
    ann = TLSScript(reactor, identity("ann"), eventually)
    dialling = ensureDeferred(ann.dial(index.daemon.listen, "a" * 52))
    dialling.addErrback(lambda failure: None)
    await eventually(lambda: ann.lost)
    assert isinstance(ann.lost, WrongIdentity)
    dialling.cancel()
    assert "session.opened" not in index.events


async def test_many_peers_upload_while_others_search(start: StartIndex) -> None:
    index = start()
    peers = [await index.peer(f"user{n}") for n in range(10)]
    for peer in peers:
        for step in range(8):
            batch = tuple(entry(f"Music/{peer is peers[0]} {step} {n}.mp3") for n in range(200))
            peer.say(wire.Announce(EPOCH, step, step + 1, batch, reset=step == 0))
    asker = await index.peer("asker")
    for _ in range(5):
        await found(asker, "mp3")
    for peer in peers:
        while (await peer.expect(wire.Ack)).revision < 8:
            pass
    asker.say(wire.Search(1, "false", limit=1))
    assert (await asker.expect(wire.Results)).results[0].sources == 9
    for peer in (*peers, asker):
        await peer.leave()


async def test_a_peer_that_does_not_read_is_cut_off_and_others_are_served(
    start: StartIndex, eventually: Eventually
) -> None:
    index = start(limits=Limits(unread_bytes=50_000, searches_per_s=10_000, search_burst=10_000))
    ann, bob = await index.peer("ann"), await index.peer("bob")
    batch = tuple(entry(f"{'f' * 2000}/song {n}") for n in range(25))
    for step in range(20):
        step_batch = tuple(entry(f"{one.folder}/{step} {one.name}") for one in batch)
        ann.say(wire.Announce(EPOCH, step, step + 1, step_batch, reset=step == 0))
        await ann.expect(wire.Ack)
    assert bob.link is not None
    bob.link.transport.pauseProducing()
    for n in range(60):
        bob.say(wire.Search(n, "song", limit=1000))
    await eventually(lambda: "limit.hit" in index.events)
    assert index.events.count("session.closed") == 1
    bob.link.transport.resumeProducing()
    await eventually(lambda: bob.lost)
    assert await found(ann, "song") == []
    await ann.leave()


# --- Real processes ----------------------------------------------------------------------------------


async def test_an_index_that_is_killed_comes_back_with_what_it_acknowledged(
    processes: Processes, eventually: Eventually
) -> None:
    index = processes.index()

    async def upload() -> int:
        """Announce until the index is dead; the last revision that was acknowledged."""
        ann = TLSScript(reactor, identity("ann"), eventually)
        await ann.dial(index.address, index.id)
        await ann.login("ann")
        acknowledged = 0
        for step in range(100_000):
            batch = tuple(entry(f"Music/{step} {n}.mp3") for n in range(20))
            ann.say(wire.Announce(EPOCH, step, step + 1, batch, reset=step == 0))
            while step - acknowledged > 5 and ann.lost is None:
                await eventually(lambda: ann.lost or any(isinstance(said, wire.Ack) for said in ann.said))
                acknowledged = max([acknowledged, *(s.revision for s in ann.said if isinstance(s, wire.Ack))])
                ann.said.clear()
            if step == 60:
                index.process.kill()
            if ann.lost is not None:
                break
        return acknowledged

    async def look(acknowledged: int) -> None:
        ann = TLSScript(reactor, identity("ann"), eventually)
        await ann.dial(index.address, index.id)
        welcome = await ann.login("ann", epoch=EPOCH, revision=1_000_000, digest="1" * 64)
        assert welcome.revision >= acknowledged
        whole = [entry(f"Music/{step} {n}.mp3") for step in range(welcome.revision) for n in range(20)]
        assert welcome.digest == catalogue_digest(whole)
        ann.say(wire.Announce(EPOCH, welcome.revision, welcome.revision + 1, (entry("Music/last.mp3"),)))
        await ann.expect(wire.Ack)
        bob = TLSScript(reactor, identity("bob"), eventually)
        await bob.dial(index.address, index.id)
        await bob.login("bob")
        assert await found(bob, "last") == ["last.mp3"]
        assert await found(bob, f'"{welcome.revision - 1} 19"') == [f"{welcome.revision - 1} 19.mp3"]
        for peer in (ann, bob):
            await peer.leave()

    acknowledged = await upload()
    assert acknowledged > 10
    index.process.wait(10)
    index.restart()
    await look(acknowledged)
    assert index.ctl("index", "status").json["index"] == index.id
