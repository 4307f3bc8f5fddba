"""Keys and ids: made once, kept private, and never taken from a file that is not one."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from napd.errors import ConfigurationError, WrongIdentity
from napd.net.identity import Identity, PublicKey, load_identity, new_identity

#: The key of RFC 8032's first test vector.
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")


def pem_of(key: object, encryption: serialization.KeySerializationEncryption | None = None) -> bytes:
    made: bytes = key.private_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        encryption or serialization.NoEncryption(),
    )
    return made


def test_an_id_is_the_hash_of_the_public_key_in_52_letters(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(pem_of(Ed25519PrivateKey.from_private_bytes(SEED)))
    identity = load_identity(path)

    # RFC 8410: 12 bytes that say Ed25519, then the key.
    spki = bytes.fromhex("302a300506032b6570032100") + identity.private_key.public_key().public_bytes_raw()
    expected = base64.b32encode(hashlib.sha256(spki).digest()).decode().lower().rstrip("=")
    assert identity.id == expected
    assert len(identity.id) == 52
    assert identity.id == "a3r73d62fg5wbk2zkv66mhw3blwnwiyrgs7dbz23ivpy4g3zf6uq"


def test_the_key_is_made_at_the_first_start_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    first, second = load_identity(path), load_identity(path)
    assert first.id == second.id
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["key.pem"]


def test_every_key_is_another() -> None:
    assert new_identity().id != new_identity().id


def test_a_key_file_that_others_can_read_is_narrowed(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    load_identity(path)
    path.chmod(0o644)
    load_identity(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_key_of_somebody_else_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key.pem"
    load_identity(path)
    path.chmod(0o440)
    # systemd lends credentials like that: root's, and ours to read.
    monkeypatch.setattr("os.geteuid", lambda: path.stat().st_uid + 1)
    load_identity(path)
    assert path.stat().st_mode & 0o777 == 0o440


def test_what_a_crash_left_of_a_key_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    (tmp_path / "key.pem.new").write_bytes(b"half a")
    load_identity(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["key.pem"]


def damaged(pem: bytes) -> bytes:
    return pem.replace(b"A", b"B", 3)


WRONG: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "text": lambda: b"not a key at all\n",
    "binary": lambda: bytes(range(256)),
    "cut": lambda: pem_of(Ed25519PrivateKey.generate())[:60],
    "damaged": lambda: damaged(pem_of(Ed25519PrivateKey.from_private_bytes(SEED))),
    "of an unknown kind": lambda: (
        b"-----BEGIN PRIVATE KEY-----\nMBQCAQAwBwYFKgMEBQYEBgQEAQIDBA==\n-----END PRIVATE KEY-----\n"
    ),
    "encrypted": lambda: pem_of(Ed25519PrivateKey.generate(), serialization.BestAvailableEncryption(b"secret")),
    "RSA": lambda: pem_of(rsa.generate_private_key(65537, 1024)),
    "EC": lambda: pem_of(ec.generate_private_key(ec.SECP256R1())),
    "X25519": lambda: pem_of(x25519.X25519PrivateKey.generate()),
    "public": lambda: (
        Ed25519PrivateKey.generate()
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_key_file_that_cannot_be_used_is_named_and_left_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(WRONG[kind]())
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match=r"key\.pem"):
        load_identity(path)
    assert path.read_bytes() == before


def test_a_directory_in_the_key_s_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_identity(tmp_path)


def test_a_key_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be"):
        load_identity(tmp_path / "absent" / "key.pem")


def test_a_certificate_carries_the_key_and_another_kind_of_key_is_refused() -> None:
    identity = new_identity()
    assert PublicKey.of_certificate(identity.certificate).id == identity.id
    with pytest.raises(WrongIdentity, match="no Ed25519 key"):
        PublicKey.of_certificate(certificate_of_an_rsa_key())


def certificate_of_an_rsa_key() -> x509.Certificate:
    like = new_identity().certificate
    key = rsa.generate_private_key(65537, 1024)
    return (
        x509.CertificateBuilder()
        .subject_name(like.subject)
        .issuer_name(like.issuer)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(like.not_valid_before_utc)
        .not_valid_after(like.not_valid_after_utc)
        .sign(key, hashes.SHA256())
    )


def test_a_public_key_survives_as_text() -> None:
    identity: Identity = new_identity()
    again = PublicKey.from_text(identity.public.to_text())
    assert again.id == identity.id
