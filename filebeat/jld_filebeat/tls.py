"""The shipper's side of mutual TLS."""

import ssl
from pathlib import Path

from .errors import BadSettingError
from .settings import Settings


def context(settings: Settings) -> ssl.SSLContext:
    """Read the certificates and give a context that checks the collector's name and shows the shipper's own.

    Called for each connection, so that changed files are taken into use.

    Raises:
        BadSettingError: a file cannot be read, is not what it should be, or the two of the shipper do not match.
    """
    authorities, certificate, key = (
        settings.filebeat_ca_file,
        settings.filebeat_certificate_file,
        settings.filebeat_key_file,
    )
    _read("FILEBEAT_CA_FILE", authorities, "CERTIFICATE-----")
    _read("FILEBEAT_CERTIFICATE_FILE", certificate, "CERTIFICATE-----")
    _read("FILEBEAT_KEY_FILE", key, "PRIVATE KEY-----")
    try:
        made = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(authorities))
    except ssl.SSLError as error:
        raise BadSettingError("FILEBEAT_CA_FILE", str(authorities), "should hold PEM certificates") from error
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without a passphrase of ours OpenSSL would ask for one at the terminal.
        made.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise BadSettingError(
            "FILEBEAT_KEY_FILE", str(key), f"should be the key of {certificate}, without a passphrase"
        ) from error
    return made


def _read(variable: str, path: Path, mark: str) -> None:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise BadSettingError(variable, str(path), f"should be a file to read ({reason})") from error
    if mark not in text:
        raise BadSettingError(variable, str(path), f"should be a PEM file with {mark.rstrip('-')}")
