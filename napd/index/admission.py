"""The door: who may come in under which name, and what becomes of the session that was there before."""

from __future__ import annotations

from attrs import define, field
from twisted.python.failure import Failure

from ..errors import Denied, NapError
from ..model import PeerId
from ..net.dial import join_address
from ..ops.kinds import RESERVED_USERS
from ..wire import index as wire
from .addresses import candidates, is_loopback
from .items import Asker
from .member import Member
from .networks import network_of
from .presence import Online
from .services import Services
from .session import Session
from .store.interface import Account, Opened, Position


class NameRefused(Denied):
    """Nobody can have this user name."""

    code = "bad_name"


@define(eq=False)
class Door:
    """Implements `napd.index.session.Admission`: open login, one session per account, the later one stays."""

    _services: Services
    #: The newest session of each account, on its way in or in.
    _newest: dict[int, Session] = field(factory=dict)

    def begin(self, session: Session, login: wire.Login) -> None:
        self._services.background.start("login", self._admit(session, login))

    def replaced_elsewhere(self, account: int, session: int) -> None:
        """The account (by number) has this session at another node: an earlier one here is over."""
        here = self._newest.get(account)
        if here is not None and here.number is not None and here.number < session:
            self._services.events.emit("session.replaced", peer=here.key.id, session=here.number)
            here.end("replaced", "the same user logged in at another node")

    async def _admit(self, session: Session, login: wire.Login) -> None:
        services = self._services
        if not services.cluster.may_admit():
            session.end("shutdown", "this node of the index cannot reach its database now: try another")
            return
        node = services.cluster.node
        try:
            account = await self._account(login.user, session.key.id)
            held = Position(login.epoch, login.revision, login.digest)
            opened = await services.store.open_session(account.number, held, services.now())
        except Denied as error:
            services.events.emit("login.denied", user=login.user, peer=session.key.id, code=error.code)
            session.end(error.code, str(error))
            return
        except NapError as error:
            services.events.fault("login", Failure())
            session.end("shutdown", f"the index cannot let anybody in now: {error}")
            return
        self._replace(account, session)
        online = await self._connect(account, opened, session)
        if online is None:
            self._left(account, session)
        else:
            services.cluster.arrived(online, node)
            self._welcome(session, login, account, opened, online)

    async def _account(self, user: str, key: PeerId) -> Account:
        """:raises Denied: `bad_name`, `name_taken`."""
        if user in RESERVED_USERS:
            raise NameRefused(f"the user name {user} is reserved", "Choose another with --user")
        return await self._services.store.account_for(user, key, self._services.now())

    def _replace(self, account: Account, session: Session) -> None:
        """The store takes nothing from the earlier session any more; it has to go even if this one is over already."""
        earlier = self._newest.get(account.number)
        self._newest[account.number] = session
        if earlier is not None and not earlier.is_over():
            self._services.events.emit("session.replaced", user=account.user, peer=account.key, session=earlier.number)
            earlier.end("replaced", f"{account.user} logged in from elsewhere")

    async def _connect(self, account: Account, opened: Opened, session: Session) -> Online | None:
        """The account, online with all that it holds; None if the session ended meanwhile."""
        session.number = opened.session
        services = self._services
        if session.is_over():
            return None
        try:
            online = await services.catalogues.connect(account, opened, services.now())
        except NapError as error:
            services.events.fault("login", Failure())
            session.end("shutdown", f"the catalogue cannot be read now: {error}")
            return None
        if services.presence.get(account.number) is not online:
            session.end("replaced", f"{account.user} logged in from elsewhere")
        if session.is_over():
            services.catalogues.disconnect(online)
            return None
        services.presence.connects_from(online, network_of(session.host))
        return online

    def _welcome(self, session: Session, login: wire.Login, account: Account, opened: Opened, online: Online) -> None:
        services = self._services
        asker = Asker(account.number, account.id, account.key, (), local=is_loopback(session.host))
        member = Member(services, session, online, asker, self._left)
        session.admitted(
            member,
            wire.Welcome(
                session=opened.session,
                account=account.id,
                user=account.user,
                groups=tuple(asker.groups),
                ticket=services.tickets.issue(account),
                time=services.now(),
                observed=join_address(session.host, session.port),
                limits=wire.Limits(
                    services.limits.listings,
                    services.limits.searches_per_s,
                    services.limits.page,
                    services.limits.wishes,
                ),
                epoch=opened.position.epoch,
                revision=opened.position.revision,
                digest=opened.position.digest,
            ),
        )
        services.events.emit(
            "login.accepted",
            user=account.user,
            peer=account.key,
            account=account.id,
            session=opened.session,
            listings=len(opened.share),
        )
        services.events.emit(
            "session.opened",
            user=account.user,
            peer=account.key,
            session=opened.session,
            address=join_address(session.host, session.port),
        )
        member.be_found_at(candidates(session.host, login.port, login.advertise))

    def _left(self, account: Account, session: Session) -> None:
        if session.number is not None:
            self._services.cluster.left(account.number, session.number)
        if self._newest.get(account.number) is session:
            del self._newest[account.number]
