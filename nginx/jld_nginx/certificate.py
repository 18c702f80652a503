"""The certificate and its key: whether they can be used, and which they are."""

import datetime as dt
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .errors import CertificateError


class Certificate(NamedTuple):
    """A certificate that can be used, as far as one can tell without nginx.

    Attributes:
        chain: what its file holds, in PEM; two with the same text are the same.
        leaf: the server's own certificate, in DER, as clients get it.
        ends: when it ceases to be valid.
        fingerprint: SHA-256 of the leaf, in hexadecimal.
    """

    chain: bytes
    leaf: bytes
    ends: dt.datetime
    fingerprint: str


def load(certificate: Path, key: Path) -> Certificate:
    """Read a certificate and see that its key belongs to it.

    Args:
        certificate: file in PEM: the server's certificate, then those of its issuers.
        key: file in PEM, without a passphrase.

    Raises:
        CertificateError: nginx could not use them.
    """
    chain = _read("NGINX_CERTIFICATE_FILE", certificate)
    try:
        leaf = x509.load_pem_x509_certificates(chain)[0]
        public = leaf.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError("NGINX_CERTIFICATE_FILE", "should hold a certificate in PEM") from error
    try:
        private = serialization.load_pem_private_key(_read("NGINX_KEY_FILE", key), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # Not the library's own text: whatever it says, it says it about a secret.
        raise CertificateError("NGINX_KEY_FILE", "should hold a key in PEM, without a passphrase") from error
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*form) != public.public_bytes(*form):
        raise CertificateError("NGINX_KEY_FILE", "should hold the key of the certificate in NGINX_CERTIFICATE_FILE")
    return Certificate(
        chain, leaf.public_bytes(Encoding.DER), leaf.not_valid_after_utc, leaf.fingerprint(hashes.SHA256()).hex()
    )


def _read(variable: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CertificateError(variable, f"should be a file to read ({error.strerror})") from error
