"""Links over real TLS on loopback: who does not prove everything is refused, and hears nothing before.

Everything here is tried over our own TLS, over Twisted's, and between one and the other.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import define
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread

from napd.errors import Unreachable
from napd.net.identity import Identity
from napd.net.link import HANDSHAKE_S, SecureLink
from napd.wire import peer as wire
from napd.wire.line import MAX_LINE_BYTES
from tests.support.streams import ALPN, CLIENT, SERVER, STRANGER, User, carriers, dial, serving
from tests.support.waiting import Eventually

reactor: Any = global_reactor


# --- Others, who do things differently -----------------------------------------------------------


@define
class Files:
    """Keys and certificates where the standard library wants them."""

    directory: Path

    def of(self, identity: Identity) -> str:
        return self._write(identity.id, identity.private_key, identity.certificate)

    def of_rsa(self) -> str:
        key = rsa.generate_private_key(65537, 2048)
        like = CLIENT.certificate
        certificate = (
            x509.CertificateBuilder()
            .subject_name(like.subject)
            .issuer_name(like.issuer)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(like.not_valid_before_utc)
            .not_valid_after(like.not_valid_after_utc)
            .sign(key, hashes.SHA256())
        )
        return self._write("rsa", key, certificate)

    def _write(self, name: str, key: Any, certificate: x509.Certificate) -> str:
        path = self.directory / f"{name}.pem"
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
        return str(path)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def client_context(
    certificate: str | None, alpn: list[str] | None, newest: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return _with(context, certificate, alpn, newest)


def server_context(
    certificate: str | None, alpn: list[str] | None, newest: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    return _with(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate, alpn, newest)


def _with(
    context: ssl.SSLContext, certificate: str | None, alpn: list[str] | None, newest: ssl.TLSVersion | None
) -> ssl.SSLContext:
    if certificate is not None:
        context.load_cert_chain(certificate)
    if alpn is not None:
        context.set_alpn_protocols(alpn)
    if newest is not None:
        context.maximum_version = newest
    return context


def visit(port: int, context: ssl.SSLContext) -> bytes:
    """Everything that the server says, in a thread of its own; the other end has to hang up."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        try:
            with context.wrap_socket(plain) as secured:
                return read_all(secured)
        except (ssl.SSLError, ConnectionError):
            return b""


def read_all(secured: ssl.SSLSocket) -> bytes:
    heard = b""
    try:
        while piece := secured.recv(1000):
            heard += piece
    except (ssl.SSLError, ConnectionError):
        # An alert, or a reset: hung up on in another way.
        return heard
    return heard


@asynccontextmanager
async def stranger(context: ssl.SSLContext | None) -> AsyncIterator[tuple[int, Deferred[bytes]]]:
    """Somebody else's server; (port, all that its first visitor says). Without a context it answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)

        def serve() -> bytes:
            plain, _ = listening.accept()
            with plain:
                plain.settimeout(10)
                try:
                    if context is None:
                        while plain.recv(1000):
                            pass
                        return b""
                    with context.wrap_socket(plain, server_side=True) as secured:
                        return read_all(secured)
                except (ssl.SSLError, ConnectionError):
                    return b""

        heard = deferToThread(serve)
        yield listening.getsockname()[1], heard
        await heard


# --- Both ends ours ------------------------------------------------------------------------------


async def test_both_ends_learn_each_other_s_key_and_then_speak(eventually: Eventually) -> None:
    async with serving() as server:
        client = await dial(server.port, expected=SERVER.id)
        await eventually(lambda: client.lines and server.user.lines)
        assert [key.id for key in client.keys] == [SERVER.id]
        assert [key.id for key in server.user.keys] == [CLIENT.id]
        assert client.lines == server.user.lines == [b'{"t":"ping","n":7}']
        client.link.hang_up(wire.Bye("shutdown", "so long"))
        await eventually(lambda: client.lost and server.user.lost)
        assert server.user.lines[-1] == b'{"t":"bye","code":"shutdown","message":"so long"}'
        assert client.lost[0].code == "closed"


async def test_raw_bytes_arrive_whole_among_lines(eventually: Eventually) -> None:
    data = bytes(range(256)) * 12_000
    async with serving() as server:
        client = await dial(server.port)
        await eventually(lambda: server.user.keys)
        client.link.send_raw(b"raw %d\n" % len(data))
        for at in range(0, len(data), 100_000):
            client.link.send_raw(data[at : at + 100_000])
            await client.link.drained()
        client.link.send_raw(b"after\n")
        await eventually(lambda: server.user.lines[-1:] == [b"after"])
        assert bytes(server.user.raw) == data
        client.link.hang_up()
        await eventually(lambda: client.lost)


async def test_who_does_not_read_is_not_written_to_without_end(eventually: Eventually) -> None:
    async with serving(greets=False) as server:
        client = await dial(server.port)
        await eventually(lambda: client.keys and server.user.keys)
        client.link.pause_reading()
        sent = 0
        while sent < 200 and (drained := server.user.link.drained()).called:
            server.user.link.send_raw(bytes(1 << 20))
            sent += 1
        assert sent < 200
        assert not drained.called
        client.link.resume_reading()
        client.link.expect_raw(sent << 20)
        await eventually(lambda: drained.called)
        server.user.link.abort(Unreachable("enough"))
        assert await server.user.link.drained() is None
        await eventually(lambda: client.lost)


async def test_what_the_other_end_has_not_taken_shows_where_it_can(eventually: Eventually) -> None:
    async with serving(greets=False) as server:
        client = await dial(server.port)
        await eventually(lambda: client.keys and server.user.keys)
        client.link.pause_reading()
        sender = server.user.link
        known = hasattr(sender.transport, "unsent_bytes")
        sent = 0

        def stuffed() -> bool:
            nonlocal sent
            if sender.drained().called:
                sender.send_raw(bytes(1 << 20))
                sent += 1
            return (sender.unsent_bytes > 0 or not known) and not sender.drained().called

        await eventually(stuffed)
        client.link.expect_raw(sent << 20)
        client.link.resume_reading()
        await eventually(lambda: len(client.raw) == sent << 20 and sender.unsent_bytes == 0)
        client.link.hang_up()
        await eventually(lambda: client.lost and server.user.lost)


async def test_who_breaks_the_protocol_is_cut_off(eventually: Eventually) -> None:
    async with serving() as server:
        client = await dial(server.port)
        await eventually(lambda: client.lines)
        client.link.send_raw(b"wrong\nmore\n")
        await eventually(lambda: client.lost)
        assert server.user.lost[0].code == "malformed"
        assert server.user.lines[-1] == b"wrong"


async def test_a_line_that_is_too_long_is_cut_off(eventually: Eventually) -> None:
    async with serving() as server:
        client = await dial(server.port)
        await eventually(lambda: client.lines)
        client.link.send_raw(b"x" * MAX_LINE_BYTES + b"\n")
        await eventually(lambda: len(server.user.lines) == 2)
        client.link.send_raw(b"x" * (MAX_LINE_BYTES + 1))
        await eventually(lambda: client.lost)
        assert server.user.lost[0].code == "malformed"


# --- A client that is not what it has to be ------------------------------------------------------

TLS_1_2 = ssl.TLSVersion.TLSv1_2
CLIENTS: dict[str, Callable[[Files], ssl.SSLContext]] = {
    "without a certificate": lambda files: client_context(None, ["nap-peer/1"]),
    "with another kind of key": lambda files: client_context(files.of_rsa(), ["nap-peer/1"]),
    "of another protocol": lambda files: client_context(files.of(CLIENT), ["http/1.1", "nap-peer/2"]),
    "without any protocol": lambda files: client_context(files.of(CLIENT), None),
    "that stops at TLS 1.2": lambda files: client_context(files.of(CLIENT), ["nap-peer/1"], TLS_1_2),
}


@pytest.mark.parametrize("kind", CLIENTS)
async def test_a_client_is_refused_and_told_nothing(kind: str, files: Files, eventually: Eventually) -> None:
    async with serving() as server:
        heard = await deferToThread(visit, server.port, CLIENTS[kind](files))
        await eventually(lambda: server.users and server.user.lost)
        assert heard == b""
        assert server.user.keys == []
        assert server.user.lines == []


async def test_a_client_that_does_everything_right_is_welcome(files: Files, eventually: Eventually) -> None:
    """So that the refusals above are for the reasons they name."""
    async with serving() as server:
        context = client_context(files.of(CLIENT), ["h2", "nap-peer/1"])
        visiting = deferToThread(visit, server.port, context)
        await eventually(lambda: server.users and server.user.keys)
        assert server.user.keys[0].id == CLIENT.id
        server.user.link.hang_up()
        assert await visiting == b'{"t":"ping","n":7}\n'
        await eventually(lambda: server.user.lost)


async def test_a_client_with_another_key_than_expected_is_refused(eventually: Eventually) -> None:
    async with serving(expected=STRANGER.id) as server:
        client = await dial(server.port)
        await eventually(lambda: client.lost and server.user.lost)
        assert server.user.lost[0].code == "wrong_identity"
        assert CLIENT.id in server.user.lost[0].message
        assert client.lines == server.user.lines == []


async def test_a_client_that_is_slow_with_its_handshake_is_cut_off(eventually: Eventually) -> None:
    clock = Clock()
    async with serving(clock=clock) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as plain:
            # The beginning of a handshake, and no more.
            plain.sendall(b"\x16\x03\x01\x02\x00\x01")
            await eventually(lambda: server.users)
            clock.advance(HANDSHAKE_S - 1)
            assert not server.user.lost
            clock.advance(2)
            await eventually(lambda: server.user.lost)
            assert "no TLS handshake within 10 s" in server.user.lost[0].message
        assert clock.getDelayedCalls() == []


async def test_what_is_no_tls_at_all_is_cut_off(eventually: Eventually) -> None:
    async with serving() as server:
        with socket.create_connection(("127.0.0.1", server.port)) as plain:
            plain.sendall(b'{"t":"hello","versions":[1],"agent":"x","role":"fetch"}\n')
            await eventually(lambda: server.users and server.user.lost)
        assert server.user.lines == []


# --- A server that is not what it has to be ------------------------------------------------------


async def test_a_server_with_another_key_than_expected_is_left_and_told_nothing(eventually: Eventually) -> None:
    async with serving(greets=False) as server:
        client = await dial(server.port, expected=STRANGER.id)
        await eventually(lambda: client.lost and server.user.lost)
        assert client.lost[0].code == "wrong_identity"
        assert SERVER.id in client.lost[0].message
        assert client.keys == []
        assert server.user.lines == []


SERVERS: dict[str, tuple[Callable[[Files], ssl.SSLContext], str]] = {
    "with another kind of key": (lambda files: server_context(files.of_rsa(), ["nap-peer/1"]), "wrong_identity"),
    "without any protocol": (lambda files: server_context(files.of(SERVER), None), "wrong_protocol"),
    "that stops at TLS 1.2": (lambda files: server_context(files.of(SERVER), ["nap-peer/1"], TLS_1_2), "unreachable"),
}


@pytest.mark.parametrize("kind", SERVERS)
async def test_a_server_is_left_and_told_nothing(kind: str, files: Files, eventually: Eventually) -> None:
    make, code = SERVERS[kind]
    async with stranger(make(files)) as (port, heard):
        client = await dial(port)
        await eventually(lambda: client.lost)
        assert client.lost[0].code == code
        assert client.keys == []
        assert await heard == b""


async def test_a_server_that_is_slow_with_its_handshake_is_left(eventually: Eventually) -> None:
    clock = Clock()
    async with stranger(None) as (port, _):
        client = await dial(port, clock=clock)
        clock.advance(HANDSHAKE_S + 1)
        await eventually(lambda: client.lost)
        assert client.lost[0].code == "unreachable"


async def test_nobody_at_an_address_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(Unreachable, match=f"127.0.0.1:{port} does not answer"):
        await dial(port)


async def test_a_link_that_was_given_up_before_it_connected_says_nothing(eventually: Eventually) -> None:
    async with serving() as server:
        user = User()
        user.link = SecureLink(reactor, user, ALPN)
        user.link.hang_up(wire.Bye("shutdown", "never mind"))
        await carriers.dialler.dialler(reactor, CLIENT).dial(f"127.0.0.1:{server.port}", ALPN, lambda: user.link)
        await eventually(lambda: user.lost and server.users and server.user.lost)
        assert user.keys == []
        assert server.user.lines == []
