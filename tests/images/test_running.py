"""Containers with a read-only root and no capabilities: each service starts, is found healthy, and ends when told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.docker

OFTEN = "--health-interval=1s"
"""So that no test waits for the next check; its own interval is what the image says."""

TMP = "--tmpfs=/tmp:mode=1777,size=64m"


def tls(prefix: str, *, ca: bool = True) -> list[str]:
    """Set a component's certificate, its key, and whom it trusts."""
    files = {"CERTIFICATE": "service.pem", "KEY": "service.key"} | ({"CA": "authority.pem"} if ca else {})
    return [f"--env={prefix}_{name}_FILE=/given/{file}" for name, file in files.items()]


SERVICES: dict[str, list[str]] = {
    "nginx": [TMP, "--env=NGINX_UPSTREAM=127.0.0.1:8000", *tls("NGINX", ca=False)],
    # A folder of its own to give away, for which it needs these rights, as in compose.yaml.
    "fileserver": [
        "--tmpfs=/export:mode=0755",
        *(f"--cap-add={name}" for name in ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID")),
        "--env=FILESERVER_TOKEN_FILE=/given/secret",
        "--",
        "provisioner",
    ],
    "filebeat": [
        "--volume=/var/lib/filebeat",
        "--env=FILEBEAT_INPUTS=docker:/logs/*.log",
        "--env=FILEBEAT_COLLECTOR_HOST=127.0.0.1",
        *tls("FILEBEAT"),
    ],
    "logstash": [
        "--volume=/var/spool/logstash",
        "--env=LOGSTASH_EVENTS_FILE=/var/spool/logstash/events",
        *tls("LOGSTASH"),
    ],
    "github": ["--env=STANDIN_CLIENT_SECRET_FILE=/given/secret"],
    # RabbitMQ names its data after its machine.
    "broker": [
        TMP,
        "--volume=/var/lib/rabbitmq",
        "--hostname=broker",
        "--env=BROKER_PUBLISHER_PASSWORD_FILE=/given/secret",
        "--env=BROKER_READER_PASSWORD_FILE=/given/secret",
        *tls("BROKER", ca=False),
    ],
}


def tag(name: str) -> str:
    """Return an image's full name."""
    return f"lsstsqre/jld-{name}:0.1.0"


def options(given: Path, words: list[str]) -> list[str]:
    """Mount what a service is given, without any network but its own loopback."""
    return [f"--volume={given}:/given:ro", "--network=none", OFTEN, *words]


@pytest.mark.parametrize("name", SERVICES)
def test_service(start: Callable[..., Any], given: Path, name: str) -> None:
    """A service is found healthy, logs JSON where it is ours, and ends by SIGTERM with status 0 within 10 s."""
    container = start(tag(name), *options(given, SERVICES[name])).healthy()
    assert container.end() == 0, container.said()
    if name != "broker":
        assert all(json.loads(line)["@version"] for line in container.said().splitlines())


def test_hub_and_proxy(start: Callable[..., Any], given: Path) -> None:
    """Proxy and hub run from the one image, are found healthy, and the hub's pages come through the proxy."""
    check = "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/_chp_healthz', timeout=3)"
    proxy = start(
        tag("hub"),
        "--network=none",
        "--env=CONFIGPROXY_AUTH_TOKEN=0123456789abcdef",
        OFTEN,
        f'--health-cmd=python3 -I -c "{check}"',
        "--",
        *("configurable-http-proxy", "--ip=127.0.0.1", "--api-ip=127.0.0.1"),
        "--default-target=http://127.0.0.1:8081",
    ).healthy()
    secrets = ("HUB_COOKIE_SECRET", "HUB_CRYPT_KEY", "HUB_FILESERVER_TOKEN", "GITHUB_CLIENT_SECRET")
    hub = start(
        tag("hub"),
        f"--network=container:{proxy.id}",
        f"--volume={given}:/given:ro",
        "--volume=/srv/hub",
        OFTEN,
        TMP,
        "--env=HUB_PROXY_TOKEN=0123456789abcdef",
        "--env=HUB_PROXY_API_URL=http://127.0.0.1:8001",
        "--env=HUB_CONNECT_URL=http://127.0.0.1:8081",
        "--env=GITHUB_CLIENT_ID=jupyterlabdemo",
        "--env=GITHUB_ORGANIZATION_WHITELIST=lsst",
        "--env=OAUTH_CALLBACK_URL=http://localhost:8000/hub/oauth_callback",
        *(f"--env={name}_FILE=/given/secret" for name in secrets),
    ).healthy()
    page = "from urllib.request import urlopen; print(urlopen('http://127.0.0.1:8000/hub/login').read().decode())"
    assert "GitHub" in proxy.run("python3", "-I", "-c", page)
    assert hub.end() == 0, hub.said()
    # configurable-http-proxy's own status for the end by a signal.
    assert proxy.end() == 2
