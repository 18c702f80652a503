"""nginx's configuration, made from the settings and from what the installed nginx can do."""

import re
import resource
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from string import Template
from typing import NamedTuple

from .settings import Settings

CONNECTIONS = 8192
"""Connections of a worker where the system allows as many files; a websocket takes two."""

OTHER_FILES = 64
"""Files that a worker has open beside its connections: sockets it listens at, logs, what it was handed."""

GROUPS = "X25519:prime256v1:secp384r1"

HYBRID_GROUP = "X25519MLKEM768"

HYBRID_SINCE = (3, 5)
"""Version of OpenSSL that brought the hybrid group; an earlier one refuses its name."""

HTTP2_DIRECTIVE_SINCE = (1, 25, 1)
"""Version of nginx from which `http2` is a directive, and a deprecated word of `listen`."""


class Abilities(NamedTuple):
    """What the installed nginx can do.

    Attributes:
        version: of nginx.
        openssl: version of the OpenSSL it runs with; empty when it is another library.
    """

    version: tuple[int, ...]
    openssl: tuple[int, ...]

    @classmethod
    def told_by(cls, text: str) -> "Abilities":
        """Read what `nginx -V` says."""
        # The library it runs with is named only where it differs from the one it was built with.
        library = re.search(r"running with OpenSSL (\S+)", text) or re.search(r"built with OpenSSL (\S+)", text)
        return cls(_numbers(re.search(r"nginx version: \S+/(\S+)", text)), _numbers(library))


def _numbers(match: re.Match[str] | None) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", match[1])[:3])) if match else ()


class _Template(Template):
    """A template whose dollar signs are nginx's."""

    delimiter = "%"


def render(settings: Settings, abilities: Abilities, servers: Iterable[str]) -> str:
    """Write the configuration.

    Args:
        settings: what the operator wants.
        abilities: what nginx can do.
        servers: addresses and ports of the proxy; with none, every request is answered with the page for that.
    """
    files = min(CONNECTIONS + OTHER_FILES, _file_limit())
    has_directive = abilities.version >= HTTP2_DIRECTIVE_SINCE
    # With one socket for both, an address of IPv4 would be told as one of IPv6: ::ffff:192.0.2.1.
    addresses = ("0.0.0.0", "::") if settings.nginx_listen == "::" else (settings.nginx_listen,)  # noqa: S104 as set
    words = "ssl http2" if settings.nginx_http2 and not has_directive else "ssl"
    switched = "on" if settings.nginx_http2 else "off"
    listens = [
        f"        listen {_server(address, settings.nginx_https_port)} {words} so_keepalive=5m:30s:4;"
        for address in addresses
    ]
    values = {
        "files": files,
        "connections": files - OTHER_FILES,
        "listens": "\n".join(listens),
        "http2": f"http2 {switched};" if has_directive else "# HTTP/2 is switched by `listen`.",
        "groups": f"{HYBRID_GROUP}:{GROUPS}" if abilities.openssl >= HYBRID_SINCE else GROUPS,
        "hsts": f"max-age={settings.nginx_hsts_max_age}" if settings.nginx_hsts_max_age else "",
        "certificate": _quoted(settings.nginx_certificate_file),
        "key": _quoted(settings.nginx_key_file),
        "status_socket": _quoted(f"unix:{settings.status_socket}"),
        # nginx refuses a group without servers.
        "servers": "\n".join(f"        server {server};" for server in servers) or "        server 127.0.0.1:1 down;",
        "unavailable_page": _quoted(_page("unavailable.html")),
        "too_large_page": _quoted(_page("too_large.html")),
    }
    return _Template(_packaged("nginx.conf.template")).substitute(values)


def _server(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _file_limit() -> int:
    """Tell how many files a process may open: only root could raise that."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return CONNECTIONS + OTHER_FILES if hard == resource.RLIM_INFINITY else hard


def _page(name: str) -> str:
    """Give a page in as few bytes as is easy: nginx takes no word of 4096 bytes, and would expand dollar signs.

    The pages are part of the configuration so that workers need no access to any file.
    """
    return " ".join(_packaged(f"pages/{name}").split()).replace("$", "&#36;")


def _packaged(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _quoted(word: str | Path) -> str:
    """Write a word of nginx's language."""
    escaped = str(word).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
