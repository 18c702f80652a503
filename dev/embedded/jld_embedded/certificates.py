"""Certificates for one machine: an authority that the parts of a stack trust, and what it issues."""

import datetime as dt
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .state import write

LOOPBACK = ("localhost", "127.0.0.1", "::1")

INNER_DAYS = 3650
"""How long the authority and what it issues hold: they are between the parts of one machine only."""

DAYS = 90
"""How long a certificate for browsers holds, as Mozilla's guideline 6.0 recommends; `make up` renews it in time."""

RENEW_DAYS = 30
"""A certificate that holds no longer than this is made anew."""


class Pair(NamedTuple):
    """A certificate and its key, both PEM in files of mode 0600."""

    certificate: Path
    key: Path


class Authority:
    """Issues certificates for one stack; only what it issued can speak to the stack's inner ports."""

    def __init__(self, folder: Path) -> None:
        """Take the authority that is in a folder, or make it there."""
        self.folder = folder
        self.pair = _pair(folder, "authority")
        if not _holds(self.pair):
            key = ec.generate_private_key(ec.SECP256R1())
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "jupyterlabdemo development authority")])
            usage = x509.KeyUsage(
                digital_signature=False,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            )
            builder = (
                _builder(name, key.public_key(), INNER_DAYS)
                .issuer_name(name)
                .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                .add_extension(usage, critical=True)
            )
            _write(self.pair, builder.sign(key, hashes.SHA256()), key)

    @property
    def certificate(self) -> Path:
        """The file of the authority's certificate: what a part trusts."""
        return self.pair.certificate

    def issue(self, name: str, hosts: Iterable[str] = LOOPBACK) -> Pair:
        """Give the certificate of a part, for both ends of a connection; make it where it is missing or ends soon.

        Args:
            name: the part, which becomes the common name and, beside the hosts, a name that peers may ask for.
            hosts: further names and addresses of the part.
        """
        pair = _pair(self.folder, name)
        issuer = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        if not _holds(pair, issuer):
            issuer_key = serialization.load_pem_private_key(self.pair.key.read_bytes(), None)
            if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
                raise TypeError(f"{self.pair.key}: not a key that this made")
            key = ec.generate_private_key(ec.SECP256R1())
            builder = (
                _leaf(name, dict.fromkeys([name, *hosts]), key, INNER_DAYS)
                .issuer_name(issuer.subject)
                .add_extension(
                    x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
                )
            )
            _write(pair, builder.sign(issuer_key, hashes.SHA256()), key)
        return pair


def self_signed(folder: Path, name: str) -> Pair:
    """Give a certificate for this machine that vouches for itself; make it where it is missing or ends soon.

    Args:
        folder: where it is.
        name: what its files are called.
    """
    pair = _pair(folder, name)
    if not _holds(pair):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, LOOPBACK[0])])
        # By it a client that trusts the former one too, which has the same name, tells whose key is meant.
        own = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
        builder = _leaf(LOOPBACK[0], LOOPBACK, key, DAYS).issuer_name(subject).add_extension(own, critical=False)
        _write(pair, builder.sign(key, hashes.SHA256()), key)
    return pair


def fingerprint(certificate: Path) -> str:
    """Give the SHA-256 fingerprint as browsers show it: bytes in capitals with colons between them."""
    loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    return loaded.fingerprint(hashes.SHA256()).hex(":").upper()


def _pair(folder: Path, name: str) -> Pair:
    return Pair(folder / f"{name}.pem", folder / f"{name}.key")


def _holds(pair: Pair, issuer: x509.Certificate | None = None) -> bool:
    """Whether both files are there, whole, belong together and to their issuer, and hold for a while."""
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
        if issuer:
            certificate.verify_directly_issued_by(issuer)
    except (OSError, ValueError, InvalidSignature):
        return False
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(days=RENEW_DAYS)
    return certificate.not_valid_after_utc > soon and certificate.public_key() == key.public_key()


def _builder(subject: x509.Name, key: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _leaf(name: str, hosts: Iterable[str], key: ec.EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        _builder(subject, key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_alternative(host) for host in hosts]), critical=False)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(pair: Pair, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write(pair.key, pem)
    write(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM))
