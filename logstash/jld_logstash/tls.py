"""TLS towards shippers and towards the broker, with certificates that may change while the collector runs."""

import logging
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import BadSettingError
from .log import Sayings
from .settings import Settings


class Certificates:
    """A context that follows its files: what connects after they changed meets the new ones.

    Args:
        make: makes the context from the files.
        files: the files.

    Raises:
        BadSettingError: the files do not make a context now.
    """

    def __init__(self, make: Callable[[], ssl.SSLContext], *files: Path | None) -> None:
        self._sayings = Sayings(logging.getLogger(__name__))
        self._make = make
        self._files = [file for file in files if file]
        self._state = self._look()
        self._context = make()

    def context(self) -> ssl.SSLContext:
        """Give the context of the files as they are; as they were, while they do not fit each other."""
        state = self._look()
        if state != self._state:
            try:
                self._context = self._make()
            except BadSettingError as error:
                self._sayings.warning(f"changed certificates are not used: {error}")
            else:
                self._state = state
                self._sayings.info("changed certificates are used from now on")
        return self._context

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_identity(file) for file in self._files]


def _identity(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def for_shippers(settings: Settings) -> Certificates:
    """Speak TLS to those that show a certificate of the authority, and to nobody else.

    Raises:
        BadSettingError: a file is missing, or not what it should be.
    """
    authority = settings.logstash_ca_file
    certificate, key = settings.logstash_certificate_file, settings.logstash_key_file

    def make() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        _trust(context, "LOGSTASH_CA_FILE", authority)
        _show(context, "LOGSTASH", certificate, key)
        return context

    return Certificates(make, authority, certificate, key)


def for_broker(settings: Settings) -> Certificates:
    """Speak TLS to a broker that shows a certificate for its name.

    Raises:
        BadSettingError: a file is missing, or not what it should be.
    """
    authority = settings.rabbitmq_target_ca_file
    certificate, key = settings.rabbitmq_target_certificate_file, settings.rabbitmq_target_key_file

    def make() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if authority:
            _trust(context, "RABBITMQ_TARGET_CA_FILE", authority)
        else:
            context.load_default_certs()
        if certificate and key:
            _show(context, "RABBITMQ_TARGET", certificate, key)
        return context

    return Certificates(make, authority, certificate, key)


def _trust(context: ssl.SSLContext, variable: str, authority: Path) -> None:
    _check_readable(variable, authority)
    try:
        context.load_verify_locations(authority)
    except OSError as error:  # SSLError is one
        raise BadSettingError(variable, str(authority), "should be a file of PEM certificates") from error


def _show(context: ssl.SSLContext, prefix: str, certificate: Path, key: Path) -> None:
    # Tried by itself first, to tell which of the two files is the wrong one.
    _trust(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), f"{prefix}_CERTIFICATE_FILE", certificate)
    _check_readable(f"{prefix}_KEY_FILE", key)
    try:
        # The password is for keys that need one: without it OpenSSL would ask the terminal.
        context.load_cert_chain(certificate, key, password="")
    except OSError as error:
        right = f"should be the PEM key, without a passphrase, of {prefix}_CERTIFICATE_FILE"
        raise BadSettingError(f"{prefix}_KEY_FILE", str(key), right) from error


def _check_readable(variable: str, file: Path) -> None:
    try:
        os.close(os.open(file, os.O_RDONLY))
    except OSError as error:
        raise BadSettingError(variable, str(file), f"should be a file to read ({error.strerror})") from error


def name_of(certificate: dict[str, Any]) -> str | None:
    """Give the name that a certificate is for: its common name, else the first of its other names, else None.

    Other names are those of hosts, addresses and whole URIs, as SPIFFE's are. An address of mail, or a URI without a
    scheme, could read as a host's name.

    Args:
        certificate: as ssl.SSLSocket.getpeercert gives it.
    """
    fields = dict(pair for part in certificate.get("subject", ()) for pair in part)
    others = (
        value
        for kind, value in certificate.get("subjectAltName", ())
        if kind in {"DNS", "IP Address"} or (kind == "URI" and ":" in value)
    )
    return fields.get("commonName") or next(others, None)


def reason_of(error: OSError) -> str:
    """Put what TLS, or the connection below it, says in words for one line."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return error.strerror or str(error)
