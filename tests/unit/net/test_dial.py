"""Dialling ends in one of few ways."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.task import Clock

from napd.errors import Unreachable
from napd.net.dial import TLSDialler
from napd.net.identity import new_identity
from napd.wire import peer as peer_wire


class Connecting:
    """An endpoint that connects until it is cancelled; then it says so in its own way."""

    def __init__(self, *args: Any, **more: Any) -> None:
        pass

    def connect(self, factory: Any) -> Deferred[Any]:
        return Deferred(lambda connecting: connecting.errback(ConnectingCancelledError("192.0.2.1")))


def test_who_stops_waiting_for_a_connection_has_cancelled_it_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an index does when a peer is gone before it was dialled back."""
    monkeypatch.setattr("napd.net.dial.HostnameEndpoint", Connecting)
    dialler = TLSDialler(Clock(), new_identity())
    outcome: list[Any] = []
    dialling = Deferred.fromCoroutine(dialler.dial("192.0.2.1:6700", peer_wire.ALPN, lambda: None))  # type: ignore[arg-type,return-value]
    dialling.addBoth(outcome.append)
    dialling.cancel()
    (failure,) = outcome
    assert failure.check(CancelledError)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (Refused(errno.ECONNREFUSED, "Connection refused"), "connection refused"),
        (ConnectError(errno.EHOSTUNREACH), "no route to host"),
        (ConnectTimeout(), "no connection within 10 s"),
        (DNSLookupError("no results for hostname lookup: nowhere"), "no host of that name is known"),
        (ConnectError(string="something new"), "something new"),
    ],
)
def test_why_there_is_no_answer_is_told_in_a_few_words(
    error: Exception, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        def __init__(self, *args: Any, **more: Any) -> None:
            pass

        def connect(self, factory: Any) -> Deferred[Any]:
            return fail(error)

    monkeypatch.setattr("napd.net.dial.HostnameEndpoint", Failing)
    dialler = TLSDialler(Clock(), new_identity())
    outcome: list[Any] = []
    dialling = Deferred.fromCoroutine(dialler.dial("192.0.2.1:6700", peer_wire.ALPN, lambda: None))  # type: ignore[arg-type,return-value]
    dialling.addBoth(outcome.append)
    (failure,) = outcome
    assert failure.check(Unreachable)
    assert cause in failure.getErrorMessage()
    assert failure.getErrorMessage().startswith("192.0.2.1:6700 does not answer: ")
