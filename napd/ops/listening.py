"""Binding a daemon's port: now or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
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

#: `tcp:0` in all its spellings; what stands before and after the zero.
_ANY_PORT = re.compile(r"^(tcp6?:(?:[^:]+=[^:]*:)*(?:port=)?)0(?=:|$)")


@frozen
class Listening:
    """A bound port: `host` and `port` as bound."""

    host: str
    port: int
    _bound: IListeningPort

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return join_address(self.host, self.port)

    def stop(self) -> Deferred[Any]:
        """Accept no more connections; fires when the port is closed."""
        return maybeDeferred(self._bound.stopListening)


def listen(reactor: Any, description: str, factory: IProtocolFactory, *, remember: Path | None = None) -> Listening:
    """Bind what a Twisted endpoint description says (docs/reference/configuration.md lists the forms).

    :param remember: where a description without a fixed port (`tcp:0`) keeps the port it was given, to take the same
        one at the next start if that is free.
    :raises CannotStart: the port is taken, or not ours to take.
    """
    fixed = _ANY_PORT.sub(lambda found: f"{found[1]}{_remembered(remember)}", description)
    try:
        listening = _bind(reactor, fixed, factory)
    except CannotStart:
        if fixed == description:
            raise
        listening = _bind(reactor, description, factory)
    if remember is not None and _ANY_PORT.match(description):
        _keep(remember, listening.port)
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


def _remembered(file: Path | None) -> str:
    try:
        port = int(file.read_text("ascii")) if file is not None else 0
    except (OSError, ValueError):
        return "0"
    return str(port) if 0 < port < 65536 else "0"


def _keep(file: Path, port: int) -> None:
    try:
        file.write_text(f"{port}\n", "ascii")
    except OSError as error:
        raise CannotStart(f"{file} cannot be written: {error.strerror}") from error
