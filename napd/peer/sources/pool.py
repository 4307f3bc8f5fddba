"""Other peers as sources: one link each, shared by all downloads; dialled, kept, backed off from.

A download says which peers it wants (`want`, `join`) and hears when one is ready or lost. What it asks of a ready
source goes through the source's `FetchSession`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ...background import Background
from ...content.digest import CHUNK_BYTES
from ...discovery.interface import Holder
from ...errors import NapError, SourceFailed
from ...model import PeerId
from ...net.buffers import Buffers
from ...net.dial import Dialler
from ...net.link import SecureLink
from ...net.pacing import Pacer
from ...wire import peer as wire
from ..fetch.fetching import FetchSession
from .addresses import Addresses
from .dialling import Dialling
from .experience import Experience
from .scoring import Facts
from .source import Source, SourceState, SourceUser
from .throughput import enough

#: Seconds that a link without a user is kept for the next download.
KEEP_IDLE_S = 10.0
#: How many sources are at work for one download unless the configuration says otherwise.
DEFAULT_PLACES = 8
#: How many downloads are at work with one source unless the configuration says otherwise.
DEFAULT_PER_SOURCE = 4
#: Links at a time, to all sources together, unless descriptors are scarcer; and the seconds after which one that has to
#: wait for another's end looks again.
MAX_LINKS = 256
LINK_WAIT_S = 1.0
#: How often what is learnt is taken down; a link that ends or falls idle is taken down at once.
LEARN_S = 5.0


#: Ends of a link that say nothing about how good a source is.
_NOBODY_S_FAULT = ("closed", "shutdown", "no_ticket")


class SourcePool:
    """All sources that anybody wants, by peer id.

    :param ticket: the present ticket, shown to each source.
    :param places: how many sources may be at work for one download.
    :param per_source: how many downloads may be at work with one source; urgent ones always may.
    :param most: links at a time; each takes a descriptor. Who comes too late waits, as after a failure.
    """

    def __init__(
        self,
        *,
        clock: IReactorTime,
        rng: Random,
        dialler: Dialler,
        agent: str,
        ticket: Callable[[], str | None],
        pacer: Pacer,
        background: Background,
        experience: Experience,
        places: int = DEFAULT_PLACES,
        per_source: int = DEFAULT_PER_SOURCE,
        most: int = MAX_LINKS,
    ) -> None:
        self.places = places
        self.per_source = per_source
        self._most = most
        self._experience = experience
        self._learning: IDelayedCall | None = None
        self._clock = clock
        self._rng = rng
        self._dialler = dialler
        self._agent = agent
        self._ticket = ticket
        self._pacer = pacer
        self._background = background
        self._sources: dict[PeerId, Source] = {}
        self._addresses = Addresses()
        self._buffers = Buffers(CHUNK_BYTES)
        self._stopped = False

    def source(self, peer: PeerId) -> Source | None:
        return self._sources.get(peer)

    def want(self, holder: Holder) -> Source:
        """The source for this peer, with what is known of it now; `join` makes it serve somebody."""
        source = self._sources.get(holder.peer)
        if source is None:
            source = self._sources[holder.peer] = Source(holder.peer, holder.user, holder.addresses)
        source.user = holder.user
        source.addresses = holder.addresses or source.addresses
        return source

    def join(self, source: Source, user: SourceUser) -> None:
        """Tell `user` when this source is ready, at once if it is; dial it if nobody has."""
        if user not in source.users:
            source.users.append(user)
        if source.state is SourceState.READY:
            user.source_ready(source)
        elif source.state in (SourceState.IDLE, SourceState.UNREACHABLE):
            self._dial(source)

    def leave(self, source: Source, user: SourceUser) -> None:
        """The user needs it no more."""
        if user in source.users:
            source.users.remove(user)
        if not source.users and source.state is SourceState.READY:
            self._learn(source)
            self._set_timer(source, KEEP_IDLE_S, self._close_idle)

    def has_place(self, source: Source, rank: int) -> bool:
        """Whether one more download may work with this source; whom it makes wait in its queue does not count."""
        return rank == 0 or source.workers.served < self.per_source

    def freed(self, source: Source) -> None:
        """A download works with this source no more: another may, which hears of it in the next turn of the reactor.

        The caller may be in the middle of what that would change.
        """
        self._clock.callLater(0, self._tell_ready, source)

    def _tell_ready(self, source: Source) -> None:
        if source.state is SourceState.READY and not self._stopped:
            for user in list(source.users):
                user.source_ready(source)

    def returned(self, holder: Holder) -> None:
        """The peer has just come online (again): what failed before says nothing about now."""
        self._addresses.forgive(holder.addresses)
        source = self._sources.get(holder.peer)
        if source is None:
            return
        if source.state is SourceState.BACKING_OFF:
            source.failure = None
            self._dial(source)
        elif source.session is not None:
            source.session.prove()

    # --- What is learnt --------------------------------------------------------------------------

    def served(self, source: Source) -> None:
        """It gave something good: what failed before is forgotten."""
        self._experience.succeeded(source.peer)
        if source.address is not None:
            self._addresses.served(source.address)

    def misbehaved(self, source: Source) -> None:
        """It gave something wrong."""
        self._experience.failed(source.peer)

    def facts(self, peer: PeerId) -> Facts:
        """What is known of this peer as a source: what it does now, or else what it did before."""
        facts = self._experience.facts(peer)
        source = self._sources.get(peer)
        if source is None or source.session is None:
            return facts
        pace, rtt = source.session.throughput.per_s(), source.session.rtt_s
        return evolve(
            facts,
            bytes_per_s=facts.bytes_per_s if pace is None else pace,
            rtt_s=facts.rtt_s if rtt is None else rtt,
        )

    def may_be_tried(self, addresses: Sequence[str]) -> bool:
        """Whether one of these is not backed off from now."""
        return bool(self._addresses.usable(addresses, self._clock.seconds()))

    def _learn_from_all(self) -> None:
        self._learning = None
        for source in self._sources.values():
            self._learn(source)
        if any(source.session is not None for source in self._sources.values()):
            self._learn_later()
        self._experience.keep()

    def _learn_later(self) -> None:
        if self._learning is None and not self._stopped:
            self._learning = self._clock.callLater(LEARN_S, self._learn_from_all)

    def _learn(self, source: Source) -> None:
        """Take down what its session measured since the last time."""
        if source.session is None:
            return
        throughput = source.session.throughput
        size, busy_s = throughput.bytes - source.learnt[0], throughput.busy_s - source.learnt[1]
        if size and enough(size, busy_s):
            source.learnt = throughput.bytes, throughput.busy_s
            self._experience.measured(source.peer, size / max(busy_s, 0.001), busy_s, source.session.rtt_s)

    def stop(self) -> None:
        self._stopped = True
        if self._learning is not None:
            self._learning.cancel()
        self._learn_from_all()
        self._experience.keep(at_once=True)
        for source in self._sources.values():
            self._set_timer(source, None, self._close_idle)
            if source.session is not None:
                source.session.close()

    # --- Dialling --------------------------------------------------------------------------------

    def _dial(self, source: Source) -> None:
        if self._stopped:
            return
        self._set_timer(source, None, self._close_idle)
        if not source.addresses:
            source.state = SourceState.UNREACHABLE
            source.failure = SourceFailed("it has no address that others can reach", code="unreachable")
            for user in list(source.users):
                user.source_lost(source, source.failure)
            return
        usable = self._addresses.usable(source.addresses, self._clock.seconds())
        if not usable:
            self._back_off(source)
            return
        if not self._has_room():
            self._back_off(source, self._clock.seconds() + LINK_WAIT_S)
            source.failure = SourceFailed(f"as many links to sources are open as may be: {self._most}", code="links")
            return
        source.state = SourceState.CONNECTING
        self._background.start(f"dialling {source.peer}", self._connect(source, usable))

    def _has_room(self) -> bool:
        """Whether one more link may be made; if need be, one that nobody uses goes."""
        linked = [one for one in self._sources.values() if one.state in (SourceState.CONNECTING, SourceState.READY)]
        if len(linked) < self._most:
            return True
        unused = next((one for one in linked if one.state is SourceState.READY and not one.users), None)
        if unused is not None:
            self._learn(unused)
            self._set_timer(unused, None, self._close_idle)
            self._close_idle(unused)
        return unused is not None

    async def _connect(self, source: Source, addresses: Sequence[str]) -> None:
        """Try these until one leads to a source that admits us."""

        def failed(address: str, error: NapError) -> None:
            self._addresses.failed(address, self._clock.seconds(), self._rng.uniform(0.75, 1.25))

        def begin(address: str) -> Deferred[FetchSession]:
            return Deferred.fromCoroutine(self._open(source, address))

        dialling = Dialling(self._clock, addresses, begin, failed)
        try:
            source.address, source.session = await dialling.start()
        except NapError as error:
            self._lost(source, _as_source_failure(error))
            return
        source.state = SourceState.READY
        source.failure = None
        source.learnt = (0, 0.0)
        self._learn_later()
        if not source.users:
            self._set_timer(source, KEEP_IDLE_S, self._close_idle)
        for user in list(source.users):
            user.source_ready(source)

    async def _open(self, source: Source, address: str) -> FetchSession:
        opened: Deferred[FetchSession] = Deferred()

        def ready(session: FetchSession) -> None:
            if not opened.called:
                opened.callback(session)

        def ended(session: FetchSession, reason: NapError) -> None:
            if not opened.called:
                opened.errback(reason)
            elif source.session is session:
                failed = self._clock.seconds(), self._rng.uniform(0.75, 1.25)
                self._addresses.failed(address, *failed)
                self._lost(source, _as_source_failure(reason))

        session = FetchSession(self._clock, self._agent, self._ticket, self._pacer, ready, ended, self._buffers)
        link = SecureLink(self._clock, session, wire.ALPN, expected=source.peer)
        session.attach(link)
        try:
            await self._dialler.dial(address, wire.ALPN, lambda: link)
            return await opened
        except CancelledError:
            session.close()
            raise

    # --- Losing ----------------------------------------------------------------------------------

    def _lost(self, source: Source, failure: SourceFailed) -> None:
        self._learn(source)
        if failure.code not in _NOBODY_S_FAULT:
            self._experience.failed(source.peer)
        source.session = None
        source.failure = source.failure or failure
        source.state = SourceState.IDLE
        if source.users:
            self._back_off(source)
        for user in list(source.users):
            user.source_lost(source, source.failure)
        if not source.users:
            self._forget(source)

    def _back_off(self, source: Source, until: float | None = None) -> None:
        """Until then, or until the first of its addresses may be tried again."""
        source.state = SourceState.BACKING_OFF
        source.retry_at = self._addresses.retry_at(source.addresses) if until is None else until
        self._set_timer(source, max(0.0, source.retry_at - self._clock.seconds()), self._retry)

    def _retry(self, source: Source) -> None:
        source.timer = None
        if source.users:
            source.failure = None
            self._dial(source)
        else:
            self._forget(source)

    def _close_idle(self, source: Source) -> None:
        """Forgotten first: who wants it while the link says goodbye gets a new one."""
        source.timer = None
        if not source.users and source.session is not None:
            session, source.session = source.session, None
            self._forget(source)
            session.close()

    def _forget(self, source: Source) -> None:
        self._set_timer(source, None, self._close_idle)
        if self._sources.get(source.peer) is source:
            del self._sources[source.peer]

    def _set_timer(self, source: Source, delay: float | None, call: Callable[[Source], None]) -> None:
        if source.timer is not None and source.timer.active():
            source.timer.cancel()
        source.timer = None if delay is None or self._stopped else self._clock.callLater(delay, call, source)


def _as_source_failure(reason: NapError) -> SourceFailed:
    if isinstance(reason, SourceFailed):
        return reason
    return SourceFailed(reason.message, code=reason.code)
