"""A daemon's key: who it is, over every restart and every certificate.

The *peer id* (or *index id*) is the lower-case base32 of SHA-256 over the public key's SPKI, 52 characters. The
certificate only carries the key through TLS; it is made afresh at each start and its other contents mean nothing.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import os
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ..durable import sync_entry
from ..errors import ConfigurationError, Denied, WrongIdentity
from ..model import PeerId
from ..wire import ticket as ticket_wire

_FOREVER = datetime.datetime(9999, 12, 31, tzinfo=datetime.UTC)
_LONG_AGO = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)


@frozen
class PublicKey:
    """Somebody's key, as TLS proved it or a file remembered it."""

    id: PeerId
    key: Ed25519PublicKey

    @classmethod
    def of(cls, key: Ed25519PublicKey) -> PublicKey:
        spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        digest = base64.b32encode(hashlib.sha256(spki).digest())
        return cls(PeerId(digest.decode("ascii").rstrip("=").lower()), key)

    @classmethod
    def of_certificate(cls, certificate: x509.Certificate) -> PublicKey:
        """:raises WrongIdentity: if the certificate carries no Ed25519 key."""
        key = certificate.public_key()
        if not isinstance(key, Ed25519PublicKey):
            raise WrongIdentity("the other end's certificate has no Ed25519 key")
        return cls.of(key)

    @classmethod
    def from_text(cls, text: str) -> PublicKey:
        return cls.of(Ed25519PublicKey.from_public_bytes(base64.b64decode(text)))

    def to_text(self) -> str:
        """The raw key in base64, for a file of known keys."""
        raw = self.key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return base64.b64encode(raw).decode("ascii")

    def check_ticket(self, ticket: str, *, peer: PeerId, now: float) -> ticket_wire.Claims:
        """Who `peer` is, if this key's owner (an index) signed so.

        :raises Denied: `bad_ticket` or `expired`.
        """
        claims, body, signature = ticket_wire.unpack(ticket)
        try:
            self.key.verify(signature, ticket_wire.signed_bytes(body))
        except InvalidSignature as error:
            raise Denied("the ticket's signature is wrong", code="bad_ticket") from error
        ticket_wire.check(claims, index=self.id, peer=peer, now=now)
        return claims


@frozen
class Identity:
    """This daemon's own key, and a certificate that carries it."""

    private_key: Ed25519PrivateKey
    certificate: x509.Certificate
    public: PublicKey

    @property
    def id(self) -> PeerId:
        return self.public.id

    def sign_ticket(self, body: bytes) -> str:
        return ticket_wire.pack(body, self.private_key.sign(ticket_wire.signed_bytes(body)))


def new_identity() -> Identity:
    return _identity_of(Ed25519PrivateKey.generate())


def load_identity(path: Path) -> Identity:
    """The identity whose private key (PEM, PKCS 8) is in this file; made at the first start, mode 0600.

    :raises ConfigurationError: if the file is there but cannot be used.
    """
    try:
        pem = path.read_bytes()
    except FileNotFoundError:
        identity = new_identity()
        _write_new(path, identity.private_key)
        return identity
    except OSError as error:
        raise ConfigurationError(f"identity {path} cannot be read: {error.strerror}") from error
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"identity {path} is not a private key in PEM form") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(f"identity {path} is not an Ed25519 key")
    _narrow(path)
    return _identity_of(key)


def _narrow(path: Path) -> None:
    """Our own key file is for us alone; somebody else's (a credential that systemd lends) is as its owner wants it."""
    try:
        status = path.stat()
        if status.st_uid == os.geteuid() and status.st_mode & 0o077:
            path.chmod(0o600)
    except OSError as error:
        raise ConfigurationError(f"identity {path} is open to others: {error.strerror}", "Give it mode 0600") from error


def _write_new(path: Path, key: Ed25519PrivateKey) -> None:
    """Under a temporary name first: a crash leaves either no key or a whole one."""
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    temporary = path.with_name(path.name + ".new")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
        sync_entry(str(path))
    except OSError as error:
        raise ConfigurationError(f"identity {path} cannot be written: {error.strerror}") from error


def _identity_of(key: Ed25519PrivateKey) -> Identity:
    public = PublicKey.of(key.public_key())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, public.id)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_LONG_AGO)
        .not_valid_after(_FOREVER)
        .sign(key, None)
    )
    return Identity(key, certificate, public)
