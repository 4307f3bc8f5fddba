"""One session at the index, seen from a peer: hello, login, then requests and news in both directions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Protocol, TypeVar

from attrs import define, field
from msgspec import structs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..errors import LocalProtocolError, Misuse, NapError, RemoteProtocolError, TimedOut, Unreachable, printable
from ..net.identity import PublicKey
from ..net.link import SecureLink
from ..wire import index as wire
from ..wire.line import understand
from .announcer import Announcer
from .interface import CatalogueFeed

#: Seconds from the secured link to the welcome.
LOGIN_S = 15.0
#: Seconds for the answer to a request.
ANSWER_S = 20.0

T = TypeVar("T")


class SessionUser(Protocol):
    """Implemented by `discovery.index_client`."""

    def secured(self, key: PublicKey) -> None:
        """The index proved this key. :raises NapError: if it must not be spoken to."""

    def login(self) -> wire.Login: ...
    def welcomed(self, welcome: wire.Welcome) -> None: ...
    def ticket_renewed(self, ticket: str) -> None: ...
    def time_told(self, index_time: float) -> None: ...
    def sources_told(self, sources: wire.Sources) -> None: ...
    def wished_told(self, wished: wire.Wished) -> None: ...
    def error_heard(self, error: wire.Error) -> None:
        """An error that is about no request."""

    def reachable_told(self, addresses: Sequence[str]) -> None: ...
    def ended(self, reason: NapError, last_word: wire.Bye | None) -> None: ...


@define(eq=False)
class _Open:
    """A request whose answer comes in parts."""

    done: Deferred[Any]
    timer: IDelayedCall
    parts: list[Any] = field(factory=list)


class IndexSession:
    """A `LinkUser`."""

    def __init__(self, clock: IReactorTime, agent: str, feed: CatalogueFeed, user: SessionUser) -> None:
        self._clock = clock
        self._agent = agent
        self._user = user
        self._link: SecureLink | None = None
        self._announcer = Announcer(feed, self._say)
        self._greeted = False
        self._heard_at = 0.0
        self._timer: IDelayedCall | None = None
        self._open: dict[int, _Open] = {}
        self._next_id = 1
        self._last_word: wire.Bye | None = None
        self.welcome: wire.Welcome | None = None

    def attach(self, link: SecureLink) -> None:
        """The link that carries this session; before it connects."""
        self._link = link

    # --- For the client --------------------------------------------------------------------------

    def search(self, query: Callable[[int], wire.Search]) -> Deferred[wire.Results]:
        """One page with all its parts. Fails with `Misuse`, `TimedOut` or `Unreachable`."""
        return self._request(query)

    def users(self, words: str) -> Deferred[list[wire.UserRow]]:
        return self._request(lambda number: wire.Users(number, words))

    def seek(self, contents: Iterable[str]) -> None:
        for batch in _batches(contents, wire.MAX_SEEK_BATCH):
            self._say(wire.Seek(batch))

    def unseek(self, contents: Iterable[str]) -> None:
        for batch in _batches(contents, wire.MAX_SEEK_BATCH):
            self._say(wire.Unseek(batch))

    def parts(self, *, add: Iterable[str] = (), drop: Iterable[str] = ()) -> None:
        """At most `MAX_PARTIALS` of each."""
        self._say(wire.Partial(tuple(add), tuple(drop)))

    def slots(self, free: int) -> None:
        self._say(wire.Slots(free))

    def new_id(self) -> int:
        """A number that no request of this session has, nor will have."""
        number, self._next_id = self._next_id, self._next_id + 1
        return number

    def wish(self, wish: wire.Wish) -> None:
        """Its number is a `new_id`. :raises LocalProtocolError: if it is too long for one message."""
        self._say(wish)

    def unwish(self, wishes: Iterable[int]) -> None:
        for batch in _batches(wishes, wire.MAX_UNWISH_BATCH):
            self._say(wire.Unwish(batch))

    def catalogue_changed(self) -> None:
        self._announcer.pump()

    def close(self) -> None:
        if self._link is not None:
            self._link.hang_up(wire.Bye("shutdown", "the peer is stopping"))

    # --- LinkUser --------------------------------------------------------------------------------

    def link_secured(self, key: PublicKey) -> None:
        self._heard_at = self._clock.seconds()
        try:
            self._user.secured(key)
        except NapError as error:
            self._abort(error)
            return
        self._timer = self._clock.callLater(LOGIN_S, self._abort, TimedOut("the index did not answer the login"))
        self._say(wire.Hello((wire.VERSION,), self._agent))

    def line_heard(self, line: bytes) -> None:
        self._heard_at = self._clock.seconds()
        message = understand(line, wire.decode_from_index, self._refuse, greeted=self._greeted)
        if message is not None:
            self._handle(message)

    def raw_heard(self, data: bytes | memoryview) -> None:
        raise RemoteProtocolError("the index sends no bulk")

    def link_lost(self, reason: NapError) -> None:
        self._link = None
        self._announcer.stop()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        open_requests, self._open = self._open, {}
        for request in open_requests.values():
            request.timer.cancel()
            request.done.errback(Unreachable("the link to the index was lost", "Try again: it is dialled again"))
        self._user.ended(reason, self._last_word)

    # --- What the index says ---------------------------------------------------------------------

    def _handle(self, message: wire.FromIndex) -> None:
        if isinstance(message, wire.Results):
            self._part(message.id, message.results, message if message.last else None)
        elif isinstance(message, wire.UserList):
            self._part(message.id, message.users, message if message.last else None)
        elif isinstance(message, wire.Sources):
            self._user.sources_told(message)
        elif isinstance(message, wire.Wished):
            self._user.wished_told(message)
        elif isinstance(message, wire.Ack):
            self._announcer.acknowledged(message)
        elif isinstance(message, wire.Resync):
            self._announcer.out_of_step()
        elif isinstance(message, wire.Ping):
            if message.time is not None:
                self._user.time_told(message.time)
            self._say(wire.Pong())
        elif isinstance(message, wire.Ticket):
            self._user.ticket_renewed(message.ticket)
        elif isinstance(message, wire.Reachable):
            self._user.reachable_told(message.addresses)
        elif isinstance(message, wire.Error):
            self._refused(message)
        elif isinstance(message, wire.Hello):
            self._hello_heard(message)
        elif isinstance(message, wire.Welcome):
            self._welcome_heard(message)
        elif isinstance(message, wire.Bye):
            self._last_word = message
            self._abort(Unreachable(f"the index hung up: {printable(message.message)}"))

    def _hello_heard(self, hello: wire.Hello) -> None:
        if self._greeted:
            raise RemoteProtocolError("a second hello", code="order")
        if wire.VERSION not in hello.versions:
            self._last_word = wire.Bye("version", f"the index does not speak version {wire.VERSION}")
            raise RemoteProtocolError("no common version", code="version")
        self._greeted = True
        self._say(self._user.login())

    def _welcome_heard(self, welcome: wire.Welcome) -> None:
        if self.welcome is not None:
            raise RemoteProtocolError("a second welcome", code="order")
        self.welcome = welcome
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.callLater(wire.HEARTBEAT_S, self._beat)
        self._user.welcomed(welcome)
        self._announcer.start(welcome)

    def _beat(self) -> None:
        if self._clock.seconds() - self._heard_at >= wire.DEAD_AFTER_S:
            self._abort(Unreachable(f"nothing was heard of the index for {wire.DEAD_AFTER_S:.0f} s"))
            return
        self._say(wire.Ping())
        self._timer = self._clock.callLater(wire.HEARTBEAT_S, self._beat)

    # --- Requests --------------------------------------------------------------------------------

    def _request(self, build: Callable[[int], wire.Search | wire.Users]) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        if self.welcome is None or self._link is None:
            done.errback(Unreachable("the index is not reachable now"))
            return done
        if len(self._open) >= wire.MAX_OUTSTANDING:
            done.errback(Unreachable("too many requests to the index are under way", "Try again"))
            return done
        number = self.new_id()
        late = TimedOut(f"the index did not answer within {ANSWER_S:.0f} s", "Try again")
        self._open[number] = _Open(done, self._clock.callLater(ANSWER_S, self._give_up, number, late))
        try:
            self._say(build(number))
        except LocalProtocolError:
            self._finish(number).errback(Misuse("the question is too long for one message"))
        return done

    def _part(self, number: int, rows: Sequence[Any], last: wire.Results | wire.UserList | None) -> None:
        request = self._open.get(number)
        if request is None:
            return
        request.parts.extend(rows)
        if len(request.parts) > 100_000:
            self._give_up(number, RemoteProtocolError("an endless answer"))
        elif isinstance(last, wire.Results):
            self._finish(number).callback(structs.replace(last, results=tuple(request.parts)))
        elif last is not None:
            self._finish(number).callback(request.parts)

    def _refused(self, error: wire.Error) -> None:
        if error.id is not None and error.id in self._open:
            refusal = NapError(printable(error.message), code=printable(error.code, 40))
            if error.code in ("usage", "empty_query", "out_of_bounds"):
                refusal = Misuse(printable(error.message))
            self._finish(error.id).errback(refusal)
        else:
            self._user.error_heard(error)

    def _give_up(self, number: int, why: NapError) -> None:
        self._finish(number).errback(why)

    def _finish(self, number: int) -> Deferred[Any]:
        request = self._open.pop(number)
        if request.timer.active():
            request.timer.cancel()
        return request.done

    def _refuse(self, code: str, message: str, about: int | None) -> None:
        self._say(wire.Error(code, message, about))

    def _say(self, message: wire.FromPeer) -> None:
        if self._link is not None:
            self._link.say(message)

    def _abort(self, why: NapError) -> None:
        if self._link is not None:
            self._link.abort(why)


def _batches(things: Iterable[T], most: int) -> Iterable[tuple[T, ...]]:
    waiting = iter(things)
    while batch := tuple(islice(waiting, most)):
        yield batch
