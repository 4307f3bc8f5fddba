"""A session that is online: what its peer asks for, and what it is told unasked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from ..errors import Misuse, RemoteProtocolError
from ..wire import index as wire
from . import answers
from .announcing import Announcing
from .dialback import Proof
from .items import Asker
from .limits import Allowance
from .presence import Online
from .search import Found, query_of, wanted_of
from .services import Services
from .session import Session
from .store.interface import Account
from .turns import Work

#: Seconds between two log lines about the same limit of the same session.
LIMIT_LOGGED_S = 60.0


class Member:
    """Implements `napd.index.session.Member`, `napd.index.seeking.Seeker` and `napd.index.wishing.Wisher`.

    :param forget: called once when the session is over.
    """

    def __init__(
        self,
        services: Services,
        session: Session,
        online: Online,
        asker: Asker,
        forget: Callable[[Account, Session], None],
    ) -> None:
        self._services = services
        self._session = session
        self._online = online
        self._forget = forget
        self._announcing = Announcing(services, session, online)
        limits = services.limits
        self._searches = Allowance.of(services.clock, limits.searches_per_s, limits.search_burst)
        self._logged: dict[str, float] = {}
        self._proof: Proof | None = None
        self._renewal = services.renewals.begin(self._renew_ticket)
        self.asker = asker

    def be_found_at(self, candidates: Sequence[str]) -> None:
        """Have these addresses proven, and published as far as they are."""
        self._proof = self._services.dialback.prove(self._online.account.key, candidates, self._reached)

    def heard(self, message: Struct) -> None:
        match message:
            case wire.Announce():
                self._announcing.take(message)
            case wire.Search():
                self._search(message)
            case wire.Users():
                self._users(message)
            case wire.Wish():
                self._wish(message)
            case wire.Unwish():
                self._services.wishing.drop(self, message.wishes)
            case wire.Slots():
                self._services.presence.slots_told(self._online, message.free)
                self._services.cluster.said(self._online)
            case wire.Seek():
                self._seek(message)
            case wire.Unseek():
                self._services.seeking.unseek(self, message.contents)
            case wire.Partial():
                self._parts(message)
            case _:
                raise RemoteProtocolError(f"{message.__struct_config__.tag} is out of order")

    def tell_sources(self, message: wire.Sources) -> None:
        self._session.say(message)

    def tell_wished(self, number: int, results: Sequence[Found], *, more: bool) -> None:
        for part in answers.wished(number, results, more=more):
            self._session.say(part)
        self._services.events.emit("wish.told", user=self._online.account.user, wish=number, results=len(results))

    def left(self, reason: str) -> None:
        """Nothing of this peer is left in any answer."""
        services, account = self._services, self._online.account
        services.seeking.leave(self)
        services.wishing.leave(self)
        services.catalogues.disconnect(self._online)
        services.retention.left(self._online)
        if self._proof is not None:
            self._proof.stop()
        self._renewal.stop()
        self._forget(account, self._session)
        services.events.emit(
            "session.closed", user=account.user, peer=account.key, session=self._online.session, reason=reason
        )

    # --- Requests --------------------------------------------------------------------------------

    def _search(self, message: wire.Search) -> None:
        if self._may_search(message.id):
            self._ask(message.id, lambda: self._answer_search(message))

    def _users(self, message: wire.Users) -> None:
        if self._may_search(message.id):
            parts = answers.users(message.id, message.words, self._services.presence, self.asker)
            self._ask(message.id, lambda: self._say_part(parts))

    def _may_search(self, request: int) -> bool:
        """Lists of users count, too: they can be as long as any answer."""
        if self._searches.take():
            return True
        self._limit("index.searches", f"over {self._services.limits.searches_per_s:g} searches a second", request)
        return False

    def _ask(self, request: int, work: Work) -> None:
        """Have a request served when it is this session's turn."""
        if self._services.turns.waiting(self._session) >= wire.MAX_OUTSTANDING:
            self._limit("index.outstanding", f"over {wire.MAX_OUTSTANDING} requests are open", request)
        else:
            self._services.turns.add(self._session, work)

    def _answer_search(self, message: wire.Search) -> None:
        services = self._services
        began = services.clock.seconds()
        try:
            page = services.engine.search(wanted_of(message, services.limits.page), self.asker)
        except Misuse as error:
            self._session.say(wire.Error(error.code, str(error), message.id))
            return
        took_ms = round((services.clock.seconds() - began) * 1000, 3)
        for part in answers.results(message.id, page, took_ms):
            self._session.say(part)
        services.figures.searches += 1
        services.events.emit(
            "search.answered",
            user=self._online.account.user,
            query=message.query,
            results=len(page.results),
            took_ms=took_ms,
        )

    def _say_part(self, parts: Iterator[wire.UserList]) -> bool:
        """Whether there is more."""
        part = next(parts)
        self._session.say(part)
        return not part.last and not self._session.is_over()

    def _wish(self, message: wire.Wish) -> None:
        wishing, most = self._services.wishing, self._services.limits.wishes
        wishing.drop(self, (message.wish,))
        if wishing.held_by(self) >= most:
            self._limit("index.wishes", f"over {most} wishes are held", message.wish)
            return
        try:
            query = query_of(message)
        except Misuse as error:
            self._session.say(wire.Error(error.code, str(error), message.wish))
            return
        if query.impossible is None and not wishing.hold(self, message.wish, query):
            self._limit(
                "index.wishes", "too many others wish for much the same: wish for another word too", message.wish
            )
            return
        self._session.say(wire.Wished(message.wish, reason=query.impossible))

    def _seek(self, message: wire.Seek) -> None:
        seeking = self._services.seeking
        room = wire.MAX_SEEKS - seeking.sought_by(self)
        seeking.seek(self, message.contents[:room])
        if len(message.contents) > room:
            self._limit("index.seeks", f"over {wire.MAX_SEEKS} contents are sought", None)

    def _parts(self, message: wire.Partial) -> None:
        too_many = self._services.catalogues.parts_changed(self._online, message.add, message.drop)
        self._services.cluster.said(self._online)
        if too_many:
            self._limit("index.partials", f"parts of over {wire.MAX_PARTIALS} contents are offered", None)

    # --- Told unasked ----------------------------------------------------------------------------

    def _reached(self, addresses: tuple[str, ...]) -> None:
        self._services.catalogues.reached(self._online, addresses)
        self._services.cluster.reached(self._online, addresses)
        self._session.say(wire.Reachable(addresses))

    def _renew_ticket(self) -> None:
        self._renewal = self._services.renewals.begin(self._renew_ticket)
        self._session.say(wire.Ticket(self._services.tickets.issue(self._online.account)))

    def _limit(self, limit: str, message: str, request: int | None) -> None:
        """Refuse something, and log it now and then."""
        self._session.say(wire.Error("limit", message, request))
        now = self._services.clock.seconds()
        if now - self._logged.get(limit, -LIMIT_LOGGED_S) >= LIMIT_LOGGED_S:
            self._logged[limit] = now
            account = self._online.account
            self._services.events.emit("limit.hit", limit=limit, peer=account.key, user=account.user)
