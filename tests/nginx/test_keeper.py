"""The proxy moves to another address."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from jld_embedded.certificates import self_signed
from jld_nginx import keeper as keeping
from jld_nginx.keeper import Keeper
from jld_nginx.metrics import Metrics
from jld_nginx.process import Nginx, abilities, program
from jld_nginx.settings import Settings
from stack import free_ports

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
async def url(addresses: list[str], own_proxy: Proxy, tmp_path: Path) -> AsyncIterator[str]:
    """Keep an nginx before a proxy that has a name; give its address."""
    del addresses
    pair = self_signed(tmp_path, "localhost")
    settings = Settings(
        nginx_listen="127.0.0.1",
        nginx_https_port=free_ports(1),
        nginx_upstream=f"proxy:{own_proxy.port}",
        nginx_certificate_file=pair.certificate,
        nginx_key_file=pair.key,
        nginx_runtime_dir=tmp_path,
    )
    nginx = Nginx(settings, program())
    keeper = Keeper(settings, nginx, await abilities(program()), Metrics(settings.status_socket))
    await keeper.start()
    looks = asyncio.create_task(keeper.look_for_ever())
    yield f"https://127.0.0.1:{settings.nginx_https_port}"
    looks.cancel()
    await asyncio.gather(looks, return_exceptions=True)
    await nginx.stop()


async def test_proxy_gets_and_keeps_its_address(url: str, addresses: list[str], questions: list[str]) -> None:
    """A name that becomes known is used from then on, and its last address while there is no answer."""

    async def status() -> int:
        # A connection for each: nginx closes idle ones when its configuration changes.
        async with httpx.AsyncClient(verify=TRUSTING) as http:
            return (await http.get(url)).status_code

    async def until_status(expected: int) -> None:
        async with asyncio.timeout(10):
            while await status() != expected:
                pass

    await until_status(503)
    addresses[:] = ["127.0.0.1"]
    await until_status(200)
    addresses[:] = ["127.0.0.2"]
    await until_status(503)
    addresses[:] = ["127.0.0.1"]
    await until_status(200)
    asked = len(questions)
    addresses.clear()
    async with asyncio.timeout(10):
        while len(questions) < asked + 3:
            await status()  # whatever it is: for a moment the last workers still answer
    assert await status() == 200
