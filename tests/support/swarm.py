"""A swarm in one process: the peers' real transfer parts on a memory network and a virtual clock.

Each `Node` has a real queue, journal, picker, source pool, serving side and real files in a temporary directory; only
the network, the threads and discovery are replaced. `Town` is the discovery: it knows who holds what, and issues real
tickets.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any

import msgspec
from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from napd.background import Background
from napd.content.digest import CHUNK_BYTES, chunk_digest
from napd.content.manifest import Manifest, manifest_of
from napd.discovery.interface import Holder, Holders, Identity, LinkState, LinkStatus, Seeker
from napd.errors import NapError, Unreachable
from napd.model import ContentId, PeerId, Priority
from napd.net.dial import Dialler
from napd.net.identity import Identity as Key
from napd.net.identity import new_identity
from napd.net.link import SecureLink
from napd.net.pacing import Pacer
from napd.ops.database import open_database
from napd.ops.events import Event, Events
from napd.peer.fetch.downloads import Downloads, Wanted
from napd.peer.files.disk import Disk
from napd.peer.files.journal import SCHEMA, Journal
from napd.peer.item import Item
from napd.peer.queue import Queue
from napd.peer.serve.partial_sharing import PartialSharing, SharesAndParts
from napd.peer.serve.serving import ServeSession
from napd.peer.serve.upload_turns import UploadTurns
from napd.peer.serve.uploads import Uploads
from napd.peer.sources.experience import Experience
from napd.peer.sources.lessons import keeping
from napd.peer.sources.pool import SourcePool
from napd.wire import index as index_wire
from napd.wire import peer as peer_wire
from napd.wire.control import SearchParams
from napd.wire.ticket import Claims
from tests.support.memory import MemoryNetwork

EPOCH = 1_700_000_000.0


@define
class Work:
    """Stands for threads: does the work in the next turn of the clock, in order, until the process is `dead`."""

    clock: Clock
    dead: bool = False

    def run(self, work: Callable[..., Any], /, *args: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()

        def act() -> None:
            if self.dead:
                return
            try:
                result = work(*args)
            except Exception as error:
                done.errback(error)
            else:
                done.callback(result)

        self.clock.callLater(0, act)
        return done


@frozen
class SharedFile:
    """A listing, as `peer.shares` would give it."""

    path: str
    name: str
    size: int
    audience: Sequence[str]
    manifest: Manifest

    def has(self, chunk: int) -> bool:
        return True

    def open(self) -> int:
        return os.open(self.path, os.O_RDONLY)


@define
class Library:
    """Files that a node shares, by content."""

    directory: Path
    files: dict[ContentId, SharedFile] = field(factory=dict)

    def add(self, name: str, data: bytes, audience: Sequence[str] = ("everyone",)) -> ContentId:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        manifest = manifest_of_bytes(data)
        content = manifest.outline.content
        self.files[content] = SharedFile(str(path), name, len(data), audience, manifest)
        return content

    def find(self, content: ContentId) -> Sequence[SharedFile]:
        return [self.files[content]] if content in self.files else []

    async def outline(self, content: ContentId) -> tuple[int, bytes]:
        outline = self.files[content].manifest.outline
        return outline.size, outline.group_digests

    async def group(self, content: ContentId, group: int) -> bytes:
        return self.files[content].manifest.group(group)


def manifest_of_bytes(data: bytes) -> Manifest:
    chunks = [data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)]
    return manifest_of(len(data), b"".join(chunk_digest(chunk) for chunk in chunks))


class Town:
    """Who holds what, for everybody; what the index would say."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.key = new_identity()
        self.nodes: list[Node] = []
        self.online = True

    def tell(self) -> None:
        """Everybody hears the present truth about what it seeks."""
        if self.online:
            for node in self.nodes:
                node.discovery.tell(node.discovery.sought)

    def parts_changed(self, contents: Iterable[ContentId]) -> None:
        """Some node has, or has no longer, parts of these: everybody who seeks them hears it half a second later."""
        changed = list(contents)
        self.clock.callLater(0.5, self._tell_of, changed)

    def _tell_of(self, contents: Sequence[ContentId]) -> None:
        for node in self.nodes:
            node.discovery.tell(contents)

    def holders(self, content: ContentId, asker: PeerId) -> Holders:
        others = [n for n in self.nodes if n.online and n.key.id != asker]
        holding = [n for n in others if content in n.library.files]
        files = [n.library.files[content] for n in holding]
        everyone = any("everyone" in file.audience for file in files)
        partial = [n for n in others if content in n.discovery.parts and n not in holding]
        everyone = everyone or bool(partial)
        return Holders(
            content,
            (
                *(Holder(n.key.id, n.user, (n.address,)) for n in holding),
                *(Holder(n.key.id, n.user, (n.address,), partial=True) for n in partial),
            ),
            files[0].size if files else None,
            files[0].name if files else None,
            everyone,
        )

    def ticket(self, node: Node) -> str:
        claims = Claims(
            index=self.key.id,
            account=f"account-{node.user}",
            user=node.user,
            peer=node.key.id,
            groups=getattr(node, "groups", ()),
            issued=EPOCH,
            expires=EPOCH + 86_400,
            key=self.key.id,
        )
        return self.key.sign_ticket(msgspec.json.encode(claims))


class TownDiscovery:
    """A `Discovery` for one node."""

    def __init__(self, town: Town, node: Node) -> None:
        self._town = town
        self._node = node
        self.sought: dict[ContentId, None] = {}
        self.parts: dict[ContentId, None] = {}
        self.seeker: Seeker | None = None

    def status(self) -> LinkStatus:
        return LinkStatus(LinkState.ONLINE if self._town.online else LinkState.OFFLINE, "town")

    def identity(self) -> Identity:
        return Identity(self._node.user, None, (), self._town.key.id)

    def reachable(self) -> bool | None:
        return True

    def ticket(self) -> str | None:
        return self._town.ticket(self._node)

    def check_ticket(self, ticket: str, peer: PeerId) -> Claims:
        return self._town.key.public.check_ticket(ticket, peer=peer, now=EPOCH + self._town.clock.seconds())

    async def search(self, query: SearchParams) -> index_wire.Results:
        raise Unreachable("the town has no search")

    async def users(self, words: str) -> Sequence[index_wire.UserRow]:
        return []

    def seek(self, contents: Iterable[ContentId]) -> None:
        new = list(contents)
        self.sought.update(dict.fromkeys(new))
        self._town.clock.callLater(0, self.tell, new)

    def unseek(self, contents: Iterable[ContentId]) -> None:
        for content in contents:
            self.sought.pop(content, None)

    def offer_parts(self, contents: Iterable[ContentId]) -> None:
        new = list(contents)
        self.parts.update(dict.fromkeys(new))
        self._town.parts_changed(new)

    def withdraw_parts(self, contents: Iterable[ContentId]) -> None:
        old = list(contents)
        for content in old:
            self.parts.pop(content, None)
        self._town.parts_changed(old)

    def tell(self, contents: Iterable[ContentId]) -> None:
        if self._town.online and self.seeker is not None:
            for content in [content for content in contents if content in self.sought]:
                self.seeker.holders_changed(self._town.holders(content, self._node.key.id))


class JournalRefusal:
    """A lock on a node's journal."""

    def __init__(self, refused: sqlite3.Connection, path: Path) -> None:
        refused.execute("PRAGMA busy_timeout=0")
        self._holder = sqlite3.connect(path, isolation_level=None)
        self._holder.execute("BEGIN IMMEDIATE")

    def cancel(self) -> None:
        self._holder.close()


class Node:
    """One peer: everything but its shares' scanning and its control socket."""

    _weights: Mapping[str, float] = MappingProxyType({})
    groups: tuple[str, ...] = ()
    _share_partial: bool = True

    def __init__(
        self,
        town: Town,
        network: MemoryNetwork,
        user: str,
        directory: Path,
        *,
        disk: Disk | None = None,
        limit: int = 3,
        slots: int = 8,
        share_partial: bool = True,
        synchronous: str = "OFF",
        weights: Mapping[str, float] = MappingProxyType({}),
        groups: Sequence[str] = (),
    ) -> None:
        self.clock = network.clock
        self.town = town
        self.network = network
        self.user = user
        self.directory = directory
        self.key: Key = new_identity()
        self.address = f"{user}.example:6700"
        self.library = self.make_library()
        self.disk = disk or Disk()
        self.said: list[Event] = []
        self.faults: list[str] = []
        self.online = False
        self._limit = limit
        self._slots = slots
        self._share_partial = share_partial
        self._synchronous = synchronous
        self._weights = weights
        self.groups = tuple(groups)
        directory.mkdir(parents=True, exist_ok=True)
        town.nodes.append(self)
        self.start()

    # --- Life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Also after `crash`: everything is read from the disk again."""
        clock, rng, now = self.clock, self.make_chance(), lambda: EPOCH + self.clock.seconds()
        events = self._events = Events(now)
        events.listen(self.said.append)
        background = Background(lambda name, failure: self.faults.append(f"{name}: {failure.getTraceback()}"))
        self._background = background
        work = self._work = self.make_work()
        journal = self.journal = self.open_journal()
        queue = Queue()
        items, next_id = journal.load()
        queue.restore(items)
        queue.next_id = max(queue.next_id, next_id)
        self.discovery = self.make_discovery()
        dialler = self.make_dialler()
        self.up = Pacer(clock)
        self.down = Pacer(clock)
        self.sources = SourcePool(
            clock=clock,
            rng=rng,
            dialler=dialler,
            agent="test",
            ticket=self.discovery.ticket,
            pacer=self.down,
            background=background,
            experience=Experience(now, journal.lessons(), keeping(journal.remember, events)),
        )
        sharing = self.sharing = PartialSharing(
            clock=clock, discovery=self.discovery, disk=self.disk, run=work.run, background=background
        )
        self.downloads = Downloads(
            clock=clock,
            now=now,
            rng=rng,
            queue=queue,
            journal=journal,
            disk=self.disk,
            run=work.run,
            run_bundles=work.run,
            sources=self.sources,
            discovery=self.discovery,
            events=events,
            background=background,
            directory=self.directory / "downloads",
            limit=self._limit,
            sharing=sharing if self._share_partial else None,
        )
        self.uploads = Uploads(
            clock=clock,
            events=events,
            library=SharesAndParts(self.library, sharing),
            discovery=self.discovery,
            disk=self.disk,
            run=work.run,
            pacer=self.up,
            turns=UploadTurns(clock=clock, events=events, slots=self._slots, weights=self._weights),
        )
        self.go_online()

    # --- What a simulation replaces --------------------------------------------------------------

    def make_library(self) -> Library:
        return Library(self.directory / "shared")

    def make_chance(self) -> Random:
        return Random(self.user)

    def make_work(self) -> Work:
        return Work(self.clock)

    def open_journal(self) -> Journal:
        self._connection = open_database(self.directory / "queue.sqlite", SCHEMA, synchronous=self._synchronous)
        return Journal(self._connection, self._work)

    def make_discovery(self) -> Any:
        return TownDiscovery(self.town, self)

    def make_dialler(self) -> Dialler:
        return self.network.dialler(f"{self.user}.example", self.key)

    def go_online(self) -> None:
        self.come_back()
        self.discovery.seeker = self.downloads.seeker
        self.downloads.start()

    # --- Coming and going ------------------------------------------------------------------------

    def _serve(self) -> SecureLink:
        session = ServeSession(self.clock, "test", self.uploads, self._background)
        link = SecureLink(self.clock, session, peer_wire.ALPN)
        session.attach(link)
        return link

    def go_offline(self) -> None:
        """Links drop and nobody answers; the index has not noticed until `town.tell`."""
        if self.online:
            self.online = False
            self.network.close(self.address)
            for transport in list(self.network.transports):
                if transport.identity is self.key and not transport.closed:
                    transport.abortConnection()

    def come_back(self) -> None:
        self.online = True
        self.network.listen(self.address, self.key, {peer_wire.ALPN: self._serve})

    def crash(self) -> None:
        """Everything in memory is gone at once, nothing is said or saved any more; files stay as they are."""
        self.go_offline()
        self.discovery.seeker = None
        self._work.dead = True
        self.sources.stop()
        self._connection.close()

    def checkpoint_every(self, pages: int) -> None:
        """Of the journal's write-ahead log, so that a short test sees what a long life brings."""
        self._connection.execute(f"PRAGMA wal_autocheckpoint={pages:d}")

    def refuse_journal(self) -> JournalRefusal:
        """Another connection writes to the journal's file and does not end, until the refusal is cancelled."""
        return JournalRefusal(self._connection, self.directory / "queue.sqlite")

    # --- Use -------------------------------------------------------------------------------------

    def get(self, *contents: ContentId, priority: Priority | None = None, name: str | None = None) -> list[Item]:
        wanted = [Wanted(c, name or self._name(c), None) for c in contents]
        outcome: list[Any] = []
        Deferred.fromCoroutine(self.downloads.get(wanted, priority=priority, directory=None, name=name)).addBoth(
            outcome.append
        )
        run_until(self.clock, lambda: bool(outcome))
        if not isinstance(outcome[0], list):
            outcome[0].raiseException()
        return list(outcome[0])

    def do(self, work: Any) -> Any:
        """Run a coroutine of the daemon's to its end."""
        outcome: list[Any] = []
        Deferred.fromCoroutine(work).addBoth(outcome.append)
        run_until(self.clock, lambda: bool(outcome))
        result = outcome[0]
        if hasattr(result, "raiseException"):
            result.raiseException()
        return result

    def _name(self, content: ContentId) -> str:
        for node in self.town.nodes:
            if content in node.library.files:
                return node.library.files[content].name
        return content

    def events(self, name: str) -> list[Event]:
        return [event for event in self.said if event.event == name]


def run_until(clock: Clock, look: Callable[[], bool], seconds: float = 600.0, step: float = 0.05) -> float:
    """Let virtual time pass until something is so; returns how much of it did."""
    started = clock.seconds()
    deadline = time.monotonic() + 60.0
    while not look():
        due = [call.getTime() for call in clock.getDelayedCalls()]
        ahead = min(due, default=clock.seconds() + step) - clock.seconds()
        clock.advance(min(max(ahead, 0.0), step) if due else step)
        if clock.seconds() - started > seconds:
            raise AssertionError(f"not within {seconds:g} virtual seconds")
        if time.monotonic() > deadline:
            raise AssertionError("not within a minute of real time")
    return clock.seconds() - started


__all__ = ["EPOCH", "Library", "NapError", "Node", "Town", "Work", "manifest_of_bytes", "run_until"]
