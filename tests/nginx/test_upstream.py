"""Where the proxy is."""

import socket
import threading
from collections.abc import Iterator

import pytest
from jld_nginx import upstream
from jld_nginx.upstream import Upstream


@pytest.mark.parametrize(
    ("address", "server"),
    [("127.0.0.1:8000", "127.0.0.1:8000"), ("[::1]:8000", "[::1]:8000")],
)
async def test_address(monkeypatch: pytest.MonkeyPatch, address: str, server: str) -> None:
    """An address needs no name server."""
    monkeypatch.setattr(socket, "getaddrinfo", None)
    assert await Upstream(address).servers() == (server,)


async def test_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name stands for all its addresses, in an order that does not change by itself."""
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.2", 8000)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 8000)),
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 8000, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 8000)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert await Upstream("proxy:8000").servers() == ("192.0.2.1:8000", "192.0.2.2:8000", "[2001:db8::1]:8000")


async def test_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that nobody knows has no addresses."""

    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert await Upstream("proxy:8000").servers() == ()


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the name server not answer while the test runs."""
    end = threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        end.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(upstream, "LOOKUP_SECONDS", 0.05)
    yield
    end.set()


@pytest.mark.usefixtures("silence")
async def test_silent_name_server() -> None:
    """A name server that does not answer is waited for no longer than the limit."""
    assert await Upstream("proxy:8000").servers() == ()
