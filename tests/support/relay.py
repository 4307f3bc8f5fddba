"""A TCP relay on loopback that hands on what it gets as it is told: in small pieces, or only so many bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from attrs import define
from twisted.internet import reactor as global_reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

reactor: Any = global_reactor


@define(eq=False)
class Way:
    """How bytes are handed on. `piece`: at most this many per turn. `cut_after`: in both directions together."""

    piece: int = 1 << 20
    cut_after: int | None = None
    passed: int = 0


class _Side(Protocol):
    transport: Any
    other: _Side | None = None

    def __init__(self, way: Way) -> None:
        self._way = way
        self._waiting = bytearray()
        self._turn: Any = None

    def dataReceived(self, data: bytes) -> None:
        self._waiting += data
        self._hand_on()

    def _hand_on(self) -> None:
        if self._turn is None and self.other is not None and self._waiting:
            self._turn = reactor.callLater(0, self._piece)

    def _piece(self) -> None:
        self._turn = None
        if self.other is None:
            return
        piece = self._waiting[: self._way.piece]
        del self._waiting[: self._way.piece]
        left = None if self._way.cut_after is None else self._way.cut_after - self._way.passed
        if left is not None and len(piece) >= left:
            self.other.transport.write(bytes(piece[:left]))
            for side in (self.other, self):
                side.transport.loseConnection()
            return
        self._way.passed += len(piece)
        self.other.transport.write(bytes(piece))
        self._hand_on()

    def joined(self, other: _Side) -> None:
        self.other, other.other = other, self
        self._hand_on()

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        if self.other is not None:
            other, self.other = self.other, None
            if self._waiting and self._way.cut_after is None:
                other.transport.write(bytes(self._waiting))
            other.transport.loseConnection()


class _Relay(Factory):
    noisy = False

    def __init__(self, port: int, way: Way) -> None:
        self._port = port
        self._way = way
        self.sides: list[_Side] = []

    def buildProtocol(self, addr: Any) -> _Side:
        near, far = _Side(self._way), _Side(self._way)
        self.sides += [near, far]
        joining = connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", self._port), far)
        joining.addCallbacks(near.joined, lambda _: near.transport.abortConnection())
        return near


@asynccontextmanager
async def relay(port: int, way: Way) -> AsyncIterator[int]:
    """A port that leads to `port`."""
    factory = _Relay(port, way)
    bound = reactor.listenTCP(0, factory, interface="127.0.0.1")
    try:
        yield bound.getHost().port
    finally:
        for side in factory.sides:
            if side.transport is not None:
                side.transport.abortConnection()
        await bound.stopListening()
