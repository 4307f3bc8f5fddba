"""Binding a daemon's port: now or not at all."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.python.failure import Failure

from ..errors import CannotStart, ConfigurationError
from ..net.dial import join_address

#: A port that is kept is chosen below the range that systems take outgoing connections' ports from (32768 on Linux):
#: otherwise one of those may have it when the daemon comes back.
KEPT_PORTS = range(20_000, 32_000)
#: Attempts at a free one before the system is asked for any.
KEPT_ATTEMPTS = 50
#: `tcp:0` in all its spellings; what stands before and after the zero.
_ANY_PORT = re.compile(r"^(tcp6?:(?:[^:]+=[^:]*:)*(?:port=)?)0(?=:|$)")


@frozen
class Listening:
    """A bound port: `host` and `port` as bound; `bound` is Twisted's."""

    host: str
    port: int
    bound: Any

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return join_address(self.host, self.port)

    def use_congestion_control(self, name: str) -> None:
        """Connections have it from the port that accepts them. :raises CannotStart: the kernel will not."""
        try:
            self.bound.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode("ascii"))
        except OSError as error:
            raise CannotStart(
                f"congestion_control {name}: {error.strerror}",
                "Choose one of: sysctl net.ipv4.tcp_allowed_congestion_control",
            ) from error

    def stop(self) -> Deferred[Any]:
        """Accept no more connections; fires when the port is closed."""
        return maybeDeferred(self.bound.stopListening)


def listen(
    reactor: Any,
    description: str,
    factory: IProtocolFactory,
    *,
    remember: Path | None = None,
    rng: Random | None = None,
    congestion_control: str | None = None,
) -> Listening:
    """Bind what a Twisted endpoint description says (docs/reference/configuration.md lists the forms).

    :param remember: where a description without a fixed port (`tcp:0`) keeps the port it was given, to take the same
        one at the next start if that is free.
    :param rng: chooses the first port that is kept.
    :param congestion_control: of all connections that are accepted; None leaves the system's.
    :raises CannotStart: the port is taken, or not ours to take; or there is no such congestion control for us.
    """
    listening = None
    if remember is not None and _ANY_PORT.match(description):
        for port in _candidates(remember, rng or Random()):
            try:
                listening = _bind(reactor, _ANY_PORT.sub(rf"\g<1>{port}", description), factory)
                break
            except CannotStart:
                continue
    if listening is None:
        listening = _bind(reactor, description, factory)
    if remember is not None and _ANY_PORT.match(description):
        _keep(remember, listening.port)
    if congestion_control is not None:
        try:
            listening.use_congestion_control(congestion_control)
        except CannotStart:
            listening.stop()
            raise
    return listening


def _bind(reactor: Any, description: str, factory: IProtocolFactory) -> Listening:
    try:
        port = _result(maybeDeferred(serverFromString(reactor, description).listen, factory))
    except CannotListenError as error:
        raise CannotStart(
            f"cannot listen on {description}: {_reason(error)}", "Choose another with --listen"
        ) from error
    except (OSError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise CannotStart(f"cannot listen on {description}: {error}", "Choose another with --listen") from error
    address = port.getHost()
    if not isinstance(address, (IPv4Address, IPv6Address)):
        raise ConfigurationError(f"listen {description} is not a TCP port")
    return Listening(address.host, address.port, port)


def _result(listening: Deferred[IListeningPort]) -> IListeningPort:
    """What a Deferred that has fired already holds: ports are bound at once, without waiting for anything."""
    outcome: list[IListeningPort | Failure] = []
    listening.addBoth(outcome.append)
    if not outcome:
        raise CannotStart("the endpoint could not be bound at once")
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]


def _reason(error: CannotListenError) -> str:
    cause: Callable[[], object] | object = error.socketError
    return getattr(cause, "strerror", None) or str(cause)


def _candidates(file: Path, rng: Random) -> Iterator[int]:
    """The port that was kept, if any, then some others."""
    try:
        kept = int(file.read_text("ascii"))
    except (OSError, ValueError):
        kept = 0
    if 0 < kept < 65536:
        yield kept
    yield from rng.sample(KEPT_PORTS, KEPT_ATTEMPTS)


def _keep(file: Path, port: int) -> None:
    try:
        file.write_text(f"{port}\n", "ascii")
    except OSError as error:
        raise CannotStart(f"{file} cannot be written: {error.strerror}") from error
