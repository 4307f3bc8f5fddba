"""An index that says what a test tells it to, to real clients on the memory network."""

from __future__ import annotations

from typing import Any, TypeVar

from attrs import define, field
from msgspec import Struct
from twisted.internet.task import Clock

from napd.errors import NapError
from napd.net.identity import Identity, PublicKey, new_identity
from napd.net.link import SecureLink
from napd.wire import index as wire
from tests.support.memory import MemoryNetwork, settle

M = TypeVar("M", bound=Struct)

NOTHING = "0" * 64


def welcome(user: str = "ada", **changes: Any) -> wire.Welcome:
    """What an index that knows nothing of this account says."""
    fields: dict[str, Any] = {
        "session": 1,
        "account": "a1",
        "user": user,
        "groups": ("staff",),
        "ticket": "ticket-1",
        "time": 1_700_000_000.0,
        "observed": "198.51.100.1:50000",
        "limits": wire.Limits(1000, 10.0, 100),
        "epoch": NOTHING,
        "revision": 0,
        "digest": NOTHING,
    }
    return wire.Welcome(**{**fields, **changes})


@define(eq=False)
class Visit:
    """One connection of a client, seen from the index; a `LinkUser` that only listens."""

    index: ScriptedIndex
    at: float
    link: SecureLink = field(init=False)
    key: PublicKey | None = None
    heard: list[Any] = field(factory=list)
    lost: NapError | None = None

    def link_secured(self, key: PublicKey) -> None:
        self.key = key

    def line_heard(self, line: bytes) -> None:
        self.heard.append(wire.decode_from_peer(line))

    def raw_heard(self, data: bytes) -> None:
        raise AssertionError("a peer sends no bulk")

    def link_lost(self, reason: NapError) -> None:
        self.lost = reason

    # --- For tests -------------------------------------------------------------------------------

    def say(self, *messages: Struct) -> None:
        for message in messages:
            self.link.say(message)
        settle(self.index.clock)

    def say_bytes(self, data: bytes) -> None:
        self.link.transport.write(data)
        settle(self.index.clock)

    def log_in(self, **changes: Any) -> wire.Login:
        """Answer the hello and the login; what the client said of itself."""
        settle(self.index.clock)
        self.say(wire.Hello((1,), "script"))
        login = self.last(wire.Login)
        self.say(welcome(login.user, **changes))
        return login

    def all(self, kind: type[M]) -> list[M]:
        return [message for message in self.heard if isinstance(message, kind)]

    def last(self, kind: type[M]) -> M:
        return self.all(kind)[-1]

    def hang_up(self, code: str) -> None:
        self.link.hang_up(wire.Bye(code, f"because of {code}"))
        settle(self.index.clock)

    def fall_silent(self) -> None:
        """Nothing that the index says arrives any more, and nobody is told."""
        self.link.transport.go_silent()


class ScriptedIndex:
    """Answers at an address; `visits` are the connections it had, in order."""

    def __init__(self, network: MemoryNetwork, address: str, identity: Identity | None = None) -> None:
        self.clock: Clock = network.clock
        self.network = network
        self.address = address
        self.identity = identity or new_identity()
        self.visits: list[Visit] = []
        self.open()

    def open(self) -> None:
        self.network.listen(self.address, self.identity, {wire.ALPN: self._visited})

    def close(self) -> None:
        self.network.close(self.address)

    @property
    def visit(self) -> Visit:
        """The latest."""
        settle(self.clock)
        return self.visits[-1]

    def _visited(self) -> SecureLink:
        visit = Visit(self, self.clock.seconds())
        visit.link = SecureLink(self.clock, visit, wire.ALPN)
        self.visits.append(visit)
        return visit.link
