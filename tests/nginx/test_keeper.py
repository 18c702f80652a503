"""What keeps the configuration: the proxy moves to another address, or nginx does not do as it should."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil
import pytest
from jld_embedded.certificates import self_signed
from jld_nginx import keeper as keeping
from jld_nginx.configuration import Abilities
from jld_nginx.errors import NotTakenError, RefusedError
from jld_nginx.keeper import Keeper
from jld_nginx.metrics import Metrics
from jld_nginx.process import Nginx, abilities, program
from jld_nginx.settings import Settings
from stack import free_ports, until

from tests.nginx.conftest import TRUSTING, Proxy

pytestmark = pytest.mark.nginx


@pytest.fixture
def questions() -> list[str]:
    """What the name server was asked for."""
    return []


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch, questions: list[str]) -> list[str]:
    """What the name server says the proxy's addresses are."""
    known: list[str] = []
    ask = socket.getaddrinfo

    def answer(host: str, port: int, *arguments: object, **options: object) -> list[object]:
        if host != "proxy":
            return list(ask(host, port, *arguments, **options))  # type: ignore[arg-type] # handed on as they are
        questions.append(host)
        if not known:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in known]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    monkeypatch.setattr(keeping, "LOOK_SECONDS", 0.05)
    return known


@pytest.fixture
def settings(own_proxy: Proxy, tmp_path: Path) -> Settings:
    """Give settings for an nginx before a proxy that has a name."""
    pair = self_signed(tmp_path, "localhost")
    return Settings(
        nginx_listen="127.0.0.1",
        nginx_https_port=free_ports(1),
        nginx_upstream=f"proxy:{own_proxy.port}",
        nginx_certificate_file=pair.certificate,
        nginx_key_file=pair.key,
        nginx_runtime_dir=tmp_path,
    )


@pytest.fixture
def nginx(settings: Settings) -> Nginx:
    """Give an nginx that does not run yet."""
    return Nginx(settings, program())


@pytest.fixture
async def url(addresses: list[str], settings: Settings, nginx: Nginx) -> AsyncIterator[str]:
    """Keep an nginx before that proxy; give its address."""
    del addresses
    keeper = Keeper(settings, nginx, await abilities(program()), Metrics(settings.status_socket))
    await keeper.start()
    looks = asyncio.create_task(keeper.look_for_ever())
    yield f"https://127.0.0.1:{settings.nginx_https_port}"
    looks.cancel()
    await asyncio.gather(looks, return_exceptions=True)
    await nginx.stop()


async def test_proxy_gets_and_keeps_its_address(
    url: str, nginx: Nginx, addresses: list[str], questions: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A name that becomes known is used from then on, and its last address while there is no answer."""
    caplog.set_level("INFO", "jld_nginx.keeper")

    async def status() -> int:
        # A connection for each: nginx closes idle ones when its configuration changes.
        async with httpx.AsyncClient(verify=TRUSTING) as http:
            return (await http.get(url)).status_code

    def workers() -> set[psutil.Process]:
        assert nginx._master
        return set(psutil.Process(nginx._master.pid).children())

    async def status_at(address: str) -> int:
        """Move the proxy, and ask when no worker is left that knows its last address."""
        last = workers()
        addresses[:] = [address]
        await asyncio.to_thread(until, "its last workers end", lambda: not last & workers())
        return await status()

    assert await status() == 503
    assert workers()
    assert await status_at("127.0.0.1") == 200
    assert await status_at("127.0.0.2") == 503
    assert await status_at("127.0.0.1") == 200
    asked = len(questions)
    addresses.clear()
    await asyncio.to_thread(until, "it asks three times", lambda: len(questions) >= asked + 3)
    assert await status() == 200
    # What nobody can see to be so is not said.
    assert [record.message for record in caplog.records if record.name == "jld_nginx.keeper"] == [
        "nginx is given a new configuration"
    ] * 3


def _pretend(folder: Path, script: str) -> str:
    """Make a program that is no nginx; give its path."""
    made = folder / "pretended"
    made.write_text(f"#!/bin/sh\n{script}\n")
    made.chmod(0o755)
    return str(made)


async def test_nginx_that_never_serves(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An nginx that does not come to serve is no fault of the configuration."""
    monkeypatch.setattr(keeping, "TAKE_SECONDS", 0.2)
    nginx = Nginx(settings, _pretend(tmp_path, 'case "$*" in *-t*) exit;; esac; exec sleep 60'))
    keeper = Keeper(settings, nginx, Abilities((), ()), Metrics(settings.status_socket))
    try:
        with pytest.raises(NotTakenError, match="does not serve the certificate within") as failure:
            await keeper.start()
        assert not isinstance(failure.value, RefusedError)
        assert await keeper.trouble() == "nginx completes no TLS handshake."
    finally:
        await nginx.stop()


async def test_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the environment reaches nginx when it is asked for its version."""
    monkeypatch.setenv("NGINX_SECRET", "9.9.9")
    path = _pretend(tmp_path, 'echo "nginx version: nginx/${NGINX_SECRET:-1.22.1}"')
    assert (await abilities(path)).version == (1, 22, 1)
