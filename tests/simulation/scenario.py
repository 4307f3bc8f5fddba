"""One run of a swarm, decided by its seed alone: who is there, who wants what, what goes wrong and when.

::

    set-up → chaos (links cut, hosts parted, processes killed, commands) → mending → everything arrives → rest → stop

Invariants are looked at all the time; at the end nothing may be left.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from napd.background import Background
from napd.model import DownloadState, Priority
from napd.ops.events import Event
from napd.peer.files.partial import PARTIAL_DIRECTORY
from napd.wire import peer as peer_wire
from tests.simulation import invariants
from tests.simulation.clock import ProcessClock, World
from tests.simulation.contents import Content, pool
from tests.simulation.index import SimIndex
from tests.simulation.liars import VICES, Leech, Liar, address_of
from tests.simulation.network import Network, Wire
from tests.simulation.operators import Operator
from tests.simulation.peers import SimPeer
from tests.simulation.trace import Trace

NAMES = ("ada", "bob", "cyd", "dan", "eve", "fay", "gus")
#: Virtual seconds between two looks at the invariants.
LOOK_S = 0.5
#: Virtual seconds after which a command has been acted upon, whatever the disk does.
SETTLED_S = 6.0
#: Virtual seconds after which everybody has given up, tried again and come back: the longest back-offs of all parts
#: (150 s for a waiting download, 90 s for a source, 45 s for the index, 100 s for a dial-back after a chaos of 60 s).
MENDED_S = 400.0
#: Virtual seconds in which everything that is idle is closed and forgotten; what is not taken is waited for longest
#: (`peer.outlet.UNREAD_S`, twice at most).
REST_S = 150.0
#: Virtual seconds within which a daemon stops in good order, with a disk that takes seconds now and then.
STOPPED_S = 20.0
#: Events per virtual second and process, at most, while nothing happens: heartbeats, and looks at them.
IDLE_EVENTS_PER_S = 25.0
#: Real seconds that one run may take at the very most.
MAX_REAL_S = 60.0


class Broken(AssertionError):
    """Something is not as it must be."""


@define(eq=False, repr=False)
class Run:
    """Of one seed. `play` raises `Broken`, and always cleans up."""

    seed: int
    trace: Trace = field(factory=Trace)
    chance: Random = field(init=False)
    world: World = field(factory=World)
    #: Seconds for which things go wrong.
    chaos_s: float = field(init=False)
    peers: list[SimPeer] = field(factory=list)
    liars: list[Liar] = field(factory=list)
    operators: dict[str, Operator] = field(factory=dict)
    problems: list[str] = field(factory=list)
    network: Network = field(init=False)
    index: SimIndex = field(init=False)
    director: ProcessClock = field(init=False)
    _directory: Path = field(init=False)
    _deleted: set[tuple[str, int]] = field(factory=set)
    _tidied: set[str] = field(factory=set)
    contents: list[Content] = field(factory=list)
    _out_of_order: dict[str, dict[int, float]] = field(factory=dict)
    _leeches: list[Leech] = field(factory=list)
    _began: float = field(factory=time.monotonic)

    def __attrs_post_init__(self) -> None:
        self.chance = Random(self.seed)
        self.chaos_s = self.chance.choice([5.0, 10.0, 20.0, 40.0, 60.0])
        self.director = self.world.process("chaos")
        self.network = Network(self.world, Random(self.seed + 1), self._wire_said)

    def play(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix=f"napd-sim-{self.seed}-"))
        try:
            self._set_up()
            self._plan_chaos()
            self._run_for(self.chaos_s)
            self._mend()
            self._until_everything_arrived()
            self._rest()
            for peer in self.peers:
                deleted = {number for user, number in self._deleted if user == peer.user}
                self._check(peer, invariants.at_rest(peer, deleted))
            self._stop_everything()
        finally:
            self._clean_up()

    # --- Set-up ----------------------------------------------------------------------------------

    def _set_up(self) -> None:
        chance = self.chance
        self.index = SimIndex(self.world, self.network, self.seed, self.trace)
        self.trace.names[self.index.identity.id] = "index"
        for name in NAMES[: chance.randint(2, 5)]:
            self.peers.append(self._peer(SimPeer, name))
        for number in range(chance.choice([0, 0, 1, 1, 2])):
            liar = self._peer(Liar, f"liar{number}")
            assert isinstance(liar, Liar)
            liar.vice = chance.choice(VICES)
            self.liars.append(liar)
            self._note(f"{liar.user} {liar.vice}")
        self.network.heard_get = self._get_heard
        contents = chance.sample(pool(), chance.randint(2, 8))
        for content in contents:
            self.trace.names[content.id] = content.name.removesuffix(".bin").replace(" ", "")
            holders = chance.sample(self.peers, chance.choice([1, 1, 2, 3]) if len(self.peers) > 3 else 1)
            for holder in holders:
                holder.library.offer(content)
            for liar in self.liars:
                if chance.random() < 0.7:
                    liar.library.offer(content)
                elif chance.random() < 0.5:
                    liar.discovery.offer_parts([content.id])
        for peer in self.peers:
            self.operators[peer.user] = Operator(peer, Random(chance.random()), self.problems.append)
            wanted = [content for content in contents if content.id not in peer.library.files]
            chance.shuffle(wanted)
            for content in wanted[: chance.randint(1, 6)]:
                at = chance.choice([0.0, 0.0, 1.0, chance.uniform(0, self.chaos_s)])
                self.director.callLater(at, self._get, peer, content, chance.choice([None, None, *Priority]))
        self.contents = contents

    def _peer(self, kind: type[SimPeer], name: str) -> SimPeer:
        peer = kind(
            self.world,
            self.network,
            self.index,
            self.trace,
            name,
            self._directory / name,
            seed=self.seed,
            rate=self.chance.choice([300e3, 1e6, 3e6, 20e6]),
            limit=self.chance.choice([1, 2, 3, 3]),
            slots=self.chance.choice([1, 2, 8, 8]),
            share_partial=self.chance.random() < 0.8,
        )
        self.trace.names[peer.key.id] = name
        peer.listening.append(lambda event: self._event(peer, event))
        return peer

    def _get(self, peer: SimPeer, content: Content, priority: Priority | None) -> None:
        if peer.running:
            self.operators[peer.user].get(content, priority=priority)
        else:
            self.director.callLater(1.0, self._get, peer, content, priority)

    # --- Chaos -----------------------------------------------------------------------------------

    def _plan_chaos(self) -> None:
        """How bad it gets is a matter of chance, too: many bugs need a single fault in a quiet moment."""
        chance = self.chance
        evils: list[tuple[Callable[[], None], float]] = [
            (self._cut_a_wire, 1.0),
            (self._silence_a_wire, 0.5),
            (self._part_hosts, 0.6),
            (self._kill_a_peer, 0.8),
            (self._power_off, 0.3),
            (self._restart_a_peer, 0.3),
            (self._stop_the_index, 0.2),
            (self._lose_partial_data, 0.2),
            (self._restart_the_index, 0.3),
            (self._slow_a_host, 0.5),
            (self._command, 3.0),
            (self._delete_a_file, 0.3),
            (self._change_a_share, 0.4),
            (self._leech, 0.5),
        ]
        chosen = [(evil, weight) for evil, weight in evils if chance.random() < 0.6]
        for _ in range(chance.choice([0, 1, 3, 10, 20, 40]) if chosen else 0):
            (evil,) = chance.choices([evil for evil, _ in chosen], [weight for _, weight in chosen])
            self.director.callLater(chance.uniform(0.0, self.chaos_s), evil)

    def _cut_a_wire(self) -> None:
        wires = list(self.network.wires)
        if wires:
            wire = self.chance.choice(wires)
            self._note(f"cuts {_between(wire)}")
            wire.abortConnection()

    def _silence_a_wire(self) -> None:
        wires = list(self.network.wires)
        if wires:
            wire = self.chance.choice(wires)
            self._note(f"silences {_between(wire)}")
            wire.go_silent()

    def _part_hosts(self) -> None:
        names = list(self.network.hosts)
        side = frozenset(self.chance.sample(names, self.chance.randint(1, len(names) - 1)))
        self._note(f"parts {sorted(side)} from the others")
        self.network.part(side)
        self.director.callLater(self.chance.choice([0.5, 5.0, 20.0, 40.0]), self._join, side)

    def _join(self, side: frozenset[str]) -> None:
        self._note(f"joins {sorted(side)} with the others")
        self.network.join(side)

    def _kill_a_peer(self) -> None:
        self._fell(self.chance.choice(self.peers), silently=False)

    def _power_off(self) -> None:
        self._fell(self.chance.choice(self.peers), silently=True)

    def _fell(self, peer: SimPeer, *, silently: bool) -> None:
        if not peer.running:
            return
        self._note(f"{'powers off' if silently else 'kills'} {peer.user}")
        peer.host.up = not silently
        peer.kill(silently=silently)
        self.director.callLater(self.chance.choice([0.1, 1.0, 5.0, 20.0]), self._raise, peer)

    def _raise(self, peer: SimPeer) -> None:
        if not peer.running:
            self._note(f"starts {peer.user}")
            peer.host.up = True
            peer.start()

    def _restart_a_peer(self) -> None:
        """In good order, whatever it is at."""
        peer = self.chance.choice(self.peers)
        if peer.running and peer.online:
            self._note(f"stops {peer.user}")
            self._stop(peer, lambda: self.director.callLater(0.5, self._raise, peer))

    def _stop(self, daemon: SimPeer | SimIndex, then: Callable[[], object]) -> None:
        """It has to end within seconds; then the process ends."""
        process = daemon.process

        def over(result: object) -> None:
            if late.active():
                late.cancel()
            if isinstance(result, Failure):
                self.problems.append(f"{process.name} cannot stop: {result.getTraceback()}")
            if not process.dead:
                daemon.kill()
                then()

        late = process.callLater(STOPPED_S, lambda: self.problems.append(f"{process.name} does not stop"))
        Deferred.fromCoroutine(daemon.stop()).addBoth(over)

    def _stop_the_index(self) -> None:
        if self.index.running and self.index.serving:
            self._note("stops the index")
            self._stop(self.index, lambda: self.director.callLater(self.chance.choice([0.1, 5.0]), self._raise_index))

    def _lose_partial_data(self) -> None:
        """Somebody tidies up while a peer is down."""
        peer = self.chance.choice(self.peers)
        if not peer.running:
            for path in sorted(peer.directory.rglob(f"{PARTIAL_DIRECTORY}/*")):
                self._note(f"removes a partial file of {peer.user}")
                self._tidied.add(peer.user)
                path.unlink()

    def _restart_the_index(self) -> None:
        if not self.index.running:
            return
        silently = self.chance.random() < 0.3
        self._note(f"{'powers off' if silently else 'kills'} the index")
        self.index.host.up = not silently
        self.index.kill(silently=silently)
        self.director.callLater(self.chance.choice([0.1, 2.0, 20.0]), self._raise_index)

    def _raise_index(self) -> None:
        if not self.index.running:
            self._note("starts the index")
            self.index.host.up = True
            self.index.start()

    def _slow_a_host(self) -> None:
        peer = self.chance.choice(self.peers)
        factor = self.chance.choice([0.1, 0.01])
        self._note(f"slows {peer.user} to {factor}")
        peer.host.slow_down(factor)
        self.director.callLater(self.chance.choice([2.0, 10.0, 30.0]), peer.host.recover)

    def _command(self) -> None:
        peer = self.chance.choice(self.peers)
        if peer.running:
            self.operators[peer.user].anything()

    def _delete_a_file(self) -> None:
        """Somebody's finished file; he may want it again."""
        peer = self.chance.choice(self.peers)
        done = [item for item in peer.downloads.queue if item.state is DownloadState.DONE] if peer.running else []
        if done:
            item = self.chance.choice(done)
            self._note(f"deletes {item.path}")
            Path(str(item.path)).unlink(missing_ok=True)
            self._deleted.add((peer.user, item.id))
            if self.chance.random() < 0.7:
                self.operators[peer.user].get_again([item])

    def _change_a_share(self) -> None:
        peer = self.chance.choice(self.peers)
        content = self.chance.choice(self.contents)
        if peer.running and content.id in peer.library.files:
            self._note(f"{peer.user} withdraws {content.name}")
            peer.library.withdraw(content)
            self.director.callLater(self.chance.uniform(0.0, 20.0), peer.library.offer, content)

    def _leech(self) -> None:
        if not self.liars:
            return
        liar, victim = self.chance.choice(self.liars), self.chance.choice(self.peers)
        background = Background(lambda name, failure: self.problems.append(f"{name}: {failure.getTraceback()}"))
        leech = Leech(liar, Random(self.chance.random()), background)
        self._leeches.append(leech)
        self._note(f"{liar.user} leeches on {victim.user}")
        leech.visit(address_of(victim))

    # --- The end of it ---------------------------------------------------------------------------

    def _mend(self) -> None:
        self._note("mends everything")
        self.director.kill()
        self.director = self.world.process("mending")
        while self.network.apart:
            self.network.join(self.network.apart[-1])
        for leech in self._leeches:
            leech.stop()
        for host in self.network.hosts.values():
            host.up = True
            host.recover()
        self._raise_index()
        for peer in self.peers:
            if peer.running and not peer.online:
                # It was about to stop.
                peer.kill()
            self._raise(peer)
            self.operators[peer.user].settle_down(limit=3, slots=8)
            for content in self.contents:
                if (peer.directory / "shared" / content.name).exists():
                    peer.library.offer(content)

    def _until_everything_arrived(self) -> None:
        """Every content has an honest holder that can be reached, so nothing is left waiting."""
        size = sum(content.size for content in self.contents) * len(self.peers)
        give_up_at = self.world.seconds() + MENDED_S + size / min(host.rate for host in self.network.hosts.values())
        while left := self._unfinished():
            if self.world.seconds() > give_up_at:
                raise Broken(f"not finished {MENDED_S:.0f} s after everything was mended: {'; '.join(left)}")
            self._run_for(LOOK_S)

    def _rest(self) -> None:
        """Everything that is idle is closed, and then next to nothing happens."""
        self._run_for(REST_S)
        before = self.world.handled
        self._run_for(20.0)
        per_s = (self.world.handled - before) / 20.0 / (len(self.peers) + len(self.liars) + 1)
        if per_s > IDLE_EVENTS_PER_S:
            raise Broken(f"{per_s:.0f} events a second and process while nothing happens")
        for problem in invariants.index_knows(self.index, self.peers):
            raise Broken(problem)

    def _unfinished(self) -> list[str]:
        return [
            f"{peer.user} {item.id} {item.name} {item.state.value}"
            for peer in self.peers
            for item in peer.downloads.queue
            if not item.state.ended
        ]

    def _stop_everything(self) -> None:
        self._note("stops everything")
        open_ends: list[str] = []
        for stopping in (*self.peers, *self.liars, self.index):
            name = getattr(stopping, "user", "index")
            open_ends.append(name)
            Deferred.fromCoroutine(stopping.stop()).addCallbacks(
                lambda _, name=name: open_ends.remove(name),
                lambda failure, name=name: self.problems.append(f"{name} cannot stop: {failure.getTraceback()}"),
            )
        self._run_for(30.0)
        if open_ends:
            raise Broken(f"still not stopped: {open_ends}")
        for peer in self.peers:
            self._check(peer, invariants.after_the_end(peer))
        if calls := self.world.pending(self.index.process):
            raise Broken(f"timers of the index are left: {[call.func for call in calls]}")

    def _clean_up(self) -> None:
        for peer in (*self.peers, *self.liars):
            if peer.running:
                peer.process.kill()
            peer.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    # --- Looking ---------------------------------------------------------------------------------

    def _run_for(self, seconds: float) -> None:
        until = self.world.seconds() + seconds
        while self.world.seconds() < until:
            self.world.run_to(min(until, self.world.seconds() + LOOK_S))
            for peer in self.peers:
                if peer.running:
                    self._check(peer, invariants.at_any_time(peer))
                self._check_order(peer)
            if self.index.faults:
                raise Broken(f"a fault of the index: {self.index.faults}")
            if self.problems:
                raise Broken("\n".join(self.problems))
            if time.monotonic() - self._began > MAX_REAL_S:
                raise Broken(f"not over after {MAX_REAL_S:.0f} s, at {self.world.seconds():.1f} virtual ones")

    def _check_order(self, peer: SimPeer) -> None:
        """A command is journalled before it is acted upon, which may take seconds on a bad disk."""
        now = self.world.seconds()
        since = self._out_of_order.setdefault(peer.user, {})
        wrong = invariants.out_of_order(peer) if peer.running else frozenset()
        for number in [number for number in since if number not in wrong]:
            del since[number]
        for number in sorted(wrong):
            if now - since.setdefault(number, now) > SETTLED_S:
                raise Broken(f"{peer.user}: download {number} is out of order since {since[number]:.1f} s")

    def _check(self, peer: SimPeer, found: Iterable[str]) -> None:
        for problem in found:
            raise Broken(f"{peer.user}: {problem}")

    def _event(self, peer: SimPeer, event: Event) -> None:
        if event.event == "download.finished":
            self._deleted.discard((peer.user, event.fields["download"]))
            self.problems += [f"{peer.user}: {problem}" for problem in invariants.finished(event, peer)]

    def _wire_said(self, host: str, what: str, other: str) -> None:
        self.trace.note(self.world.seconds(), host, f"{what} {other}")

    def _get_heard(self, host: str, asked: peer_wire.Get) -> None:
        peer = next((peer for peer in self.peers if peer.user == host), None)
        if peer is not None:
            wrong = invariants.not_asked_again(peer._connection, asked.content, asked.first, asked.count)
            if wrong is not None and peer.user not in self._tidied:
                self.problems.append(f"{host}: {wrong}")

    def _note(self, what: str) -> None:
        self.trace.note(self.world.seconds(), "*", what)


def _between(wire: Wire) -> str:
    return f"{wire.host.name} to {wire.other.host.name}"
