"""TLS as every link uses it: 1.3, mutual, ALPN, keys instead of names; and Twisted's way to carry it.

The contexts accept any certificate; the *link* (`napd.net.link`) compares the key and the negotiated protocol once the
handshake is over and before anything is said. The daemons' links use `napd.net.tls_stream`, with the same contexts;
what is here in factories is the reference that it is measured by, and held to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen
from OpenSSL import SSL
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
)
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from .identity import Identity

#: SSL_MODE_RELEASE_BUFFERS: an idle link costs 37 KB instead of 61.
_RELEASE_BUFFERS = 0x10
#: SSL_MODE_ENABLE_PARTIAL_WRITE, which pyOpenSSL sets: with it a call encrypts one record of 16 KiB and no more.
_ENABLE_PARTIAL_WRITE = 0x1


@implementer(IOpenSSLServerConnectionCreator)
@frozen
class _ServerCreator:
    context: SSL.Context

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return SSL.Connection(self.context, None)


@implementer(IOpenSSLClientConnectionCreator)
@frozen
class _ClientCreator:
    context: SSL.Context

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return SSL.Connection(self.context, None)


def server_factory(identity: Identity, protocols: Sequence[bytes], wrapped: IProtocolFactory) -> TLSMemoryBIOFactory:
    """Twisted's TLS around a server's factory. `protocols`: what ALPN may choose, best first."""
    return _quiet(TLSMemoryBIOFactory(_ServerCreator(server_context(identity, protocols)), False, wrapped))


def client_factory(identity: Identity, protocol: bytes, wrapped: IProtocolFactory) -> TLSMemoryBIOFactory:
    """Twisted's TLS around a client's factory, offering this one protocol."""
    return _quiet(TLSMemoryBIOFactory(_ClientCreator(client_context(identity, protocol)), True, wrapped))


def _quiet(factory: TLSMemoryBIOFactory) -> TLSMemoryBIOFactory:
    """Neither factory logs that it starts and stops: one does so for every link that is dialled."""
    factory.noisy = factory.wrappedFactory.noisy = False
    return factory


def server_context(identity: Identity, protocols: Sequence[bytes]) -> SSL.Context:
    context = _context(identity)

    def choose(connection: SSL.Connection, offered: list[bytes]) -> Any:
        for protocol in protocols:
            if protocol in offered:
                return protocol
        return SSL.NO_OVERLAPPING_PROTOCOLS

    context.set_alpn_select_callback(choose)
    return context


def client_context(identity: Identity, protocol: bytes) -> SSL.Context:
    context = _context(identity)
    context.set_alpn_protos([protocol])
    return context


def _context(identity: Identity) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    # A resumed session would carry no certificate to compare, and saves nothing on long-lived links.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
    context.set_mode(_RELEASE_BUFFERS)
    context.clear_mode(_ENABLE_PARTIAL_WRITE)
    context.use_privatekey(identity.private_key)
    context.use_certificate(identity.certificate)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _accept_any_certificate)
    return context


def _accept_any_certificate(connection: SSL.Connection, certificate: object, error: int, depth: int, ok: int) -> bool:
    return True
