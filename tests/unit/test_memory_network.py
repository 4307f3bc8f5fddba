"""The in-memory network that other tests stand on behaves like links over TLS do."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock

from napd.errors import NapError, RemoteProtocolError, Unreachable
from napd.net.identity import PublicKey, new_identity
from napd.net.link import SecureLink
from napd.wire.peer import Ping
from tests.support.memory import MemoryNetwork, MemoryTransport, settle

ALPN = b"nap-peer/1"


class User:
    """Writes down what its link tells it."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.raw = b""
        self.link: SecureLink

    def link_secured(self, key: PublicKey) -> None:
        self.told.append(("secured", key.id))

    def line_heard(self, line: bytes) -> None:
        self.told.append(line)
        if line.startswith(b"raw "):
            self.link.expect_raw(int(line[4:]))
        if line == b"nonsense":
            raise RemoteProtocolError("nonsense")

    def raw_heard(self, data: bytes) -> None:
        self.raw += data

    def link_lost(self, reason: NapError) -> None:
        self.told.append(("lost", type(reason).__name__))


class Ends:
    def __init__(self, alpn: bytes = ALPN, expected: str | None = None) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.ids = new_identity(), new_identity()
        self.left, self.right = User(), User()
        self.network.listen("198.51.100.2:6700", self.ids[1], {ALPN: lambda: self.make(self.right)})
        self.dialler = self.network.dialler("198.51.100.1", self.ids[0])
        self.expected: Any = expected

    def make(self, user: User) -> SecureLink:
        expected = self.expected if user is self.left else None
        user.link = SecureLink(self.clock, user, ALPN, expected)
        return user.link

    async def dial(self, address: str = "198.51.100.2:6700") -> tuple[MemoryTransport, MemoryTransport]:
        await self.dialler.dial(address, ALPN, lambda: self.make(self.left))
        settle(self.clock)
        left, right = self.network.transports
        return left, right


async def test_both_ends_are_secured_with_the_others_key_and_hear_lines_and_raw_bytes() -> None:
    ends = Ends()
    left, _ = await ends.dial()
    ends.left.link.say(Ping())
    left.write(b"raw 100000\n" + b"x" * 100_000 + b"after\n")
    settle(ends.clock)
    assert ends.left.told == [("secured", ends.ids[1].id)]
    assert ends.right.told[0] == ("secured", ends.ids[0].id)
    assert ends.right.told[1:] == [b'{"t":"ping","n":0}', b"raw 100000", b"after"]
    assert ends.right.raw == b"x" * 100_000


async def test_hanging_up_delivers_what_was_said_and_aborting_does_not() -> None:
    ends = Ends()
    left, right = await ends.dial()
    left.write(b"last\n")
    ends.left.link.hang_up()
    settle(ends.clock)
    assert ends.right.told[1:] == [b"last", ("lost", "Unreachable")]
    again = Ends()
    left, right = await again.dial()
    right.write(b"never\n")
    again.right.link.abort(Unreachable("gone"))
    settle(again.clock)
    assert again.left.told[1:] == [("lost", "Unreachable")]


async def test_another_key_than_the_expected_one_ends_the_link() -> None:
    ends = Ends(expected="a" * 52)
    await ends.dial()
    assert ends.left.told == [("lost", "WrongIdentity")]
    assert ends.right.told[-1] == ("lost", "Unreachable")


async def test_a_breach_of_the_protocol_aborts() -> None:
    ends = Ends()
    left, _ = await ends.dial()
    left.write(b"nonsense\nmore\n")
    settle(ends.clock)
    assert ends.right.told[1:] == [b"nonsense", ("lost", "RemoteProtocolError")]


async def test_a_pulled_cable_tells_nobody() -> None:
    ends = Ends()
    left, right = await ends.dial()
    left.go_silent()
    right.go_silent()
    left.write(b"lost\n")
    settle(ends.clock)
    assert len(ends.left.told) == len(ends.right.told) == 1


async def test_a_producer_is_paused_while_the_other_end_does_not_read() -> None:
    ends = Ends()
    left, right = await ends.dial()
    right.pauseProducing()

    class Producer:
        paused = False

        def pauseProducing(self) -> None:
            self.paused = True

        def resumeProducing(self) -> None:
            self.paused = False

        def stopProducing(self) -> None: ...

    producer = Producer()
    left.registerProducer(producer, True)
    left.write(b"x" * 100_000)
    assert producer.paused
    settle(ends.clock)
    assert producer.paused
    right.resumeProducing()
    settle(ends.clock)
    assert not producer.paused


async def test_nobody_there_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        await Ends().dial("198.51.100.9:1")
