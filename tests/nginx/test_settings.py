"""What the settings take, and what they say of what they do not."""

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from jld_embedded.certificates import Pair, self_signed
from jld_nginx.errors import BadSettingError
from jld_nginx.settings import Settings


@pytest.fixture(autouse=True)
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """Set a certificate and its key, and nothing else."""
    for name in [name for name in os.environ if name.startswith("NGINX_")]:
        monkeypatch.delenv(name)
    pair = self_signed(tmp_path, "localhost")
    monkeypatch.setenv("NGINX_CERTIFICATE_FILE", str(pair.certificate))
    monkeypatch.setenv("NGINX_KEY_FILE", str(pair.key))
    return pair


def _complaint() -> str:
    with pytest.raises(BadSettingError) as error:
        Settings.load()
    return str(error.value)


def test_defaults(pair: Pair) -> None:
    """A certificate and its key are all that must be set."""
    settings = Settings.load()
    assert settings.nginx_certificate_file == pair.certificate
    assert settings.nginx_upstream == "proxy:8000"


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("NGINX_LISTEN", "localhost", "should be an IP address of this machine, 0.0.0.0 or ::"),
        ("NGINX_HOST", "300.0.0.1", "should be an IP address of this machine, 0.0.0.0 or ::"),
        ("NGINX_HTTPS_PORT", "0", "should be greater than or equal to 1"),
        ("NGINX_PORT", "tcp://10.0.0.1:8085", "should be a valid integer"),
        ("NGINX_UPSTREAM", "http://proxy:8000", "should be a host and a port, as in proxy:8000"),
        ("NGINX_UPSTREAM", "proxy", "should be a host and a port, as in proxy:8000"),
        ("NGINX_UPSTREAM", "proxy:70000", "should be a host and a port, as in proxy:8000"),
        ("NGINX_UPSTREAM", "proxy:80; root /", "should be a host and a port, as in proxy:8000"),
        ("NGINX_HSTS_MAX_AGE", "-1", "should be greater than or equal to 0"),
        ("NGINX_HSTS_MAX_AGE", "1y", "should be a valid integer"),
        ("NGINX_RUNTIME_DIR", "run", "should be an absolute path without dollar signs"),
        ("NGINX_RUNTIME_DIR", "/tmp/$host", "should be an absolute path without dollar signs"),
        ("NGINX_RUNTIME_DIR", "/tmp/" + "x" * 100, "should have at most 95 bytes: a socket goes there"),
        ("NGINX_CERTIFICATE_FILE", "", "required"),
        ("NGINX_CERTIFICATE_FILE", "/nowhere", "should be a file to read (No such file or directory)"),
        ("NGINX_KEY_FILE", "/", "should be a file to read (Is a directory)"),
    ],
)
def test_bad_values(monkeypatch: pytest.MonkeyPatch, name: str, value: str, right: str) -> None:
    """A value that cannot be used is named with the variable and what would be right."""
    monkeypatch.setenv(name, value)
    assert _complaint().startswith(f"{name}={value}: {right}")


def test_value_with_a_line_break(monkeypatch: pytest.MonkeyPatch) -> None:
    """A complaint is one line whatever the value."""
    monkeypatch.setenv("NGINX_UPSTREAM", "proxy:8000\n}")
    assert "\n" not in _complaint()


def test_key_of_another_certificate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A key that does not belong to the certificate is refused."""
    other = self_signed(tmp_path, "other")
    monkeypatch.setenv("NGINX_KEY_FILE", str(other.key))
    right = "should hold the key of the certificate in NGINX_CERTIFICATE_FILE"
    assert _complaint() == f"NGINX_KEY_FILE={other.key}: {right}"


@pytest.mark.parametrize("content", ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "\0\xff"])
def test_broken_files(pair: Pair, content: str) -> None:
    """Files that hold no certificate or no key are refused, without their content."""
    key = pair.key.read_bytes()
    pair.key.write_text(content)
    assert _complaint() == f"NGINX_KEY_FILE={pair.key}: should hold a key in PEM, without a passphrase"
    pair.key.write_bytes(key)
    pair.certificate.write_text(content)
    assert _complaint() == f"NGINX_CERTIFICATE_FILE={pair.certificate}: should hold a certificate in PEM"


def test_key_with_a_passphrase(pair: Pair) -> None:
    """A key that nobody could unlock for nginx is refused."""
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    pair.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"geheim")))
    assert _complaint() == f"NGINX_KEY_FILE={pair.key}: should hold a key in PEM, without a passphrase"
