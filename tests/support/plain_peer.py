"""A peer of an index written from the protocol's page alone, on blocking sockets: what any other client would be."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from cryptography.hazmat.primitives import serialization

from tests.support.index_script import content, identity

#: Seconds for an answer.
PATIENCE_S = 20.0
_ZEROS = "0" * 64


def context_of(user: str) -> ssl.SSLContext:
    """TLS with this user's key: the same for the same name."""
    own = identity(user)
    pem = own.private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["nap-index/1"])
    with TemporaryDirectory() as folder:
        file = Path(folder) / "key.pem"
        file.write_bytes(pem + own.certificate.public_bytes(serialization.Encoding.PEM))
        context.load_cert_chain(file)
    return context


class PlainPeer:
    """One connection, secured."""

    def __init__(self, address: str, context: ssl.SSLContext) -> None:
        host, _, port = address.rpartition(":")
        tcp = socket.create_connection((host, int(port)), PATIENCE_S)
        self.socket = context.wrap_socket(tcp)
        self._lines = self.socket.makefile("rb")

    @classmethod
    def online(cls, address: str, user: str) -> Self:
        peer = cls(address, context_of(user))
        peer.say(
            {"t": "hello", "versions": [1], "agent": "plain/1"},
            {"t": "login", "user": user, "epoch": _ZEROS, "revision": 0, "digest": _ZEROS, "listings": 0, "bytes": 0,
             "port": 0},
        )  # fmt: skip
        peer.hear("welcome")
        return peer

    def say(self, *messages: dict[str, Any]) -> None:
        self.socket.sendall(b"".join(json.dumps(message).encode() + b"\n" for message in messages))

    def hear(self, *kinds: str) -> dict[str, Any]:
        """The next of these kinds; others are passed over, pings answered. :raises EOFError: the index hung up."""
        for line in self._lines:
            message: dict[str, Any] = json.loads(line)
            if message["t"] == "ping":
                self.say({"t": "pong"})
            if message["t"] in kinds:
                return message
        raise EOFError

    def search(self, query: str, **options: Any) -> list[dict[str, Any]]:
        self.say({"t": "search", "id": 1, "query": query, **options})
        rows: list[dict[str, Any]] = []
        while True:
            part = self.hear("results")
            rows += part["results"]
            if part["last"]:
                return rows

    def offer(self, names: Sequence[str], revision: int = 1) -> None:
        """These and nothing else, each with a content of its own. Not acknowledged yet."""
        entries = [
            {"content": content(name), "size": 1000, "folder": "f", "name": name, "audience": ["everyone"], "media": {}}
            for name in names
        ]
        self.say(
            {"t": "announce", "epoch": "e" * 64, "base": 0, "revision": revision, "add": entries, "withdraw": [],
             "reset": True}
        )  # fmt: skip

    def close(self) -> None:
        self._lines.close()
        self.socket.close()


@contextmanager
def online(address: str, user: str) -> Iterator[PlainPeer]:
    peer = PlainPeer.online(address, user)
    try:
        yield peer
    finally:
        peer.close()
