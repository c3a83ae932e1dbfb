"""TLS and passwords are the driver's own: what its options say holds, for threads and for tasks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from servers import mongodb
from servers.process import HOST

from fsstore import StorageError, StorageUnavailableError
from fsstore.testing.attempts import fill

USER, PASSWORD = "billing", "correct horse"


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate for this host that it signed itself, and its key."""
    x509 = pytest.importorskip("cryptography.x509", reason="pip install 'fsstore[encryption]'")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = directory / "server.pem", directory / "server.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption_algorithm=plain)
    )
    return certificate, private


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The URL of a server that asks for both, and the certificate it is known by."""
    directory = tmp_path_factory.mktemp("secured")
    certificate, key = make_certificate(directory)
    server, url = mongodb.standing(directory / "server")
    server.start()
    with MongoClient[dict[str, Any]](url) as client:
        client.admin.command("createUser", USER, pwd=PASSWORD, roles=["root"])
    server.stop()
    tls = ["--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    server, url = mongodb.standing(directory / "server", "--auth", *tls)
    server.start()
    yield url, certificate
    server.kill()


def test_the_right_password_over_tls_opens_the_store(secured: tuple[str, Path], who: str) -> None:
    url, certificate = secured
    options = {"username": USER, "password": PASSWORD, "authSource": "admin", "tlsCAFile": str(certificate)}
    engine = mongodb.waiting(who, url, database=f"for_{who}", tls=True, **options)
    engine.initialize()
    stored = fill(engine, "stream", commits=3)
    assert list(engine.get_from_checkpoint()) == stored
    engine.close()


def test_a_wrong_password_is_said_and_not_shown(secured: tuple[str, Path], who: str) -> None:
    url, certificate = secured
    options = {"username": USER, "password": "wrong horse", "tls": True, "tlsCAFile": str(certificate)}
    engine = mongodb.waiting(who, url, **options)
    with pytest.raises(StorageError, match="uthentication") as raised:
        engine.initialize()
    assert "horse" not in str(raised.value)
    engine.close()


def test_a_certificate_that_nobody_vouches_for_is_refused(secured: tuple[str, Path], who: str) -> None:
    engine = mongodb.waiting(who, secured[0], tls=True, serverSelectionTimeoutMS=500)
    with pytest.raises(StorageUnavailableError, match="certificate verify failed"):
        engine.initialize()
    engine.close()
