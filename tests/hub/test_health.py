"""What probes get from the hub."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import httpx
import pytest
from jld_hub.health import HANDLERS
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from tornado.web import Application


@pytest.fixture
def database() -> Iterator[Session]:
    """Give a database as the hub has one."""
    engine = create_engine("sqlite://")
    with Session(engine) as session:
        yield session
    engine.dispose()


@asynccontextmanager
async def probe(database: Session) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the two that need no more of JupyterHub than its database, and give a client."""
    server = Application(HANDLERS[:2], db=database, hub=SimpleNamespace(base_url="/hub/")).listen(0, "127.0.0.1")
    (listener,) = server._sockets.values()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
        yield client
    server.stop()
    await server.close_all_connections()


async def test_healthy_and_ready(database: Session) -> None:
    """The hub is healthy while it turns, and ready while its database answers."""
    async with probe(database) as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await client.get("/readyz")).json() == {"status": "ok"}


async def test_database_away(database: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its database the hub is not ready and says so, without the address; it is healthy all the same."""

    def fail(*_: object) -> None:
        raise OperationalError("SELECT 1", {}, Exception("no route to postgres://hub:geheim@db"))

    monkeypatch.setattr(database, "execute", fail)
    async with probe(database) as client:
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json() == {"error": "not-ready", "message": "the database does not answer (OperationalError)"}
        assert (await client.get("/healthz")).status_code == 200
