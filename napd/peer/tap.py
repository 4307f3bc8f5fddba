"""`twistd nappeer`: the one place where a peer is put together. The reactor, clocks and chance enter here."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import SystemRandom
from typing import ClassVar

from attrs import frozen
from msgspec import Struct
from twisted.application.service import IService
from twisted.internet import reactor
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from .. import __version__
from ..discovery.index_client import Account, IndexAddress, IndexClient
from ..discovery.trust import KnownIndexes
from ..errors import ConfigurationError, NapError
from ..net.dial import TLSDialler, join_address
from ..net.identity import load_identity
from ..net.link import SecureLink
from ..net.pacing import Pacer
from ..net.tls_factory import read_buffer, stream_server_factory
from ..ops.control_connection import Handler
from ..ops.daemon import DaemonService, Frame
from ..ops.database import open_database
from ..ops.listening import Listening, listen
from ..ops.settings import PEER_SETTINGS
from ..ops.threads import Pool, Worker
from ..ops.twistd import DaemonOptions
from ..wire import peer as peer_wire
from ..wire.control import PEER_METHODS
from .control import PeerControl
from .daemon import PeerDaemon
from .fetch.downloads import Downloads
from .files.bundle import PARTS
from .files.disk import Disk
from .files.journal import SCHEMA, Journal, database_path
from .queue import Queue
from .serve.partial_sharing import PartialSharing, SharesAndParts
from .serve.reception import MAX_LINKS, Reception
from .serve.upload_turns import UploadTurns
from .serve.uploads import Uploads
from .shares.guard import Guard, check_configured
from .shares.schema import SCHEMA as SHARES_SCHEMA
from .shares.service import DATABASE_NAME as SHARES_DATABASE
from .shares.service import Shares
from .sources.experience import Experience
from .sources.lessons import keeping
from .sources.pool import MAX_LINKS as MAX_SOURCES
from .sources.pool import SourcePool
from .wishes.service import Wishes
from .wishes.store import DATABASE_NAME as WISHES_DATABASE
from .wishes.store import SCHEMA as WISHES_SCHEMA
from .wishes.store import WishStore

AGENT = f"napd/{__version__}"
#: Threads for reading, writing and checking chunks. More gains nothing: the disk and the hash are the limits.
DISK_THREADS = 3
#: Concurrent uploads and downloads until `napctl limit` says otherwise.
DEFAULT_SLOTS = 8
DEFAULT_DOWNLOADS = 3


class Options(DaemonOptions):
    program = "nappeer"
    settings = PEER_SETTINGS
    databases: ClassVar = {
        database_path(Path()).name: len(SCHEMA),
        SHARES_DATABASE: len(SHARES_SCHEMA),
        WISHES_DATABASE: len(WISHES_SCHEMA),
    }

    def postOptions(self) -> None:
        super().postOptions()
        check_configured(
            [(os.fsencode(share.directory), share.name) for share in self.values["share"]],
            Guard([os.fsencode(self.values["state"])], os.environ),
        )


def makeService(options: Options) -> IService:
    return DaemonService(reactor, options, compose)


def compose(frame: Frame) -> Peer:
    """Open and bind everything; what follows happens once the reactor runs."""
    values, events, background = frame.values, frame.events, frame.background
    clock, rng, now = frame.reactor, SystemRandom(), time.time
    identity = load_identity(values["identity"])
    disk = Disk()
    disk_pool = Pool(clock, "disk", DISK_THREADS)
    bundle_pool = Pool(clock, "bundle", PARTS)
    journal_worker = Worker(clock, "journal")
    connection = open_database(database_path(frame.state), SCHEMA, events=events)
    journal = Journal(connection, journal_worker)
    queue = Queue()
    items, next_id = journal.load()
    queue.restore(items)
    queue.next_id = max(queue.next_id, next_id)
    kept = journal.settings()
    up, down = (Pacer(clock, float(kept.get(name, 0)) or None) for name in ("up", "down"))
    downloads_directory: Path = values["downloads"]
    _make_downloads_directory(downloads_directory)
    shares = Shares(
        reactor=clock,
        state=frame.state,
        events=events,
        background=background,
        now=now,
        rng=rng,
        forbidden=[frame.state],
        rescan_s=values["rescan_s"],
    )
    dialler = TLSDialler(clock, identity)
    door = _Door()
    listening = listen(
        clock,
        values["listen"],
        stream_server_factory(identity, [peer_wire.ALPN], door, read_buffer()),
        remember=frame.state / "port",
        congestion_control=values["congestion_control"],
    )
    discovery = IndexClient(
        clock=clock,
        now=now,
        rng=rng,
        dialler=dialler,
        agent=AGENT,
        addresses=[IndexAddress(index.address, index.id) for index in values["index"]],
        account=Account(values["user"], _password(values["password_file"])),
        port=listening.port,
        advertise=[join_address(a.host, a.port or listening.port) for a in values["advertise"]],
        known=KnownIndexes(frame.state / "known_indexes"),
        feed=shares,
        events=events,
        background=background,
    )
    sharing = PartialSharing(clock=clock, discovery=discovery, disk=disk, run=disk_pool.run, background=background)
    turns = UploadTurns(
        clock=clock,
        events=events,
        slots=int(kept.get("slots", DEFAULT_SLOTS)),
        weights=values["upload_weights"],
        free=discovery.slots_changed,
    )
    uploads = Uploads(
        clock=clock,
        events=events,
        library=SharesAndParts(shares, sharing),
        discovery=discovery,
        disk=disk,
        run=disk_pool.run,
        pacer=up,
        turns=turns,
    )
    door.reception = Reception(
        clock=clock, agent=AGENT, uploads=uploads, background=background, events=events, most=_most_links()
    )
    experience = Experience(now, journal.lessons(), keeping(journal.remember, events))
    sources = SourcePool(
        clock=clock,
        rng=rng,
        dialler=dialler,
        agent=AGENT,
        ticket=discovery.ticket,
        pacer=down,
        background=background,
        experience=experience,
        places=values["sources_per_download"],
        per_source=values["downloads_per_source"],
        most=_most_sources(),
    )
    downloads = Downloads(
        clock=clock,
        now=now,
        rng=rng,
        queue=queue,
        journal=journal,
        disk=disk,
        run=disk_pool.run,
        run_bundles=bundle_pool.run,
        sources=sources,
        discovery=discovery,
        events=events,
        background=background,
        directory=downloads_directory,
        limit=int(kept.get("downloads", DEFAULT_DOWNLOADS)),
        sharing=sharing if values["share_partial"] else None,
    )
    wish_worker = Worker(clock, "wishes")
    wishes = Wishes(
        clock=clock,
        now=now,
        rng=rng,
        store=WishStore(open_database(frame.state / WISHES_DATABASE, WISHES_SCHEMA, events=events), wish_worker),
        discovery=discovery,
        downloads=downloads,
        events=events,
        background=background,
    )
    daemon = PeerDaemon(
        clock=clock,
        now=now,
        started=now(),
        peer=identity.id,
        listen=listening.address,
        downloads=downloads,
        uploads=uploads,
        shares=shares,
        wishes=wishes,
        discovery=discovery,
        sources=sources,
        journal=journal,
        disk=disk,
        run=disk_pool.run,
        up=up,
        down=down,
    )
    pools = [journal_worker, wish_worker, disk_pool, bundle_pool]
    return Peer(frame, daemon, discovery, sharing, listening, pools).begin()


@frozen
class Peer:
    """What the frame runs: start in the order of need, stop in the order of loss."""

    frame: Frame
    daemon: PeerDaemon
    discovery: IndexClient
    sharing: PartialSharing
    listening: Listening
    pools: Sequence[Pool]

    def begin(self) -> Peer:
        self.daemon.shares.start()
        self.frame.background.start("adding configured shares", self._add_shares())
        self.daemon.downloads.start()
        self.daemon.wishes.start()
        self.frame.reactor.callWhenRunning(self.discovery.start, self.daemon.downloads.seeker, self.daemon.wishes)
        return self

    @property
    def listen(self) -> str:
        return self.listening.address

    @property
    def ready_fields(self) -> Mapping[str, str]:
        return {"peer": self.daemon.peer}

    @property
    def methods(self) -> Mapping[str, Handler]:
        return PeerControl(self.daemon).methods()

    @property
    def method_params(self) -> Mapping[str, type[Struct]]:
        return PEER_METHODS

    def status_line(self) -> str:
        status = self.daemon.status()
        return (
            f"index {status.index.state}, {status.shares.listings} files shared, "
            f"{status.downloads.active} down {status.rates.down_bytes_per_s / 1e6:.1f} MB/s, "
            f"{status.uploads.active} up {status.rates.up_bytes_per_s / 1e6:.1f} MB/s"
        )

    async def reload(self) -> None:
        await self._add_shares()
        self.daemon.uploads.turns.set_weights(self.frame.values["upload_weights"])
        self.discovery.try_now()

    async def stop(self) -> None:
        self.discovery.stop()
        await self.listening.stop()
        await self.daemon.wishes.stop()
        self.daemon.uploads.stop()
        await self.daemon.downloads.stop()
        self.sharing.stop()
        self.daemon.sources.stop()
        await self.daemon.shares.stop()
        await self.daemon.journal.close()
        for pool in self.pools:
            await pool.stop()

    async def _add_shares(self) -> None:
        for share in self.frame.values["share"]:
            try:
                await self.daemon.shares.add(share.directory, share.name, ())
            except NapError as error:
                if error.code != "refused":  # which the shares have said themselves
                    self.frame.events.emit(
                        "share.refused", str(error), share=share.name, directory=str(share.directory), error=str(error)
                    )


class _Door(Factory):
    """What the port leads to. It is bound first: uploads need discovery, which tells the index the port."""

    reception: Reception

    def buildProtocol(self, addr: IAddress | None) -> SecureLink | None:
        return self.reception.link(str(getattr(addr, "host", "")))


def _most_links() -> int:
    """A third of the descriptors this process may have: files, sources and the databases need the others."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(MAX_LINKS, max(1, allowed // 3))


def _most_sources() -> int:
    """A sixth of them: small files that are being written are open, too, several hundred at a time."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(MAX_SOURCES, max(1, allowed // 6))


def _make_downloads_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"downloads {path} cannot be made: {error.strerror}") from error


def _password(file: Path | None) -> str | None:
    """The first line of the file."""
    if file is None:
        return None
    try:
        return file.read_text("utf-8").splitlines()[0]
    except (OSError, UnicodeDecodeError, IndexError) as error:
        raise ConfigurationError(f"password_file {file} has no first line that is text") from error
