"""Many peers of a real index, all in this process: they log in, stay, answer heartbeats, and some of them search.

::

    python -m tests.benchmarks.index.crowd CORPUS|- HOST:PORT INDEXID PEERS SECONDS

With a corpus, its peers with what the index has of them already; else PEERS with nothing. Says a JSON document when all
are in; after a line on standard input another about searches, made from 50 connections at once. Ends with its input.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from napd.errors import NapError
from napd.model import PeerId
from napd.net.dial import split_address
from napd.net.identity import Identity, PublicKey
from napd.net.link import LinkUser, SecureLink
from napd.net.records import Records, records_of
from napd.net.tls import client_context
from napd.net.tls_factory import TLSStreamFactory, read_buffer
from napd.wire import index as wire
from tests.support.index_script import identity

from ..progress import Progress
from .corpus import EPOCH, Corpus, Share
from .inside import mixture

#: Logins under way at a time, and connections that search.
AT_ONCE = 50
SEARCHERS = 50
_ZEROS = "0" * 64


class Way:
    """To one index, for many peers: all that each needs of TLS for itself is its key."""

    def __init__(self, reactor: Any, address: str, index: str) -> None:
        host, port = split_address(address)
        self._clock = reactor
        self._index = PeerId(index)
        self._endpoint = TCP4ClientEndpoint(reactor, host, port)
        self._context = client_context(identity("nobody"), wire.ALPN)
        self._kept = read_buffer()

    def connection(self, key: Identity) -> Records:
        """OpenSSL's end, with everything that it takes from a file."""
        connection = records_of(self._context)
        connection.use_certificate(key.certificate)
        connection.use_privatekey(key.private_key)
        connection.set_connect_state()
        return connection

    def link(self, user: LinkUser) -> SecureLink:
        return SecureLink(self._clock, user, wire.ALPN, self._index)

    async def dial(self, connection: Records, link: SecureLink) -> None:
        await self._endpoint.connect(
            TLSStreamFactory(lambda: connection, Factory.forProtocol(lambda: link), self._kept)
        )


class Peer:
    """One connection; implements `napd.net.link.LinkUser`. :ivar lost: why it ended."""

    def __init__(self, way: Way, share: Share) -> None:
        self._way = way
        # Its key takes time that is no part of its login.
        self._connection = way.connection(identity(share.user))
        self._share = share
        self._link = way.link(self)
        self._in: Deferred[None] = Deferred()
        self._answered: Deferred[None] | None = None
        self._numbers = 0
        self.lost: NapError | None = None

    async def login(self) -> None:
        await self._way.dial(self._connection, self._link)
        await self._in

    async def search(self, text: str, options: dict[str, Any]) -> float:
        """Milliseconds to the end of the answer."""
        self._numbers += 1
        self._answered = Deferred()
        began = perf_counter()
        self._link.say(wire.Search(self._numbers, text, **options))
        await self._answered
        return (perf_counter() - began) * 1000

    def link_secured(self, key: PublicKey) -> None:
        share = self._share
        epoch = EPOCH if share.listings else _ZEROS
        self._link.say(wire.Hello((wire.VERSION,), "bench/1"))
        self._link.say(wire.Login(share.user, epoch, share.revision, share.digest, share.listings, share.bytes, 0))

    def line_heard(self, line: bytes) -> None:
        if line.startswith(b'{"t":"ping"'):
            self._link.say(wire.Pong())
        elif line.startswith(b'{"t":"results"'):
            if b'"last":true' in line and self._answered is not None:
                self._answered.callback(None)
        elif line.startswith(b'{"t":"welcome"'):
            self._in.callback(None)
        elif line.startswith((b'{"t":"error"', b'{"t":"bye"')):
            raise RuntimeError(line.decode())

    def raw_heard(self, data: bytes | memoryview) -> None:
        """Never announced in this protocol."""

    def link_lost(self, reason: NapError) -> None:
        self.lost = reason
        for waiting in (self._in, self._answered):
            if waiting is not None and not waiting.called:
                waiting.errback(reason)


async def log_in(peers: Sequence[Peer]) -> float:
    """Seconds until all are in."""
    began = perf_counter()
    left = iter(peers)
    progress, done = Progress("logged in", len(peers)), 0

    async def one_after_another() -> None:
        nonlocal done
        for peer in left:
            await peer.login()
            done += 1
            progress.at(done)

    await gatherResults([Deferred.fromCoroutine(one_after_another()) for _ in range(AT_ONCE)])
    return perf_counter() - began


async def search(peers: Sequence[Peer], asked: Iterator[tuple[str, dict[str, Any]]], seconds: float) -> dict[str, Any]:
    """Each searches as soon as it has its answer. Times in milliseconds."""
    until = perf_counter() + seconds
    took: list[float] = []

    async def one_after_another(peer: Peer) -> None:
        while perf_counter() < until:
            text, options = next(asked)
            took.append(await peer.search(text, options))

    began = perf_counter()
    await gatherResults([Deferred.fromCoroutine(one_after_another(peer)) for peer in peers])
    return {"answers_per_s": len(took) / (perf_counter() - began), "took_ms": took}


async def run(reactor: Any, corpus: Corpus | None, address: str, index: str, idle: int, seconds: float) -> None:
    if corpus is None:
        shares = [Share(f"idle{number}", 0, 0, 0, 0, 0, _ZEROS) for number in range(idle)]
    else:
        shares = list(corpus.everybody())
    way = Way(reactor, address, index)
    peers = [Peer(way, share) for share in shares]
    took_s = await log_in(peers)
    said({"peers": len(peers), "took_s": took_s})
    lines = ThreadPool(1, 1)
    lines.start()
    try:
        while (await deferToThreadPool(reactor, lines, sys.stdin.readline)).strip():
            if corpus is not None:
                searchers = [peers[number % len(peers)] for number in range(min(SEARCHERS, len(peers)))]
                said(await search(searchers, cycle(mixture(corpus)), seconds))
    finally:
        lines.stop()
    lost = [peer.lost for peer in peers if peer.lost is not None]
    said({"lost": len(lost), "why": str(lost[0]) if lost else None})


def said(document: dict[str, Any]) -> None:
    print(json.dumps(document), flush=True)


def main(corpus: str, address: str, index: str, peers: str, seconds: str) -> None:
    read = None if corpus == "-" else Corpus.read(Path(corpus))
    task.react(lambda reactor: Deferred.fromCoroutine(run(reactor, read, address, index, int(peers), float(seconds))))


if __name__ == "__main__":
    main(*sys.argv[1:])
