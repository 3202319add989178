"""The lab's own certificate authority: server certificates, client certificates, TLS contexts.

Keys are ECDSA P-256, because a lab makes dozens of them while it starts; everything is valid 30 days.
"""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_DAYS = 30


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its private key, both PEM."""

    certificate_pem: bytes
    key_pem: bytes

    def write(self, certificate: Path, key: Path) -> None:
        """Write both; the key is readable by its owner only."""
        certificate.write_bytes(self.certificate_pem)
        key.touch(mode=0o600)
        key.write_bytes(self.key_pem)


class LabCA:
    """A certificate authority that exists in memory only, unless its PEM is written somewhere."""

    def __init__(self, name: str = "poolkeeper-lab") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        self._certificate = (
            _builder(self._subject, self._subject, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate_pem = self._certificate.public_bytes(serialization.Encoding.PEM)
        """The authority's own certificate: what clients put into `certificate-authority-data`."""

    @property
    def authority(self) -> Certificate:
        """Its own certificate with its key, for a program that signs in its name."""
        return Certificate(self.certificate_pem, _key_pem(self._key))

    def server_certificate(self, names_and_ips: Iterable[str], *, expires: datetime | None = None) -> Certificate:
        """A certificate for a server that answers at these DNS names and IP addresses.

        expires: also when that has been already; else as for all of them
        """
        wanted = list(names_and_ips)
        names = x509.SubjectAlternativeName([_general_name(name) for name in wanted])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, wanted[0][:64])])
        return self._issue(subject, ExtendedKeyUsageOID.SERVER_AUTH, names, expires)

    def client_certificate(self, cn: str, orgs: Iterable[str] = ()) -> Certificate:
        """A certificate for a client: Kubernetes reads CN as the user, each O as a group."""
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, org) for org in orgs]
        subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, cn)])
        return self._issue(subject, ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def _issue(
        self,
        subject: x509.Name,
        purpose: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None,
        expires: datetime | None = None,
    ) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            _builder(subject, self._subject, key.public_key(), expires)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(authority, critical=False)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Certificate(certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key))

    def server_context(self, names_and_ips: Iterable[str]) -> ssl.SSLContext:
        """TLS for a server of the lab; a client may show a certificate of this authority, and need not."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        load_certificate(context, self.server_certificate(names_and_ips))
        context.load_verify_locations(cadata=self.certificate_pem.decode())
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def client_context(self, certificate: Certificate | None = None) -> ssl.SSLContext:
        """TLS for a client that trusts this authority and nothing else."""
        context = ssl.create_default_context(cadata=self.certificate_pem.decode())
        if certificate is not None:
            load_certificate(context, certificate)
        return context


def load_certificate(context: ssl.SSLContext, certificate: Certificate) -> None:
    """Put a certificate into a context; `ssl` reads it from files only, which are gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder, "tls.crt"), Path(folder, "tls.key")
        certificate.write(*paths)
        context.load_cert_chain(*paths)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, expires: datetime | None = None
) -> x509.CertificateBuilder:
    ends = expires or datetime.now(UTC) + timedelta(days=VALID_DAYS)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # a clock that is a little off must not refuse a lab that has just started
        .not_valid_before(ends - timedelta(days=VALID_DAYS, minutes=10))
        .not_valid_after(ends)
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
