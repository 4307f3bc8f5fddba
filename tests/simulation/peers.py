"""A real peer on a simulated host: everything but its shares' scanning, its control socket and its threads."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred

from napd.discovery.index_client import Account, IndexAddress, IndexClient
from napd.discovery.interface import CataloguePosition, CatalogueStep
from napd.discovery.trust import KnownIndexes
from napd.model import ContentId
from napd.net.dial import Dialler
from napd.net.link import SecureLink
from napd.ops.events import Event
from napd.peer.files.journal import SCHEMA, Journal
from napd.peer.serve.reception import Reception
from napd.wire import peer as peer_wire
from napd.wire.catalogue import CatalogueDigest, Entry, catalogue_digest, entry_digest
from tests.simulation.clock import ProcessClock, World
from tests.simulation.contents import Content, key_of, seed_of
from tests.simulation.index import SimIndex
from tests.simulation.network import HostDialler, Network
from tests.simulation.processes import SlowWork, UnsyncedDisk, close_descriptors_in
from tests.simulation.trace import Trace
from tests.support.swarm import EPOCH, Library, Node, SharedFile

PORT = 6700
EPOCH_ID = "5" * 64


@define(eq=False, repr=False)
class SimLibrary(Library):
    """What a peer shares, and the log of it: a `CatalogueFeed`. It outlives the process, as its database does."""

    _log: list[tuple[Entry, bool]] = field(factory=list)
    _heard: list[Callable[[], None]] = field(factory=list)

    def offer(self, content: Content) -> None:
        if content.id in self.files:
            return
        path = self.directory / content.name
        self.directory.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            os.link(content.path, path)
        self.files[content.id] = SharedFile(str(path), content.name, content.size, ("everyone",), content.manifest)
        self._change(content.id, content.size, content.name, added=True)

    def withdraw(self, content: Content) -> None:
        if self.files.pop(content.id, None) is not None:
            self._change(content.id, content.size, content.name, added=False)

    def _change(self, content: ContentId, size: int, name: str, *, added: bool) -> None:
        self._log.append((Entry(content, size, "share", name), added))
        for heard in list(self._heard):
            heard()

    def forget_hearers(self) -> None:
        self._heard.clear()

    # --- CatalogueFeed ---------------------------------------------------------------------------

    def _entries(self, upto: int) -> dict[Entry, None]:
        entries: dict[Entry, None] = {}
        for entry, added in self._log[:upto]:
            if added:
                entries[entry] = None
            else:
                entries.pop(entry, None)
        return entries

    def position(self) -> CataloguePosition:
        entries = self._entries(len(self._log))
        digest = CatalogueDigest()
        for entry in entries:
            digest.add(entry_digest(entry))
        size = sum(entry.size for entry in entries)
        return CataloguePosition(EPOCH_ID, len(self._log), digest.hex(), len(entries), size)

    def step(self, after: int, limit_bytes: int) -> CatalogueStep | None:
        newest = len(self._log)
        if after >= newest:
            return None
        before, now = self._entries(after), self._entries(newest)
        return CatalogueStep(
            newest,
            add=[entry for entry in now if entry not in before],
            withdraw=[entry for entry in before if entry not in now],
            digest=catalogue_digest(now),
        )

    def on_change(self, heard: Callable[[], None]) -> None:
        self._heard.append(heard)


class _KnownInMemory(KnownIndexes):
    def _save(self, keys: Any) -> None:
        """What is known is known as long as the run lasts."""


class SimPeer(Node):
    """A `Node` whose index is the real one, on a host of its own, as a process that can die."""

    library: SimLibrary

    def __init__(
        self,
        world: World,
        network: Network,
        index: SimIndex,
        trace: Trace,
        name: str,
        directory: Path,
        *,
        seed: int,
        rate: float,
        limit: int,
        slots: int,
        share_partial: bool,
    ) -> None:
        self.world = world
        self.network: Any = network
        self.index = index
        self.trace = trace
        self.user = name
        self.directory = directory
        self.seed = seed
        self.host = network.host(name, rate)
        self.key = key_of(name)
        self.said: list[Event] = []
        self.faults: list[str] = []
        self.online = False
        self.runs = 0
        self.listening: list[Callable[[Event], None]] = []
        self.disk = UnsyncedDisk()
        directory.mkdir(parents=True)
        self.library = self.make_library()
        self._limit = limit
        self._slots = slots
        self._share_partial = share_partial
        self._connection = _journal_in_memory()
        self.process: ProcessClock = world.process(name)
        self.process.kill()
        self.start()

    @property
    def running(self) -> bool:
        return not self.process.dead

    def start(self) -> None:
        self.runs += 1
        process = self.process = self.clock = self.world.process(self.user)  # type: ignore[assignment]
        self.library.forget_hearers()
        self.said = _Heard(lambda event: self._heard(process, event))
        super().start()

    def _heard(self, process: ProcessClock, event: Event) -> None:
        if process.dead:
            return
        self.trace.event(self.world.seconds(), self.user, event)
        if event.event == "daemon.fault":
            self.faults.append(event.fields["traceback"])
        for heard in self.listening:
            heard(event)

    # --- What takes the place of a machine -------------------------------------------------------

    def make_library(self) -> SimLibrary:
        return SimLibrary(self.directory / "shared")

    def make_chance(self) -> Random:
        return Random(seed_of(self.seed, self.user, self.runs))

    def make_work(self) -> Any:
        return SlowWork(self.process, Random(seed_of(self.seed, self.user, self.runs, "disk")))

    def open_journal(self) -> Journal:
        chance = Random(seed_of(self.seed, self.user, self.runs, "journal"))
        self._journal_work = SlowWork(self.process, chance, in_order=True)
        worker: Any = self._journal_work
        return Journal(self._connection, worker)

    def make_discovery(self) -> IndexClient:
        return IndexClient(
            clock=self.process,
            now=lambda: EPOCH + self.world.seconds(),
            rng=Random(seed_of(self.seed, self.user, self.runs, "discovery")),
            dialler=self.make_dialler(),
            agent="simulation",
            addresses=[IndexAddress(self.index.address, self.index.identity.id)],
            account=Account(self.user),
            port=PORT,
            advertise=[],
            known=_KnownInMemory(self.directory / "known_indexes"),
            feed=self.library,
            events=self._events,
            background=self._background,
        )

    def make_dialler(self) -> Dialler:
        return HostDialler(self.network, self.host, self.process, self.key)

    def go_online(self) -> None:
        reception = Reception(
            clock=self.process,
            agent="simulation",
            uploads=self.uploads,
            background=self._background,
            events=self._events,
        )
        self.come_in = lambda host, port: reception.link(host)
        self.network.listen(self.process, self.host, PORT, self.key, {peer_wire.ALPN: self._come_in})
        self.online = True
        self.downloads.start()
        self.discovery.start(self.downloads.seeker)

    def _come_in(self, host: str, port: int) -> SecureLink | None:
        return self.come_in(host, port)

    # --- Ends ------------------------------------------------------------------------------------

    def kill(self, *, silently: bool = False) -> None:
        """kill -9, or with the whole machine: files and journal stay as they are."""
        self.online = False
        self._limit = self.downloads.limit
        self.network.deaf(self.host, PORT)
        self.process.kill()
        self.network.die(self.process, silently=silently)
        self._work.die()
        self._journal_work.die()
        close_descriptors_in(self.directory)

    async def stop(self) -> None:
        """As `peer.tap.Peer.stop` and its frame."""
        self.online = False
        self.discovery.stop()
        self.network.deaf(self.host, PORT)
        self.uploads.stop()
        await self.downloads.stop()
        self.sharing.stop()
        self.sources.stop()
        await self.journal.save([])
        await self._background.stop()

    def close(self) -> None:
        """The run is over: nothing of it stays open, whatever happened."""
        close_descriptors_in(self.directory)
        self._connection.close()


class _Heard(list[Event]):
    """Stands for the list of what was said, and hands it on."""

    def __init__(self, heard: Callable[[Event], None]) -> None:
        super().__init__()
        self._tell = heard

    def append(self, event: Event) -> None:
        self._tell(event)


def _journal_in_memory() -> sqlite3.Connection:
    """Committed is committed: it stays over the end of a process, and needs no file for that."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA foreign_keys=ON")
    for script in SCHEMA:
        connection.executescript(script)
    return connection


def wires_between_peers(network: Network, peers: Sequence[SimPeer]) -> int:
    hosts = {peer.host for peer in peers}
    return sum(wire.host in hosts and wire.other.host in hosts for wire in network.wires)


def spawn(work: Any, failed: Callable[[Any], None]) -> Deferred[Any]:
    """Run a coroutine; a failure goes to `failed`."""
    return Deferred.fromCoroutine(work).addErrback(failed)
