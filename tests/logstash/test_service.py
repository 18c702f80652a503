"""Health, as far as it takes a part that breaks."""

import asyncio
import socket
from typing import Any

import httpx
import pytest
from jld_logstash import tls
from jld_logstash.eventsfile import EventsFile
from jld_logstash.intake import Intake
from jld_logstash.metrics import Metrics
from jld_logstash.server import Server
from jld_logstash.service import Service
from jld_logstash.settings import Settings


async def test_shippers_are_no_longer_taken(
    spools: Any, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When what takes connections ends, the collector is not healthy any more, and the log says why."""

    async def fail(_: socket.socket) -> None:
        raise RuntimeError("nobody thought of this")

    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    typed = Settings.load()
    with spools.open() as spool:
        metrics = Metrics(spool)
        sink = EventsFile(spools.folder / "events", spool, metrics)
        sink.start()
        server = Server(tls.for_shippers(typed), Intake(spool, "test"), metrics)
        port = server.listen("127.0.0.1", 0)
        service = Service(metrics, spool, sink, server)
        url = f"http://127.0.0.1:{await service.listen('127.0.0.1', 0)}/healthz"
        async with httpx.AsyncClient() as http:
            assert (await http.get(url)).json() == {"status": "ok"}
            monkeypatch.setattr(asyncio.get_running_loop(), "sock_accept", fail)
            socket.create_connection(("127.0.0.1", port)).close()
            async with asyncio.timeout(10):
                while (answer := await http.get(url)).status_code != 503:
                    pass
        assert answer.json()["error"] == "stopped"
        await server.close(1)
        await service.close()
        sink.stop(1)
    (said,) = (record for record in caplog.records if record.levelname == "CRITICAL")
    assert said.message == "no more shippers can connect"
    assert "nobody thought of this" in str(said.exc_info)
