"""The index as a whole: its parts put together, serving, and ended in good order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Protocol

from attrs import frozen
from msgspec import Struct
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory, IReactorTime

from ..background import Background
from ..errors import NapError, Unreachable
from ..net.dial import Dialler, join_address, split_address
from ..net.identity import Identity
from ..net.tls_factory import read_buffer, stream_server_factory
from ..ops.control_connection import Handler
from ..ops.events import Events
from ..wire.control import INDEX_METHODS
from ..wire.index import ALPN
from .admission import Door
from .cluster.interface import Join, alone
from .control import IndexMethods
from .doorway import Doorway, Gate
from .housekeeping import Housekeeping
from .limits import Limits
from .retention import RETENTION_DAYS
from .services import Services, assemble
from .snapshots import SnapshotFile, Snapshots
from .store.interface import IndexStore

#: Seconds that peers get to take the last word when the index stops.
FAREWELL_S = 2.0
#: Bytes read from a link at once. OpenSSL keeps room for as many once they have come, on each of very many links.
READ_BYTES = 64 * 1024


class Listening(Protocol):
    """A bound port (`napd.ops.listening.Listening`)."""

    @property
    def address(self) -> str: ...

    def stop(self) -> Deferred[object]: ...


@frozen
class _Consequences:
    """Implements `napd.index.cluster.interface.Consequences`."""

    _services: Services
    _door: Door
    _doorway: Doorway
    _housekeeping: Housekeeping
    _give_up: Callable[[], None]

    def replaced(self, account: int, session: int) -> None:
        self._door.replaced_elsewhere(account, session)

    def node_lost(self) -> None:
        self._services.background.start("forget", self._housekeeping.forget_left())

    def store_went_back(self) -> None:
        self._give_up()

    def was_lost(self) -> None:
        # What is not kept has been forgotten: they have to send their lists again.
        if self._services.retention.days == 0:
            self._doorway.end_all("shutdown", "this node of the index was cut off: log in again")


class IndexDaemon:
    """Implements `napd.ops.daemon.Running`. Owns the store and everything derived from it.

    :param clock: of the reactor; `now` is index time, seconds since 1970.
    :param store: open; closed by `stop`.
    :param snapshot: of what is derived from the store; closed by `stop`, too.
    :param bind: binds a factory's port, at once.
    :param retention_days: for which the catalogue of a peer that left is kept; 0: not at all.
    :param join: how this process comes together with others that share its store.
    :param machine: what others call the machine that it runs on.
    :param give_up: end the process, for another to begin anew.
    """

    method_params: Mapping[str, type[Struct]] = INDEX_METHODS

    def __init__(
        self,
        *,
        clock: IReactorTime,
        now: Callable[[], float],
        events: Events,
        identity: Identity,
        store: IndexStore,
        dialler: Dialler,
        random: Random,
        bind: Callable[[IProtocolFactory], Listening],
        snapshot: SnapshotFile,
        limits: Limits | None = None,
        retention_days: float = RETENTION_DAYS,
        join: Join = alone,
        machine: str = "",
        give_up: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._background = Background(events.fault)
        self._services = assemble(
            clock=clock,
            now=now,
            events=events,
            background=self._background,
            identity=identity,
            store=store,
            dialler=dialler,
            random=random,
            limits=limits or Limits(),
            retention_days=retention_days,
            join=join,
        )
        door = Door(self._services)
        self._doorway = Doorway(self._services, door)
        streams = stream_server_factory(identity, [ALPN], self._doorway, read_buffer(READ_BYTES))
        self._listening = bind(Gate(self._doorway.admits, streams))
        self._methods = IndexMethods(self._services, lambda: self.listen, now())
        self._snapshots = Snapshots(
            snapshot,
            clock,
            events,
            store,
            self._services.table,
            self._services.engine,
            self._services.catalogues,
        )
        name = join_address(machine, split_address(self._listening.address)[1]) if machine else self._listening.address
        services = self._services
        housekeeping = Housekeeping(clock, now, store, services.presence, services.catalogues, services.retention)
        services.cluster.start(
            self._background, name, _Consequences(services, door, self._doorway, housekeeping, give_up)
        )
        self._background.start("load", self._load())
        self._background.start("housekeeping", housekeeping.run())

    @property
    def listen(self) -> str:
        return self._listening.address

    @property
    def ready_fields(self) -> Mapping[str, str]:
        return {"index": self._services.id}

    @property
    def methods(self) -> Mapping[str, Handler]:
        return self._methods.handlers()

    def status_line(self) -> str:
        presence = self._services.presence
        return f"{len(presence.all())} peers online, {presence.listings} listings"

    async def reload(self) -> None:
        """Nothing of the index's configuration can change while it runs."""

    async def stop(self) -> None:
        await self._listening.stop()
        self._doorway.end_all("shutdown", "the index is shutting down")
        try:
            await self._doorway.when_empty().addTimeout(FAREWELL_S, self._clock)
        except defer.TimeoutError:
            self._doorway.abort_all(Unreachable("the index is shutting down"))
        await self._background.stop()
        self._services.seeking.stop()
        self._services.wishing.stop()
        self._services.turns.stop()
        try:
            await self._services.cluster.stop()
            await self._snapshots.stop()
        finally:
            await self._services.store.stop()

    async def _load(self) -> None:
        began = self._clock.seconds()
        try:
            await self._snapshots.load()
            items = await self._services.catalogues.load()
        except NapError as error:
            # What somebody holds is loaded when he comes.
            self._services.events.emit("index.load_failed", error=str(error))
            return
        self._services.events.emit("index.loaded", items=items, took_s=round(self._clock.seconds() - began, 3))
        await self._snapshots.run()
