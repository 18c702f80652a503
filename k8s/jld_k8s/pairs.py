"""Certificates with their keys, before somebody is served with them."""

import datetime as dt
from collections.abc import Iterator, Mapping
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from .credentials import Content
from .finding import Finding
from .manifests import Key

NAMES = (("nginx", "tls.crt", "tls.key"), ("logstash", "broker_client.pem", "broker_client.key"))
"""Secrets in which an operator's certificate and key are."""


def check(wanted: Mapping[Key, Content], host: str) -> Iterator[Finding]:
    """See that certificates are ones, hold today, belong to their keys, and name the site's host.

    Args:
        wanted: what the Secrets are to hold.
        host: that browsers ask for.
    """
    for owner, values in wanted.items():
        for secret, certificate, key in NAMES:
            if owner.name == secret and (certificate in values or key in values):
                asked = host if secret == "nginx" else ""  # noqa: S105 - the name of a Secret
                yield from one(certificate, values.get(certificate, b""), key, values.get(key, b""), asked)


def one(name: str, pem: bytes, key_name: str, key_pem: bytes, host: str) -> Iterator[Finding]:
    """See to one certificate."""
    try:
        chain = x509.load_pem_x509_certificates(pem)
    except ValueError:
        yield Finding(
            f"{name} is no certificate", "PEM, the certificate itself first and those of its issuers behind it"
        )
        return
    certificate, now = chain[0], dt.datetime.now(dt.UTC)
    if certificate.not_valid_after_utc < now:
        yield Finding(f"{name} has ended on {certificate.not_valid_after_utc:%Y-%m-%d}", "have it renewed")
    if certificate.not_valid_before_utc > now:
        yield Finding(f"{name} begins on {certificate.not_valid_before_utc:%Y-%m-%d}", "one that holds today")
    if host and not any(matches(host, pattern) for pattern in alternatives(certificate)):
        yield Finding(
            f"{name} is not for {host}, which OAUTH_CALLBACK_URL names",
            f"one for it (this one is for {', '.join(alternatives(certificate)) or 'no name'})",
        )
    try:
        key = serialization.load_pem_private_key(key_pem, None)
    except (ValueError, TypeError):
        yield Finding(f"{key_name} is no key", "PEM, without a passphrase")
        return
    if key.public_key() != certificate.public_key():
        yield Finding(f"{key_name} is not the key of {name}", "the one that the certificate was made for")


def alternatives(certificate: x509.Certificate) -> list[str]:
    """List the names and addresses that a certificate is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return [*names.get_values_for_type(x509.DNSName), *addresses]


def matches(host: str, pattern: str) -> bool:
    """Whether a name of a certificate stands for a host (RFC 9525, 6.3): a `*` for one label, the first."""
    try:
        return ip_address(host) == ip_address(pattern)
    except ValueError:
        first, _, rest = host.lower().partition(".")
        return pattern.lower() in (host.lower(), f"*.{rest}") and bool(first)


def fingerprint(pem: bytes) -> str:
    """Give the SHA-256 fingerprint of a certificate, as browsers show it."""
    return x509.load_pem_x509_certificates(pem)[0].fingerprint(hashes.SHA256()).hex(":").upper()
