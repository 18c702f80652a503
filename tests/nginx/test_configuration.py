"""The configuration that is written for nginx."""

import os
import re
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from jld_embedded.certificates import self_signed
from jld_nginx.configuration import CONNECTIONS, OTHER_FILES, Abilities, render
from jld_nginx.settings import Settings

BOOKWORM = Abilities((1, 22, 1), (3, 0, 19))

TRIXIE = Abilities((1, 26, 3), (3, 5, 1))

Written = Callable[..., str]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    """Give a function that writes the configuration for some settings."""
    pair = self_signed(tmp_path, "localhost")

    def write(abilities: Abilities = TRIXIE, servers: tuple[str, ...] = ("127.0.0.1:8000",), **given: str) -> str:
        for name in [name for name in os.environ if name.startswith("NGINX_")]:
            monkeypatch.delenv(name)
        settings = {"NGINX_CERTIFICATE_FILE": str(pair.certificate), "NGINX_KEY_FILE": str(pair.key)} | given
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        return render(Settings.load(), abilities, servers)

    return write


@pytest.mark.parametrize(
    ("text", "abilities"),
    [
        (
            "nginx version: nginx/1.22.1\nbuilt with OpenSSL 3.0.22 25 Aug 2026 (running with OpenSSL 3.0.19 27 Jan)",
            BOOKWORM,
        ),
        ("nginx version: nginx/1.26.3 (Ubuntu)\nbuilt with OpenSSL 3.5.1 1 Jul 2025\nTLS SNI", TRIXIE),
        ("nginx version: openresty/1.25.3.1\nbuilt with BoringSSL", Abilities((1, 25, 3), ())),
        ("built with OpenSSL 3.0.1 (running with OpenSSL 3.6.0-beta1)", Abilities((), (3, 6, 0))),
        ("", Abilities((), ())),
    ],
)
def test_abilities(text: str, abilities: Abilities) -> None:
    """The versions are those of nginx and of the library that it runs with."""
    assert Abilities.told_by(text) == abilities


def test_http2_of_each_version(written: Written) -> None:
    """HTTP/2 is switched on, or off, in the words of the installed version."""
    assert "listen 0.0.0.0:8443 ssl http2 " in written(BOOKWORM)
    assert "http2 on;" not in written(BOOKWORM)
    assert "listen 0.0.0.0:8443 ssl so_" in written(TRIXIE)
    assert "\n        http2 on;" in written(TRIXIE)
    assert "listen 0.0.0.0:8443 ssl so_" in written(BOOKWORM, NGINX_HTTP2="false")
    assert "\n        http2 off;" in written(TRIXIE, NGINX_HTTP2="false")


def test_groups_of_each_library(written: Written) -> None:
    """The hybrid group is named where the library has it, and nowhere else."""
    assert "ssl_ecdh_curve X25519:prime256v1:secp384r1;" in written(BOOKWORM)
    assert "ssl_ecdh_curve X25519MLKEM768:X25519:prime256v1:secp384r1;" in written(TRIXIE)


@pytest.mark.parametrize(
    ("address", "listen"),
    [
        ("::", ["0.0.0.0:8443", "[::]:8443"]),
        ("::1", ["[::1]:8443"]),
        ("127.0.0.1", ["127.0.0.1:8443"]),
    ],
)
def test_addresses(written: Written, address: str, listen: list[str]) -> None:
    """An address of IPv6 is bracketed, and the unspecified one stands for that of IPv4 too."""
    assert re.findall(r"listen (\S+) ssl", written(NGINX_LISTEN=address)) == listen


def test_servers(written: Written) -> None:
    """Each address of the proxy is a server; with none there is one that is down, as nginx wants one."""
    text = written(servers=("192.0.2.1:8000", "[2001:db8::1]:8000"))
    assert "server 192.0.2.1:8000;\n        server [2001:db8::1]:8000;" in text
    assert "server 127.0.0.1:1 down;" in written(servers=())


def test_limit_of_files(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are as many connections as the system lets nginx have files, up to a limit."""
    for hard, connections in (
        (1024, 1024 - OTHER_FILES),
        (10**6, CONNECTIONS),
        (resource.RLIM_INFINITY, CONNECTIONS),
    ):
        monkeypatch.setattr(resource, "getrlimit", lambda _, hard=hard: (hard, hard))
        assert f"worker_connections {connections};" in written()


def test_pages_fit(written: Written) -> None:
    """No word of the configuration is longer than nginx takes, and none of the pages' has a variable."""
    for line in written().splitlines():
        assert len(line.encode()) < 4096
        if "<!DOCTYPE" in line:
            assert "$" not in line
