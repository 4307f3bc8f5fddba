"""Ports: bound now or refused now; a free one is kept."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater

from napd.errors import CannotStart
from napd.ops.listening import listen

ANY = "tcp:0:interface=127.0.0.1"


async def test_the_address_is_the_one_that_was_bound() -> None:
    listening = listen(reactor, ANY, Factory())
    assert listening.address == f"127.0.0.1:{listening.port}"
    with socket.create_connection(("127.0.0.1", listening.port)):
        pass
    await listening.stop()


@pytest.mark.parametrize("description", [ANY, "tcp:port=0:interface=127.0.0.1", "tcp:interface=127.0.0.1:port=0"])
async def test_a_free_port_is_kept_over_restarts(tmp_path: Path, description: str) -> None:
    first = listen(reactor, description, Factory(), remember=tmp_path / "port")
    await first.stop()
    second = listen(reactor, description, Factory(), remember=tmp_path / "port")
    await second.stop()
    assert first.port == second.port


async def test_one_that_is_taken_by_then_is_replaced_by_another(tmp_path: Path) -> None:
    first = listen(reactor, ANY, Factory(), remember=tmp_path / "port")
    second = listen(reactor, ANY, Factory(), remember=tmp_path / "port")
    assert first.port != second.port
    assert int((tmp_path / "port").read_text()) == second.port
    await first.stop()
    await second.stop()


@pytest.mark.parametrize("kept", ["", "nonsense", "0", "70000", "-1", "²"])
async def test_nonsense_in_the_kept_port_is_no_harm(tmp_path: Path, kept: str) -> None:
    (tmp_path / "port").write_text(kept)
    listening = listen(reactor, ANY, Factory(), remember=tmp_path / "port")
    await listening.stop()


async def test_a_fixed_port_that_is_taken_is_refused_at_once(tmp_path: Path) -> None:
    first = listen(reactor, ANY, Factory())
    with pytest.raises(CannotStart, match=f"cannot listen on tcp:{first.port}.*Address already in use"):
        listen(reactor, f"tcp:{first.port}:interface=127.0.0.1", Factory(), remember=tmp_path / "port")
    await first.stop()


@pytest.mark.parametrize("description", ["tcp:0:interface=nonsense", "systemd:domain=INET:index=0", "nonsense"])
async def test_what_cannot_be_bound_is_refused_at_once(description: str) -> None:
    with pytest.raises(CannotStart):
        listen(reactor, description, Factory())


async def test_ipv6_addresses_are_in_brackets() -> None:
    try:
        listening: Any = listen(reactor, "tcp6:0:interface=\\:\\:1", Factory())
    except CannotStart:
        pytest.skip("no IPv6 on this machine")
    assert listening.address == f"[::1]:{listening.port}"
    await listening.stop()


async def test_connections_have_the_congestion_control_of_their_port() -> None:
    listening = listen(reactor, ANY, Factory(), congestion_control="reno")
    with socket.create_server(("127.0.0.1", 0)) as plain:
        system = plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    port = listening.bound
    assert port.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0") == b"reno"
    await listening.stop()
    other = listen(reactor, ANY, Factory())
    assert other.bound.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16) == system
    await other.stop()


async def test_a_congestion_control_that_is_not_there_is_told_and_nothing_stays_bound() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(CannotStart, match="congestion_control nonesuch: "):
        listen(reactor, f"tcp:{port}:interface=127.0.0.1", Factory(), congestion_control="nonesuch")
    # A port is closed in the next turn of the reactor.
    await deferLater(reactor, 0, lambda: None)
    again = listen(reactor, f"tcp:{port}:interface=127.0.0.1", Factory())
    await again.stop()
