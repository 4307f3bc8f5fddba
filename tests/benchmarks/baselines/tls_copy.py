"""A bare Twisted TLS copy with napd's TLS. ``tls_copy give SOURCE`` says its port; ``tls_copy take PORT TARGET``.

Nothing of napd but `napd.net.tls`: no lines, no chunks, no hashes, no journal; the file is written on the reactor.
"""

from __future__ import annotations

import sys
from typing import Any, BinaryIO

from twisted.internet import reactor as global_reactor
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from napd.net.identity import new_identity
from napd.net.tls import client_factory, server_factory

from .copying import BLOCK_BYTES, create, keep, write_all
from .turns import say, wait_for_end, wait_for_go

ALPN = b"nap-bench/1"
#: As the daemon hands bytes to the transport.
SEND_BYTES = 64 << 10

reactor: Any = global_reactor


@implementer(IPushProducer)
class Giving(Protocol):
    """Sends the file to whoever connects."""

    transport: Any

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._paused = False

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self._paused = False
        while not self._paused:
            data = self._file.read(SEND_BYTES)
            if not data:
                self.transport.unregisterProducer()
                self.transport.loseConnection()
                return
            self.transport.write(data)

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        self._paused = True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        reactor.stop()


class Taking(Protocol):
    """Writes what comes to a file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._block = memoryview(bytearray(BLOCK_BYTES))
        self._held = 0

    def dataReceived(self, data: bytes) -> None:
        mine = data[: BLOCK_BYTES - self._held]
        self._block[self._held : self._held + len(mine)] = mine
        self._held += len(mine)
        if self._held == BLOCK_BYTES:
            self._write()
            self._block[: len(data) - len(mine)] = data[len(mine) :]
            self._held = len(data) - len(mine)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._write()
        keep(self._descriptor, synced=True)
        say("done")
        reactor.stop()

    def _write(self) -> None:
        write_all(self._descriptor, self._block[: self._held])
        self._held = 0


def give(source: str) -> None:
    with open(source, "rb") as file:
        factory = Factory.forProtocol(lambda: Giving(file))
        port = reactor.listenTCP(0, server_factory(new_identity(), [ALPN], factory), interface="127.0.0.1")
        say(port.getHost().port)
        reactor.run()
    wait_for_end()


def take(port: str, target: str) -> None:
    identity = new_identity()
    say("ready")
    wait_for_go()
    descriptor = create(target)
    factory = ClientFactory.forProtocol(lambda: Taking(descriptor))
    reactor.connectTCP("127.0.0.1", int(port), client_factory(identity, ALPN, factory))
    reactor.run()
    wait_for_end()


if __name__ == "__main__":
    if sys.argv[1] == "give":
        give(*sys.argv[2:])
    else:
        take(*sys.argv[2:])
