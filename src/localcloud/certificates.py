"""A throw-away certificate authority of the state folder, and certificates minted per host name asked for.

Inference names have two labels before the domain, which no wildcard covers; hence one certificate a name.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID = timedelta(days=90)


class Authority:
    """Reads the authority of a folder, or makes it; the key never leaves the folder and is readable by its owner only.

    Writes `ca.pem` (the authority alone) and `ca-bundle.pem` (public roots and the authority).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "certificates"
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._contexts: dict[str, ssl.SSLContext] = {}
        key_file, self.certificate_file = self._folder / "ca.key", folder / "ca.pem"
        self.bundle_file = folder / "ca-bundle.pem"
        if not self._load(key_file):
            self._key = ec.generate_private_key(ec.SECP256R1())
            self._certificate = self._make_authority()
            _write_private(key_file, _pem(self._key))
            self.certificate_file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        roots = Path(certifi.where()).read_bytes()
        self.bundle_file.write_bytes(roots + b"\n" + self.certificate_file.read_bytes())

    def _load(self, key_file: Path) -> bool:
        if not (key_file.exists() and self.certificate_file.exists()):
            return False
        certificate = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
        if certificate.not_valid_after_utc < datetime.now(UTC) + timedelta(days=1):
            return False
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key, self._certificate = key, certificate
        return True

    def _make_authority(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localcloud throw-away authority")])
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        return (
            _builder(name, name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def context(self, host: str) -> ssl.SSLContext:
        """The server side of TLS for one host name, made when first asked for."""
        if host not in self._contexts:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._mint(host))
            self._contexts[host] = context
        return self._contexts[host]

    def _mint(self, host: str) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.DNSName(host)]
        if host == "localhost":
            names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        # A common name holds 64 characters at most; the alternative name is what clients check.
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
        certificate = (
            _builder(subject, self._certificate.subject, key)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        path = self._folder / "leaf.pem"
        _write_private(path, _pem(key) + certificate.public_bytes(serialization.Encoding.PEM))
        return path


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _VALID)
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
