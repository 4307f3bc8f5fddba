"""Somebody who means harm to an index, in a process of his own: `python -m tests.support.flood KIND ADDRESS`.

Says ``at it`` when it has begun, and goes on until it is ended.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import ssl
import sys
from collections.abc import Callable
from itertools import count
from typing import Any

from tests.support.index_script import content
from tests.support.plain_peer import PlainPeer, context_of

USER = "mallory"


def line(**message: Any) -> bytes:
    return json.dumps(message).encode() + b"\n"


def begun() -> None:
    print("at it", flush=True)


def pour(peer: PlainPeer, data: Callable[[], bytes], *, read: bool = True) -> None:
    """As fast as the index takes it; what it answers is read and thrown away, or not read at all."""
    peer.socket.setblocking(False)
    selector = selectors.DefaultSelector()
    selector.register(peer.socket, selectors.EVENT_READ * read | selectors.EVENT_WRITE)
    rest = b""
    begun()
    while True:
        for _, events in selector.select():
            try:
                if read and not peer.socket.recv(1 << 16):
                    return
            except ssl.SSLWantReadError:
                pass
            if events & selectors.EVENT_WRITE:
                rest = rest or data()
                try:
                    rest = rest[peer.socket.send(rest) :]
                except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                    pass


def repeated(*lines: bytes) -> Callable[[], bytes]:
    block = b"".join(lines) * max(1, (1 << 16) // sum(map(len, lines)))
    return lambda: block


def saying(address: str, *lines: bytes, read: bool = True) -> None:
    """For ever: who is cut off comes again."""
    while True:
        try:
            pour(PlainPeer.online(address, USER), repeated(*lines), read=read)
        except (OSError, EOFError):
            continue


def searches(address: str) -> None:
    saying(address, line(t="search", id=1, query="common", limit=1000))


def slow_reader(address: str) -> None:
    saying(address, line(t="search", id=1, query="common", limit=1000), line(t="users", id=2, words=""), read=False)


def users(address: str) -> None:
    saying(address, line(t="users", id=1, words=""))


def pings(address: str) -> None:
    saying(address, line(t="ping"))


def seeks(address: str) -> None:
    contents = [content(number) for number in range(500)]
    saying(address, line(t="seek", contents=contents), line(t="unseek", contents=contents))


def parts(address: str) -> None:
    contents = [content(number) for number in range(256)]
    saying(address, line(t="partial", add=contents), line(t="partial", drop=contents), line(t="slots", free=0))


def wishes(address: str) -> None:
    saying(address, *(line(t="wish", wish=number, query=f"wished {number}") for number in range(100)))


def announces(address: str) -> None:
    """A full list of 200 files, over and over, eight steps under way."""
    lists = [[f"common {turn} {number}" for number in range(200)] for turn in (0, 1)]
    while True:
        try:
            peer = PlainPeer.online(address, USER)
            begun()
            for revision in count(1):
                peer.offer(lists[revision % 2], revision)
                if revision >= 8:
                    peer.hear("ack")
        except (OSError, EOFError):
            continue


def logins(address: str) -> None:
    begun()
    while True:
        try:
            PlainPeer.online(address, USER).close()
        except (OSError, EOFError):
            continue


def handshakes(address: str) -> None:
    """TLS and nothing else, many at a time."""
    host, _, port = address.rpartition(":")
    context = context_of(USER)
    begun()
    waiting: list[ssl.SSLSocket] = []
    while True:
        try:
            tcp = socket.create_connection((host, int(port)), 5)
            tcp.setblocking(False)
            waiting.append(context.wrap_socket(tcp, do_handshake_on_connect=False))
            for one in list(waiting):
                try:
                    one.do_handshake()
                except ssl.SSLWantReadError:
                    continue
                except OSError:
                    pass
                waiting.remove(one)
                one.close()
            if len(waiting) > 100:
                waiting.pop(0).close()
        except OSError:
            continue


def half_open(address: str) -> None:
    """Connections on which nothing is said."""
    host, _, port = address.rpartition(":")
    held: list[socket.socket] = []
    begun()
    while True:
        try:
            held.append(socket.create_connection((host, int(port)), 5))
            held[-1].send(b"\x16\x03\x01\x02\x00")
        except OSError:
            pass
        if len(held) > 500:
            held.pop(0).close()


KINDS: dict[str, Callable[[str], None]] = {
    work.__name__: work
    for work in (searches, slow_reader, users, pings, seeks, parts, wishes, announces, logins, handshakes, half_open)
}

if __name__ == "__main__":
    try:
        KINDS[sys.argv[1]](sys.argv[2])
    except KeyboardInterrupt:
        os._exit(0)
