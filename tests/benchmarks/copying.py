"""The same bytes from file to file without napd: over plain TCP, and over Twisted's TLS. Each end is a process.

``python -m tests.benchmarks.copying serve tcp FILE`` prints its port and serves the file to everyone who connects;
``… fetch tcp PORT FILE`` prints the seconds from the connection to the synced file.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

from twisted.internet import reactor as global_reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from napd.net.identity import new_identity
from napd.net.tls import client_factory, server_factory

reactor: Any = global_reactor

BLOCK = 64 * 1024
ALPN = b"copy/1"


def serve_tcp(file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        say(listening.getsockname()[1])
        while True:
            connection, _ = listening.accept()
            with connection, file.open("rb") as source:
                connection.sendfile(source)


def fetch_tcp(port: int, file: Path) -> None:
    began = time.monotonic()
    buffer = memoryview(bytearray(1 << 20))
    with socket.create_connection(("127.0.0.1", port)) as connection, file.open("wb", buffering=0) as target:
        while got := connection.recv_into(buffer):
            target.write(buffer[:got])
        os.fdatasync(target.fileno())
    say(time.monotonic() - began)


@implementer(IPushProducer)
class Sender(Protocol):
    """Sends a file as fast as the other end takes it."""

    def __init__(self, file: Path) -> None:
        self._source: BinaryIO = file.open("rb", buffering=0)
        self._paused = False

    def connectionMade(self) -> None:
        wire: Any = self.transport
        wire.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self._paused = False
        wire: Any = self.transport
        while not self._paused:
            block = self._source.read(BLOCK)
            if not block:
                wire.unregisterProducer()
                wire.loseConnection()
                return
            wire.write(block)

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        self._paused = True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._source.close()


class Receiver(Protocol):
    def __init__(self, file: Path) -> None:
        self._target: BinaryIO = file.open("wb", buffering=0)
        self._began = time.monotonic()

    def dataReceived(self, data: bytes) -> None:
        self._target.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        os.fdatasync(self._target.fileno())
        self._target.close()
        say(time.monotonic() - self._began)
        reactor.stop()


class Serving(Factory):
    noisy = False

    def __init__(self, build: Any) -> None:
        self._build = build

    def buildProtocol(self, addr: Any) -> Protocol:
        made: Protocol = self._build()
        return made


def serve_tls(file: Path) -> None:
    factory = server_factory(new_identity(), [ALPN], Serving(lambda: Sender(file)))
    listening = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
    listening.addCallback(lambda port: say(port.getHost().port))
    reactor.run()


def fetch_tls(port: int, file: Path) -> None:
    factory = client_factory(new_identity(), ALPN, Serving(lambda: Receiver(file)))
    TCP4ClientEndpoint(reactor, "127.0.0.1", port).connect(factory)
    reactor.run()


def say(what: float) -> None:
    print(what, flush=True)


def main(arguments: list[str]) -> None:
    do, how, *rest = arguments
    if do == "serve":
        (serve_tcp if how == "tcp" else serve_tls)(Path(rest[0]))
    else:
        (fetch_tcp if how == "tcp" else fetch_tls)(int(rest[0]), Path(rest[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
