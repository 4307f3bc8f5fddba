"""Discovery through an index: finding it, trusting it, staying logged in, coming back.

Addresses are tried in turn, with a jittered back-off. What was sought is sought again after every login, parts that
were offered are offered again, and wishes are wished again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from random import Random

from attrs import frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..background import Background
from ..errors import Denied, NapError, Unreachable, WrongIdentity
from ..model import ContentId, PeerId
from ..net.dial import Dialler
from ..net.identity import PublicKey
from ..net.link import SecureLink
from ..ops.events import Events
from ..wire import index as wire
from ..wire.control import SearchParams
from ..wire.ticket import Claims, unpack
from . import refusals
from .interface import CatalogueFeed, Holder, Holders, Identity, LinkState, LinkStatus, Seeker, Wisher
from .session import IndexSession
from .slot_news import SlotNews
from .standing import StandingWishes
from .trust import KnownIndexes

#: First wait after a lost link, doubled each time up to the last; then spread by ± half, so that peers do not come
#: back at once.
FIRST_BACK_OFF_S = 0.5
LAST_BACK_OFF_S = 30.0
#: Seconds between attempts at an index that is not the one it was: a person has to look, but may mend it at the index.
WRONG_IDENTITY_S = 60.0


@frozen
class IndexAddress:
    """Where an index is, and which id it must have, if that is known."""

    address: str
    pin: PeerId | None = None


@frozen
class Account:
    """How to log in. `credential` is only shown to an index that is pinned or was met before."""

    user: str
    credential: str | None = None


class IndexClient:
    """A `Discovery`, and the user of its sessions.

    :param port: the port that this peer listens on.
    :param now: seconds since 1970; used for tickets until an index has told its time.
    """

    def __init__(
        self,
        *,
        clock: IReactorTime,
        now: Callable[[], float],
        rng: Random,
        dialler: Dialler,
        agent: str,
        addresses: Sequence[IndexAddress],
        account: Account,
        port: int,
        advertise: Sequence[str],
        known: KnownIndexes,
        feed: CatalogueFeed,
        events: Events,
        background: Background,
    ) -> None:
        self._clock = clock
        self._now = now
        self._rng = rng
        self._dialler = dialler
        self._agent = agent
        self._addresses = list(addresses)
        self._account = account
        self._port = port
        self._advertise = tuple(advertise)
        self._known = known
        self._feed = feed
        self._events = events
        self._background = background
        self._seeker: Seeker | None = None
        self._sought: dict[ContentId, None] = {}
        self._parts: dict[ContentId, None] = {}
        self._standing = StandingWishes()
        self._slots = SlotNews(clock, self._tell_slots)
        self._session: IndexSession | None = None
        self._target: IndexAddress | None = None
        self._met_before = False
        self._turn = 0
        self._failures = 0
        self._timer: IDelayedCall | None = None
        self._stopped = False
        self._index: PublicKey | None = None
        self._ticket: str | None = None
        self._reachable: bool | None = None
        self._time_offset: float | None = None
        first = LinkState.CONNECTING if addresses else LinkState.OFFLINE
        self._status = LinkStatus(first, addresses[0].address if addresses else "", now())
        feed.on_change(self._catalogue_changed)

    # --- Life ------------------------------------------------------------------------------------

    def start(self, seeker: Seeker, wisher: Wisher | None = None) -> None:
        self._seeker = seeker
        self._standing.wisher = wisher
        if self._addresses:
            self._dial()
        else:
            why = "no index is configured: nothing can be searched for, and nobody finds this peer; give --index HOST"
            self._set_status(LinkState.OFFLINE, why)
            self._events.emit("index.unreachable", why, error=why)

    def stop(self) -> None:
        self._stopped = True
        self._slots.stop()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._session is not None:
            self._session.close()

    def try_now(self) -> None:
        """A person asks: forget back-off and refusals."""
        if self._session is None and self._addresses and not self._stopped:
            self._failures = 0
            if self._timer is not None and self._timer.active():
                self._timer.cancel()
            self._dial()

    # --- Discovery -------------------------------------------------------------------------------

    def status(self) -> LinkStatus:
        return self._status

    def identity(self) -> Identity:
        welcome = None if self._session is None else self._session.welcome
        if welcome is None:
            index = None if self._index is None else self._index.id
            return Identity(self._account.user, None, (), index)
        return Identity(welcome.user, welcome.account, welcome.groups, None if self._index is None else self._index.id)

    def reachable(self) -> bool | None:
        return self._reachable

    def ticket(self) -> str | None:
        return self._ticket

    def check_ticket(self, ticket: str, peer: PeerId) -> Claims:
        claims, _, _ = unpack(ticket)
        key = self._own_index(PeerId(claims.index))
        if key is None:
            raise Denied("the ticket is of an index that is not ours", code="bad_ticket")
        return key.check_ticket(ticket, peer=peer, now=self._index_time())

    def search(self, query: SearchParams) -> Awaitable[wire.Results]:
        def build(number: int) -> wire.Search:
            return wire.Search(
                id=number,
                query=query.query,
                ext=query.ext,
                type=query.type,
                min_size=query.min_size,
                max_size=query.max_size,
                min_bitrate=query.min_bitrate,
                user=query.user,
                sort=query.sort,
                limit=query.limit,
                cursor=query.page,
            )

        return self._online().search(build)

    async def users(self, words: str) -> Sequence[wire.UserRow]:
        return await self._online().users(words)

    def seek(self, contents: Iterable[ContentId]) -> None:
        new = [content for content in contents if content not in self._sought]
        self._sought.update(dict.fromkeys(new))
        if self._session is not None and self._session.welcome is not None:
            self._session.seek(new)

    def unseek(self, contents: Iterable[ContentId]) -> None:
        old = [content for content in contents if content in self._sought]
        for content in old:
            del self._sought[content]
        if self._session is not None and self._session.welcome is not None:
            self._session.unseek(old)

    def offer_parts(self, contents: Iterable[ContentId]) -> None:
        room = wire.MAX_PARTIALS - len(self._parts)
        new = [content for content in contents if content not in self._parts][:room]
        self._parts.update(dict.fromkeys(new))
        if self._session is not None and self._session.welcome is not None and new:
            self._session.parts(add=new)

    def withdraw_parts(self, contents: Iterable[ContentId]) -> None:
        old = [content for content in contents if content in self._parts]
        for content in old:
            del self._parts[content]
        if self._session is not None and self._session.welcome is not None and old:
            self._session.parts(drop=old)

    def slots_changed(self, free: int) -> None:
        """So many upload slots are free."""
        if not self._stopped:
            self._slots.changed(free)

    def wish(self, wish: int, query: SearchParams) -> bool:
        return self._standing.add(wish, query)

    def unwish(self, wishes: Iterable[int]) -> None:
        self._standing.drop(wishes)

    def _tell_slots(self, free: int) -> None:
        if self._session is not None and self._session.welcome is not None:
            self._session.slots(free)

    # --- Dialling --------------------------------------------------------------------------------

    def _dial(self) -> None:
        if self._stopped:
            return
        target = self._target = self._addresses[self._turn % len(self._addresses)]
        self._turn += 1
        self._set_status(LinkState.CONNECTING, self._status.error, target.address)
        self._background.start("dialling the index", self._connect(target))

    async def _connect(self, target: IndexAddress) -> None:
        session = IndexSession(self._clock, self._agent, self._feed, self)
        link = SecureLink(self._clock, session, wire.ALPN, expected=target.pin)
        session.attach(link)
        self._session = session
        try:
            await self._dialler.dial(target.address, wire.ALPN, lambda: link)
        except NapError as error:
            self.ended(error, None)

    def ended(self, reason: NapError, last_word: wire.Bye | None) -> None:
        was_online = self._status.state is LinkState.ONLINE
        self._session = None
        address = "" if self._target is None else self._target.address
        if was_online and not self._stopped:
            self._events.emit("index.lost", address=address, error=reason.message)
        self._judge(reason, last_word, address, was_online=was_online)
        self._standing.closed()
        if self._seeker is not None:
            self._seeker.discovery_lost()

    def _judge(self, reason: NapError, last_word: wire.Bye | None, address: str, *, was_online: bool) -> None:
        """Whether, and when, to try again."""
        if self._stopped:
            self._set_status(LinkState.OFFLINE, None)
        elif last_word is not None and last_word.code in wire.FINAL_CODES:
            # A person has to act: another name, another password, or nothing (somebody else took over).
            self._refused(address, last_word.code, refusals.of_last_word(last_word))
        elif isinstance(reason, WrongIdentity):
            self._refused(address, reason.code, refusals.of_identity(reason, address))
            self._timer = self._clock.callLater(self._spread(WRONG_IDENTITY_S), self._dial)
        else:
            self._failures = 1 if was_online else self._failures + 1
            # Every address gets its try before the wait grows.
            rounds = (self._failures - 1) // len(self._addresses)
            wait = min(LAST_BACK_OFF_S, FIRST_BACK_OFF_S * 2 ** min(rounds, 10))
            if not was_online and self._failures == 1:
                self._events.emit("index.unreachable", address=address, error=reason.message)
            self._set_status(LinkState.OFFLINE, reason.message)
            self._timer = self._clock.callLater(self._spread(wait), self._dial)

    def _refused(self, address: str, code: str, why: str) -> None:
        self._set_status(LinkState.REFUSED, why)
        self._events.emit("index.refused", why, address=address, code=code, error=why)

    def _spread(self, seconds: float) -> float:
        return seconds * self._rng.uniform(0.5, 1.5)

    # --- SessionUser -----------------------------------------------------------------------------

    def secured(self, key: PublicKey) -> None:
        target = self._target
        if target is None:
            return
        known = self._known.key_at(target.address)
        if target.pin is None and known is not None and known.id != key.id:
            raise WrongIdentity(
                f"the index at {target.address} is {key.id}, it was {known.id} before",
                f"If its operator says so, remove its line from {self._known.path}",
            )
        self._met_before = target.pin is not None or known is not None
        if self._known.remember(target.address, key) and target.pin is None:
            self._events.emit("index.trusted", address=target.address, index=key.id)
        self._index = key

    def login(self) -> wire.Login:
        position = self._feed.position()
        return wire.Login(
            user=self._account.user,
            epoch=position.epoch,
            revision=position.revision,
            digest=position.digest,
            listings=position.listings,
            bytes=position.bytes,
            port=self._port,
            advertise=self._advertise,
            credential=self._account.credential if self._met_before else None,
        )

    def welcomed(self, welcome: wire.Welcome) -> None:
        self._failures = 0
        self._ticket = welcome.ticket
        self.time_told(welcome.time)
        self._set_status(LinkState.ONLINE, None)
        self._events.emit(
            "index.connected",
            address=self._status.address,
            index=None if self._index is None else self._index.id,
            user=welcome.user,
        )
        if self._sought and self._session is not None:
            self._session.seek(self._sought)
        if self._parts and self._session is not None:
            self._session.parts(add=self._parts)
        if self._session is not None:
            self._standing.opened(self._session, welcome.limits)
            self._slots.begin()

    def ticket_renewed(self, ticket: str) -> None:
        self._ticket = ticket

    def time_told(self, index_time: float) -> None:
        self._time_offset = index_time - self._clock.seconds()

    def sources_told(self, sources: wire.Sources) -> None:
        if self._seeker is not None and sources.content in self._sought:
            self._seeker.holders_changed(_holders(sources))

    def wished_told(self, wished: wire.Wished) -> None:
        self._standing.told(wished)

    def error_heard(self, error: wire.Error) -> None:
        self._standing.error_heard(error)

    def reachable_told(self, addresses: Sequence[str]) -> None:
        self._reachable = bool(addresses)
        self._events.emit("index.reachable", addresses=list(addresses))

    # --- Small change ----------------------------------------------------------------------------

    def _online(self) -> IndexSession:
        session = self._session
        if session is None or session.welcome is None:
            why = self._status.error or self._status.state.value
            raise Unreachable(f"the index is not reachable: {why}", "See: napctl status", code="index_offline")
        return session

    def _own_index(self, index: PeerId) -> PublicKey | None:
        """The key of an index that this peer is configured for, live or remembered."""
        if self._index is not None and self._index.id == index:
            return self._index
        for target in self._addresses:
            key = self._known.key_at(target.address)
            if key is not None and key.id == index and target.pin in (None, index):
                return key
        return None

    def _index_time(self) -> float:
        return self._now() if self._time_offset is None else self._clock.seconds() + self._time_offset

    def _catalogue_changed(self) -> None:
        if self._session is not None:
            self._session.catalogue_changed()

    def _set_status(self, state: LinkState, error: str | None, address: str | None = None) -> None:
        since = self._status.since if state is self._status.state else self._now()
        self._status = LinkStatus(state, address or self._status.address, since, error)


def _holders(sources: wire.Sources) -> Holders:
    holders = tuple(
        Holder(PeerId(source.peer), source.user, source.addresses, source.partial) for source in sources.sources
    )
    return Holders(ContentId(sources.content), holders, sources.size, sources.name, sources.everyone)
