"""The real index on a simulated host: it can be killed, stopped and started again, and keeps its store."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any

from attrs import define
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout

from napd.background import Background
from napd.errors import Unreachable
from napd.index.admission import Door
from napd.index.doorway import Doorway
from napd.index.housekeeping import Housekeeping
from napd.index.limits import Limits
from napd.index.services import Services, assemble
from napd.index.store.memory import MemoryStore
from napd.net.identity import Identity
from napd.net.link import SecureLink
from napd.ops.events import Events
from napd.wire import index as wire
from tests.simulation.clock import ProcessClock, World
from tests.simulation.contents import key_of, seed_of
from tests.simulation.network import Host, HostDialler, Network
from tests.simulation.processes import SlowWork
from tests.simulation.trace import Trace
from tests.support.swarm import EPOCH

PORT = 6699


@define(eq=False, repr=False)
class _SlowStore:
    """The store behind one thread: calls are carried out in order, some time later."""

    store: MemoryStore
    work: SlowWork

    def __getattr__(self, name: str) -> Callable[..., Deferred[Any]]:
        method = getattr(self.store, name)

        def call(*args: Any) -> Deferred[Any]:
            # A memory store's answers are there at once; what fires is its result.
            return self.work.run(lambda: None).addCallback(lambda _: method(*args))

        return call


class SimIndex:
    def __init__(self, world: World, network: Network, seed: int, trace: Trace) -> None:
        self.world = world
        self.network = network
        self.trace = trace
        self.host: Host = network.host("index", rate=20e6)
        self.identity: Identity = key_of("index")
        self.address = f"{self.host.address}:{PORT}"
        self.faults: list[str] = []
        self.process: ProcessClock = world.process("index")
        self.process.kill()
        self.serving = False
        self._seed = seed
        self._runs = 0
        numbers = count(1)
        self._store = MemoryStore(lambda: f"account-{next(numbers)}")
        self.start()

    @property
    def running(self) -> bool:
        return not self.process.dead

    def start(self) -> None:
        self._runs += 1
        process = self.process = self.world.process("index")
        chance = Random(seed_of(self._seed, "index", self._runs))
        events = Events(self._now)
        events.listen(lambda event: self._heard(process, event))
        self.background = Background(lambda name, failure: self.faults.append(f"{name}: {failure.getTraceback()}"))
        self._work = SlowWork(process, chance, in_order=True)
        store: Any = _SlowStore(self._store, self._work)
        self.services: Services = assemble(
            clock=process,
            now=self._now,
            events=events,
            background=self.background,
            identity=self.identity,
            store=store,
            dialler=HostDialler(self.network, self.host, process, self.identity),
            random=chance,
            limits=Limits(),
        )
        self.doorway = Doorway(self.services, Door(self.services))
        services = self.services
        self.background.start("load", services.catalogues.load())
        housekeeping = Housekeeping(
            process, self._now, store, services.presence, services.catalogues, services.retention
        )
        self.background.start("housekeeping", housekeeping.run())
        self.network.listen(process, self.host, PORT, self.identity, {wire.ALPN: self._visited})
        self.serving = True

    def _visited(self, host: str, port: int) -> SecureLink | None:
        address = IPv4Address("TCP", host, port)
        return self.doorway.buildProtocol(address) if self.doorway.admits(address) else None

    def kill(self, *, silently: bool = False) -> None:
        self.serving = False
        self.network.deaf(self.host, PORT)
        self.process.kill()
        self.network.die(self.process, silently=silently)

    async def stop(self) -> None:
        """As `IndexDaemon.stop`."""
        self.serving = False
        self.network.deaf(self.host, PORT)
        self.doorway.end_all("shutdown", "the index is shutting down")
        try:
            await self.doorway.when_empty().addTimeout(2.0, self.process)
        except DeferredTimeout:
            self.doorway.abort_all(Unreachable("the index is shutting down"))
        await self.background.stop()
        self.services.seeking.stop()
        self.services.turns.stop()

    def _now(self) -> float:
        return EPOCH + self.world.seconds()

    def _heard(self, process: ProcessClock, event: Any) -> None:
        if not process.dead:
            self.trace.event(self.world.seconds(), "index", event)
            if event.event == "daemon.fault":
                self.faults.append(event.fields["traceback"])
