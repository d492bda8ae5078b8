"""A certificate authority of a test's own."""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


class Authority:
    """A certificate authority of the test's own, and servers that it vouches for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        self.file = folder / "authority.pem"
        ca = x509.BasicConstraints(ca=True, path_length=None)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        made = self._vouch(self._name, self._key, [(ca, True), (usage, True)])
        self.file.write_bytes(made)

    def server(self, host: str) -> ssl.SSLContext:
        """A server's side of TLS, with a certificate for ``host``."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._written("server", host))
        return context

    def client(self, name: str, password: bytes = b"") -> Path:
        """A PEM file with a client's certificate and its key, which only its owner can read."""
        file = self._written(name, "client.example", password)
        file.chmod(0o600)
        return file

    def _written(self, name: str, host: str, password: bytes = b"") -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        with contextlib.suppress(ValueError):
            names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(host))]
        if not host[0].isdigit():
            names = [x509.DNSName(host)]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        file = self._folder / f"{name}.pem"
        locked = (
            serialization.BestAvailableEncryption(password)
            if password
            else serialization.NoEncryption()
        )
        file.write_bytes(
            self._vouch(subject, key, [(x509.SubjectAlternativeName(names), False)])
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                locked,
            )
        )
        return file

    def _vouch(
        self, subject: x509.Name, key: Any, extensions: list[tuple[x509.ExtensionType, bool]]
    ) -> bytes:
        now = datetime.now(timezone.utc)
        issuer = self._key.public_key()
        built = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + DAY)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        )
        for extension, critical in extensions:
            built = built.add_extension(extension, critical)
        return built.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
