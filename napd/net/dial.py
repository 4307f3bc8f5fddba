"""Reaching a daemon: HOST:PORT to a secured link, or a reason."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

from attrs import field, frozen
from twisted.internet.defer import CancelledError
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.protocol import Factory

from ..errors import Misuse, Unreachable
from .identity import Identity
from .link import SecureLink
from .records import Records
from .tls_factory import TLSStreamFactory, client_connections, read_buffer

#: Seconds for the TCP connection; the handshake has its own limit.
CONNECT_S = 10.0
DEFAULT_INDEX_PORT = 6699


class Dialler(Protocol):
    """The way out, as peers and indexes see it; tests put an in-memory network here."""

    async def dial(self, address: str, alpn: bytes, build: Callable[[], SecureLink]) -> None:
        """Connect to HOST:PORT. Returns at TCP connect: the link's user hears when it is secured, or lost.

        :raises Unreachable: no connection within `CONNECT_S`.
        """


@frozen
class TLSDialler:
    """Dials over TCP and TLS with this daemon's identity."""

    reactor: Any
    identity: Identity
    _kept: memoryview = field(init=False, factory=read_buffer)
    #: By protocol: reading a key and a certificate costs as much as half a handshake.
    _connections: dict[bytes, Callable[[], Records]] = field(init=False, factory=dict)

    async def dial(self, address: str, alpn: bytes, build: Callable[[], SecureLink]) -> None:
        host, port = split_address(address)
        try:
            endpoint = HostnameEndpoint(self.reactor, host, port, timeout=CONNECT_S)
        except ValueError as error:
            raise Unreachable(f"{address} is no address: {error}") from error
        connect = self._connections.get(alpn)
        if connect is None:
            connect = self._connections[alpn] = client_connections(self.identity, alpn)
        try:
            await endpoint.connect(TLSStreamFactory(connect, Factory.forProtocol(build), self._kept))
        except ConnectingCancelledError as error:
            # Nobody waits for it any more, which is no fault of anybody's.
            raise CancelledError from error
        except (ConnectError, DNSLookupError, OSError, ValueError) as error:
            raise Unreachable(f"{address} does not answer: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    """Why, in a few words: the framework's messages say it twice."""
    if isinstance(error, ConnectTimeout):
        return f"no connection within {CONNECT_S:.0f} s"
    if isinstance(error, DNSLookupError):
        return "no host of that name is known"
    number = error.osError if isinstance(error, ConnectError) else getattr(error, "errno", None)
    return str(error) if number is None else os.strerror(number).lower()


def split_address(address: str, default_port: int | None = None) -> tuple[str, int]:
    """``HOST:PORT``, ``[IPV6]:PORT``, or without a port if there is a default.

    :raises Misuse: anything else.
    """
    host, port_text = address, ""
    if address.startswith("["):
        host, bracket, rest = address[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise Misuse(f"address {address!r} is not HOST:PORT")
        port_text = rest[1:]
    elif address.count(":") == 1:
        host, _, port_text = address.partition(":")
    elif ":" in address and default_port is None:
        raise Misuse(f"address {address!r} is not HOST:PORT; put an IPv6 address in brackets")
    if not port_text and default_port is not None:
        return host, default_port
    if not host or not port_text.isascii() or not port_text.isdigit() or not 0 < int(port_text) < 65536:
        raise Misuse(f"address {address!r} is not HOST:PORT")
    return host, int(port_text)


def join_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
